"""A continued run's log goes on as if it had never stopped, and the card tells when the run went back."""

import json
from pathlib import Path
from typing import Any

from transformers import TrainerControl, TrainerState, TrainingArguments

from dailymae_hf.training.callbacks.base import DailyMAECallback
from dailymae_hf.training.hf_compat import continue_loss_log, loss_log
from dailymae_hf.training.run_guard import RunGuard

STATE_NAME = "loss_log.json"


class ContinuityCallback(DailyMAECallback):
    """Keeps what the stock Trainer forgets of the losses summed up since the last log; every trainer of ours has one.

    Without it the first log after a resume is the mean of fewer steps, and `train_loss` that of the last part.
    """

    def __init__(self, guard: RunGuard) -> None:
        self.guard = guard
        self._stored: dict[str, Any] | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        stored, self._stored = self._stored, None
        if stored is not None:
            continue_loss_log(self.trainer, **stored)
        self.guard.begin(state.global_step, 0.0 if stored is None else stored["accumulated"])

    def log_values(self) -> dict[str, float | int]:
        values: dict[str, float | int] = {}
        if self.guard.spikes:
            values["loss_spikes"] = len(self.guard.spikes)
        if self.guard.rewinds:
            values["rewinds"] = len(self.guard.rewinds)
        return values

    def facts(self) -> dict[str, Any]:
        return {"rewinds": self.guard.rewinds}

    def save_state(self, folder: Path) -> None:
        state = loss_log(self.trainer)
        logged_now = state["last_logged"] == self.trainer.state.global_step  # and what was summed up is used up
        state["accumulated"] = 0.0 if logged_now else self.guard.accumulated_loss
        (folder / STATE_NAME).write_text(json.dumps(state) + "\n")

    def load_state(self, folder: Path) -> None:
        self._stored = json.loads((folder / STATE_NAME).read_text())
