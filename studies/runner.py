"""Runs of a study: train as a recipe says, judge the checkpoint, write one JSON line. Resumable; failures are lines."""

import datetime
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import torch
import yaml

from studies.process import ROOT, run_command
from studies.sources import Sources
from studies.study import Run


@dataclass
class Results:
    """A file with one JSON line a run, shared by all studies on one data set."""

    path: Path

    def __post_init__(self) -> None:
        self._lock = Lock()

    def lines(self) -> list[dict[str, Any]]:
        """Every line written so far."""
        if not self.path.is_file():
            return []
        return [json.loads(line) for line in self.path.read_text().splitlines() if line.strip()]

    def find(self, run: Run) -> dict[str, Any] | None:
        """The line of a run that was done, by whichever study; a failed one counts as done."""
        return next((line for line in self.lines() if all(line[k] == v for k, v in _plain(run.key).items())), None)

    def append(self, line: dict[str, Any]) -> None:
        """Add a line; whole lines only, whichever thread writes."""
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a") as file:
                file.write(json.dumps(line) + "\n")


def run_all(runs: Iterable[Run], sources: Sources, results: Results, folder: Path, jobs: int) -> None:
    """Do the runs that `results` lacks, `jobs` at a time."""
    missing = [run for run in runs if results.find(run) is None]

    def do(run: Run) -> None:
        line = do_run(run, sources, folder / f"{run.arm}-{run.seed}")
        results.append(line)
        told = line.get("error") or f"linear {100 * line['scores']['linear']:.2f} %"
        print(f"{run.arm}, seed {run.seed}: {told}, {line['processor_seconds']:.0f} processor seconds", flush=True)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(do, missing))


def do_run(run: Run, sources: Sources, folder: Path) -> dict[str, Any]:
    """Train and judge; the line to write. `error` says what went wrong where something did."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model = folder / "model"
    recipe = {
        **run.recipe,
        "train_beton": str(sources.train_beton(run.train_images)),
        "output_dir": str(model),
        "seed": run.seed,
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    line: dict[str, Any] = {"arm": run.arm, **_plain(run.key), "train": sources.train_name, **circumstances()}
    trained = run_command(
        ["recipes/pretrain.py", str(folder / "recipe.yaml")], folder / "training.txt", model / "log.jsonl"
    )
    line |= {
        "processor_seconds": round(trained.processor_seconds, 2),
        "start_seconds": None if trained.start_seconds is None else round(trained.start_seconds, 2),
        "wall_seconds": round(trained.wall_seconds, 1),
    }
    if trained.returncode != 0:
        return line | {"error": f"training: {trained.last_line}"}
    line |= training_facts(model / "log.jsonl", recipe)
    command = ["-m", "studies.judge", str(model), "--train", str(sources.train_parquet)]
    command += ["--validation", str(sources.validation_parquet), *judge_options(run.judge)]
    judged = run_command(command, folder / "judge.txt")
    if judged.returncode != 0:
        return line | {"error": f"judge: {judged.last_line}"}
    return line | {"scores": json.loads(judged.last_line)}


def judge_options(options: dict[str, Any]) -> list[str]:
    """The judge's command line: `{few_labels: true, finetune: 5}` -> `--few-labels --finetune 5`."""
    words: list[str] = []
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return words


def training_facts(log: Path, recipe: dict[str, Any]) -> dict[str, Any]:
    """Images seen and the last training loss, from the run's own log."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    losses = [line["loss"] for line in lines if line.get("loss") is not None]
    batch = recipe["per_device_train_batch_size"] * recipe.get("gradient_accumulation_steps", 1)
    return {"images": lines[-1]["step"] * batch, "loss": losses[-1] if losses else None}


def circumstances() -> dict[str, Any]:
    """Commit, machine, load and date of a run."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--abbrev=40", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "commit": commit.stdout.strip() or None,
        "machine": f"{_processor()}, {os.cpu_count()} cores, torch {torch.__version__}",
        "load": round(os.getloadavg()[0], 1),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _processor() -> str:
    """The processor's name with family and model, which tell apart what clouds call by one name."""
    facts: dict[str, str] = {}
    if os.path.exists("/proc/cpuinfo"):
        for line in Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines():
            name, _, value = line.partition(":")
            facts[name.strip()] = value.strip()
    if "model name" not in facts:
        return platform.processor() or platform.machine()
    return f"{facts['model name']} family {facts['cpu family']} model {facts['model']}"


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    return json.loads(json.dumps(value))
