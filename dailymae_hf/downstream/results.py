"""What a downstream run found out, kept where a model card can read it: `results.json` in the output folder."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RESULTS_NAME = "results.json"


@dataclass(frozen=True)
class Result:
    """Scores of one checkpoint under one protocol.

    `protocol` says in words what was done ("fine-tuning", "linear probe"); `scores` are in [0, 1] but for losses;
    `details` are the settings that a reader needs to compare.
    """

    protocol: str
    task: str
    checkpoint: str
    train_data: str | None
    eval_data: str
    eval_images: int
    scores: Mapping[str, float]
    details: Mapping[str, Any]


def scores_of(metrics: Mapping[str, float]) -> dict[str, float]:
    """What a Trainer's evaluation returned, under the scores' own names: `eval_accuracy` is `accuracy`."""
    return {name.removeprefix("eval_"): value for name, value in metrics.items() if name.startswith("eval_")}


def write_result(folder: str | Path, result: Result) -> Path:
    """Write `results.json`; returns its path."""
    path = Path(folder) / RESULTS_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(result), indent=2) + "\n")
    return path


def read_result(folder: str | Path) -> Result | None:
    """The result in a folder, or None."""
    path = Path(folder) / RESULTS_NAME
    return Result(**json.loads(path.read_text())) if path.is_file() else None
