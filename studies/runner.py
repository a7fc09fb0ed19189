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
from studies.study import Run, StudyError, same


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
        return next((line for line in self.lines() if same(run.key, line)), None)

    def append(self, line: dict[str, Any]) -> None:
        """Add a line; whole lines only, whichever thread writes."""
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a") as file:
                file.write(json.dumps(line) + "\n")


def run_all(runs: Iterable[Run], sources: Sources, results: Results, folder: Path, jobs: int) -> None:
    """Do the runs that `results` lacks, `jobs` at a time, in a folder each in `folder`, that of the study.

    Raises:
        StudyError: a run is judged on masks, and there are none.
    """
    missing = [run for run in runs if results.find(run) is None]
    for run in missing:
        judge_command(run, sources, folder)

    def do(run: Run) -> None:
        line = do_run(run, sources, results, folder / f"{run.arm}-{run.seed}")
        results.append(line)
        scores = {k: v for k, v in line.get("scores", {}).items() if isinstance(v, float)}
        told = line.get("error") or ", ".join(f"{name} {value:.4g}" for name, value in scores.items())
        print(f"{run.arm}, seed {run.seed}: {line['processor_seconds']:.0f} processor seconds, {told}", flush=True)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(do, missing))


def do_run(run: Run, sources: Sources, results: Results, folder: Path) -> dict[str, Any]:
    """Train and judge; the line to write. `error` says what went wrong where something did.

    A checkpoint that another study has trained is judged where it lies.
    """
    recipe = {**run.recipe, "train_beton": str(sources.train_beton(run.train_images, run.train_file)), "seed": run.seed}
    trained = find_trained(run, recipe, results, folder.parent.parent)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if trained is not None:
        facts, model = trained
    else:
        model = folder / "model"
        facts = train(recipe | {"output_dir": str(model)}, folder) | {"train": sources.train_name}
    line = {"arm": run.arm, **_plain(run.key), **facts}
    if "error" in line:
        return line
    judged = run_command(judge_command(run, sources, model), folder / "judge.txt")
    if judged.returncode != 0:
        return line | {"error": f"judge: {judged.last_line}"}
    return line | {"scores": json.loads(judged.last_line)}


def train(recipe: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Train as the recipe says; circumstances, times and what the log tells, or `error`."""
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    model = Path(recipe["output_dir"])
    facts = circumstances()
    command = ["recipes/pretrain.py", str(folder / "recipe.yaml")]
    trained = run_command(command, folder / "training.txt", model / "log.jsonl", model / "config.json")
    facts |= {
        "processor_seconds": round(trained.processor_seconds, 2),
        "start_seconds": _rounded(trained.start_seconds),
        "training_seconds": _rounded(trained.training_seconds),
        "wall_seconds": round(trained.wall_seconds, 1),
    }
    if trained.returncode != 0:
        return facts | {"error": f"training: {trained.last_line}"}
    return facts | training_facts(model / "log.jsonl", recipe)


def find_trained(run: Run, recipe: dict[str, Any], results: Results, root: Path) -> tuple[dict[str, Any], Path] | None:
    """Facts and checkpoint of the same training in any study's folder in `root`, where both are there."""
    wanted = recipe | {"train_beton": Path(recipe["train_beton"]).name}
    for line in results.lines():
        if "scores" in line and same(run.training, line):
            for model in sorted(root.glob(f"*/{line['arm']}-{run.seed}/model")):
                kept = yaml.safe_load((model.parent / "recipe.yaml").read_text())
                del kept["output_dir"]  # a folder may have moved
                if kept | {"train_beton": Path(kept["train_beton"]).name} == wanted:
                    return {name: line.get(name) for name in FACTS}, model  # an older line lacks some
    return None


FACTS = (
    "train",
    "commit",
    "machine",
    "load",
    "date",
    "processor_seconds",
    "start_seconds",
    "training_seconds",
    "wall_seconds",
    "images",
    "loss",
)


def judge_command(run: Run, sources: Sources, model: Path) -> list[str]:
    """The program that judges a checkpoint: `studies.judge`, or the one that the options name by `module`.

    Raises:
        StudyError: it judges on masks, and there are none.
    """
    options = dict(run.judge)
    module = options.pop("module", "judge")
    train, validation = sources.masks if module == SEGMENTATION else (sources.train_parquet, sources.validation_parquet)
    if train is None or validation is None:
        raise StudyError("--masks-train, --masks-validation: this study judges on masks; name both parquet files")
    seed = ["--seed", str(run.seed)] if "finetune" in options or module == "finetuning" else []
    files = ["--train", str(train), "--validation", str(validation)]
    return ["-m", f"studies.{module}", str(model), *files, *judge_options(options), *seed]


SEGMENTATION = "judge_segmentation"


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


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    return json.loads(json.dumps(value))
