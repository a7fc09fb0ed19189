"""What a run leaves in its output folder: names of the files, and how those that others read are written and read.

`log.jsonl` has one JSON object a line, `results.json` the scores of one checkpoint under one protocol.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RECIPE_NAME = "recipe.yaml"
LOG_NAME = "log.jsonl"
RESULTS_NAME = "results.json"
FACTS_NAME = "run_facts.json"
CARD_NAME = "README.md"
# The first keys of each line of the log, null where a log does not measure them.
KEYS = (
    "epoch",
    "step",
    "loss",
    "resolution",
    "mask_ratio",
    "images_per_second",
    "data_wait",
    "probe_accuracy",
    "knn_accuracy",
)


def append_log(folder: str | Path, values: Mapping[str, Any]) -> None:
    """Add a line to a folder's `log.jsonl`, for runs that train nothing; begins the file where there is none."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    append_line(Path(folder) / LOG_NAME, values)


def append_line(path: Path, logs: Mapping[str, Any]) -> None:
    values = dict(logs)
    line = {key: values.pop(key, None) for key in KEYS} | values
    # JSON has no NaN and no infinity; a diverged loss must still leave a readable file.
    clean = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in line.items()}
    try:
        with open(path, "a") as file:
            file.write(json.dumps(clean) + "\n")
    except OSError as error:  # a full disk's error has no name of a file
        raise OSError(error.errno, error.strerror, str(path)) from error


def read_log(path: str | Path) -> list[dict[str, Any]]:
    """The lines of a `log.jsonl`; a last line that a crash cut short is left out."""
    lines = []
    for text in Path(path).read_text().splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines


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
    speed = ("eval_runtime", "eval_samples_per_second")
    named = {name: value for name, value in metrics.items() if name.startswith("eval_") and name not in speed}
    return {name.removeprefix("eval_"): value for name, value in named.items()}


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
