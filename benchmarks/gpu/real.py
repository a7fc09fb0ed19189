"""Twenty minutes of real training in parts that a stop and a resume join, and the scores of what it learned.

The images are those of the folder REAL_DATA: `train` and `validation`, each a .beton, a parquet file or a folder.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from dailymae_hf.cli.main import main as dailymae
from dailymae_hf.data.shards import open_betons
from gpu.loading import write_recipe
from gpu.scale import Scale

PART_SECONDS = 460.0  # of the nine minutes; the rest is for start, checkpoint and stop
_STOPPED = 75  # the command's exit code for "stopped when asked to; the same command goes on"


def part(scale: Scale, device: str, work: Path) -> dict[str, Any]:
    """One part: until the training is over, or for `PART_SECONDS`."""
    data = _betons(work)
    if isinstance(data, str):
        return {"skipped": data}
    folder = work / "real"
    run = folder / "run"
    if (run / "model.safetensors").exists():
        return {"finished": True}
    epochs = _epochs(scale, work, data["train"], device)
    recipe = _recipe(folder, scale, data, device, num_train_epochs=epochs)
    going = [sys.executable, "-m", "dailymae_hf", "pretrain", str(recipe)]
    if any(run.glob("checkpoint-*")):
        going += ["--resume_from_checkpoint", "true"]
    start = time.perf_counter()
    code = _run_for(going, PART_SECONDS)
    if code not in (0, _STOPPED):
        raise SystemExit(f"dailymae pretrain ended with {code}")
    return {"finished": code == 0, "epochs": epochs, "seconds": round(time.perf_counter() - start)}


def scores(scale: Scale, device: str, work: Path) -> dict[str, Any]:
    """Nearest neighbours and a linear probe of the trained encoder, and of one with its first weights."""
    data = _betons(work)
    if isinstance(data, str):
        return {"skipped": data}
    folder = work / "real"
    if not (folder / "run" / "model.safetensors").exists():
        raise SystemExit("the training is not over: run its parts first")
    found: dict[str, Any] = {"epochs": json.loads((folder / "epochs.json").read_text())}
    found["log"] = [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()][-3:]
    for command in ("knn", "linear-probe"):
        words = [command, str(folder / f"{command}.yaml")]
        keys: dict[str, Any] = {
            "model_name_or_path": str(folder / "run"),
            "pooling": "mean",
            "train_beton": str(data["train"]),
            "eval_beton": str(data["validation"]),
            "output_dir": str(folder / command),
            "report_to": "none",
        }
        if command == "linear-probe":
            batch = min(512, len(open_betons(data["train"])))
            keys |= {"cached_features": True, "num_train_epochs": 50, "per_device_train_batch_size": batch}
        Path(words[1]).write_text("".join(f"{name}: {json.dumps(value)}\n" for name, value in keys.items()))
        if code := dailymae(words):
            raise SystemExit(f"dailymae {command} ended with {code}")
        found[command] = json.loads((folder / command / "results.json").read_text())["scores"]
    return found


def _betons(work: Path) -> dict[str, Path] | str:
    """The two files, written where they are not yet; or why there are none."""
    source = os.environ.get("REAL_DATA")
    if not source:
        return "REAL_DATA names no folder of images"
    files = {}
    for name in ("train", "validation"):
        candidates = sorted(Path(source).glob(f"{name}*"))
        if not candidates:
            return f"{source} has no {name}"
        files[name] = candidates[0]
        if candidates[0].suffix != ".beton":
            files[name] = work / "real" / f"{name}.beton"
            if not files[name].exists():
                files[name].parent.mkdir(parents=True, exist_ok=True)
                if code := dailymae(["write", str(candidates[0]), str(files[name]), "--mode", "dct"]):
                    raise SystemExit(f"dailymae write ended with {code}")
    return files


def _recipe(folder: Path, scale: Scale, data: dict[str, Path], device: str, **keys: Any) -> Path:
    """ViT of patch 8 on images of 64 pixels, mask .75, a palindrome of sizes."""
    return write_recipe(
        folder,
        scale,
        model=scale.real_model,
        beton=data["train"],
        **{
            "image_size": 64,
            "patch_size": 8,
            "per_device_train_batch_size": 512 if device == "cuda" else 8,
            "base_learning_rate": 3e-4,
            "resolution_schedule": {"kind": "palindrome", "resolutions": [64, 48, 32, 48, 64]},
            "torch_compile": device == "cuda",
            "save_strategy": "steps",
            "save_steps": 1000,
            "save_total_limit": 1,
            "logging_steps": 50,
            **keys,
        },
    )


def _epochs(scale: Scale, work: Path, train: Path, device: str) -> int:
    """How many take `real_seconds`, at the speed of a short run; decided once."""
    path = work / "real" / "epochs.json"
    if not path.exists():
        steps = scale.train_steps
        recipe = _recipe(
            work / "real-speed", scale, {"train": train}, device, max_steps=steps, logging_steps=max(1, steps // 4)
        )
        if code := dailymae(["pretrain", str(recipe)]):
            raise SystemExit(f"dailymae pretrain ended with {code}")
        log = [json.loads(line) for line in (work / "real-speed" / "run" / "log.jsonl").read_text().splitlines()]
        speed = max(line["images_per_second"] for line in log if line.get("images_per_second"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(max(1, round(scale.real_seconds * speed / len(open_betons(train))))))
    return int(json.loads(path.read_text()))


def _run_for(command: list[str], seconds: float) -> int:
    """The command's exit code; asked to stop after `seconds`, and ended if it does not within 60 more."""
    process = subprocess.Popen(command)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return _STOPPED  # what it last saved is there
