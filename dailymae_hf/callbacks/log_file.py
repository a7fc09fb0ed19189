"""log.jsonl: one JSON object a line, the same leading keys in each, no step twice after a resume."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerControl, TrainerState, TrainingArguments

from .base import DailyMAECallback

LOG_NAME = "log.jsonl"
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


class LogFileCallback(DailyMAECallback):
    """Writes every log to `log.jsonl` in the output folder (first rank only).

    Each line starts with `KEYS`, null where the log does not measure them, so that a table reader finds the same
    columns in every line; other values follow. A resumed run drops the lines after its checkpoint and goes on.
    """

    def __init__(self) -> None:
        self._path: Path | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not state.is_world_process_zero:
            return
        self._path = Path(args.output_dir) / LOG_NAME
        kept = []
        if self._path.is_file() and state.global_step > 0:
            kept = [line for line in read_log(self._path) if line["step"] <= state.global_step]
        partial = self._path.with_suffix(".partial")
        partial.write_text("".join(json.dumps(line) + "\n" for line in kept))
        partial.rename(self._path)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if self._path is None or not logs:
            return
        _append(self._path, {**logs, "step": state.global_step})


def append_log(folder: str | Path, values: Mapping[str, Any]) -> None:
    """Add a line to a folder's `log.jsonl`, for runs that train nothing; begins the file where there is none."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    _append(Path(folder) / LOG_NAME, values)


def _append(path: Path, logs: Mapping[str, Any]) -> None:
    values = dict(logs)
    line = {key: values.pop(key, None) for key in KEYS} | values
    # JSON has no NaN and no infinity; a diverged loss must still leave a readable file.
    clean = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in line.items()}
    with open(path, "a") as file:
        file.write(json.dumps(clean) + "\n")


def read_log(path: str | Path) -> list[dict[str, Any]]:
    """The lines of a `log.jsonl`; a last line that a crash cut short is left out."""
    lines = []
    for text in Path(path).read_text().splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines
