"""log.jsonl: one JSON object a line, the same leading keys in each, no step twice after a resume."""

import json
from pathlib import Path
from typing import Any

from transformers import TrainerControl, TrainerState, TrainingArguments

from dailymae_hf.run_files import LOG_NAME, append_line, read_log
from dailymae_hf.training.callbacks.base import DailyMAECallback


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
        append_line(self._path, {**logs, "step": state.global_step})
