"""What our callbacks share: they know their trainer, keep state in checkpoints, add values to the log and the card."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from transformers import TrainerCallback, TrainerState

from dailymae_hf.training.stopwatch import Stopwatch


class TrainerView(Protocol):
    """What callbacks see of a trainer."""

    args: Any
    state: TrainerState
    accelerator: Accelerator
    stopwatch: Stopwatch
    step_batches: list[dict[str, torch.Tensor]]
    train_beton: Any
    eval_beton: Any

    @property
    def core_model(self) -> Any:
        """The model without wrappers of compile or distributed training."""

    def is_world_process_zero(self) -> bool:
        """Whether this is the first rank."""

    def get_train_dataloader(self) -> Any:
        """The loader of the training images."""

    def fixed_loader(self, source: Any, *, shuffle: bool = False) -> Any:
        """A loader of centre crops that belongs to the caller alone."""

    def rows_by_sample(
        self,
        loader: Any,
        row: Callable[[dict[str, torch.Tensor]], torch.Tensor],
        *,
        limit: int | None = None,
        reports_progress: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Sample numbers and rows of a loader's samples, each once, the same on every rank."""

    def normalize(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """uint8 pixels -> what the model takes."""

    def denormalize(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """The inverse of `normalize`, in 0-1."""

    def image_cost(self, size: int) -> tuple[int, int]:
        """Tokens and FLOPs of one training image."""


class DailyMAECallback(TrainerCallback):
    """A callback of a `BetonTrainer`, which calls `attach` once and the other methods at the moments they name."""

    trainer: TrainerView

    def attach(self, trainer: TrainerView) -> None:
        """Called when the trainer takes the callback in."""
        self.trainer = trainer

    def log_values(self) -> dict[str, float | int]:
        """Values that join the next training log, and with it every tracker. Called on every rank, once per log."""
        return {}

    def facts(self) -> dict[str, Any]:
        """What the model card may tell of this callback's part of the run, ready for JSON."""
        return {}

    def save_state(self, folder: Path) -> None:
        """Write what the callback needs to continue exactly into a checkpoint folder (saving rank only)."""

    def load_state(self, folder: Path) -> None:
        """Restore what `save_state` wrote (every rank).

        Raises:
            ResumeError: the checkpoint lacks the state, or it does not fit.
        """

    def load_best(self, folder: Path) -> None:
        """The run ends with the weights of its best checkpoint: what else the callback restores from there."""
