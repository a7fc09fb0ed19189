"""What our callbacks share: they know their trainer, may keep state in checkpoints and add values to the log."""

from pathlib import Path
from typing import TYPE_CHECKING

from transformers import TrainerCallback

if TYPE_CHECKING:
    from dailymae_hf.training.mae_trainer import DailyMAETrainer


class DailyMAECallback(TrainerCallback):
    """A callback of `DailyMAETrainer`, which calls `attach` once and the other methods at the moments they name."""

    trainer: "DailyMAETrainer"

    def attach(self, trainer: "DailyMAETrainer") -> None:
        """Called when the trainer takes the callback in."""
        self.trainer = trainer

    def log_values(self) -> dict[str, float | int]:
        """Values that join the next training log, and with it every tracker. Called on every rank, once per log."""
        return {}

    def save_state(self, folder: Path) -> None:
        """Write what the callback needs to continue exactly into a checkpoint folder (saving rank only)."""

    def load_state(self, folder: Path) -> None:
        """Restore what `save_state` wrote (every rank).

        Raises:
            ResumeError: the checkpoint lacks the state, or it does not fit.
        """
