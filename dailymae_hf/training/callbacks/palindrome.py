"""Applies the resolution schedule: tells loader and model before an epoch's iterator is made."""

from typing import Any

from transformers import TrainerControl, TrainerState, TrainingArguments

from dailymae_hf.schedule import ResolutionSchedule, Stage
from dailymae_hf.training.callbacks.base import DailyMAECallback


class PalindromeCallback(DailyMAECallback):
    """Sets resolution and mask ratio of each epoch, and logs both with the stage's number.

    The Trainer calls `on_epoch_begin` before it asks the loader for an iterator, after a resume as well, so that the
    first batch of an epoch has its size already.

    Args:
        schedule: the pure function from epoch to stage.
    """

    def __init__(self, schedule: ResolutionSchedule) -> None:
        self.schedule = schedule
        self.stage: Stage | None = None

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.stage = self.schedule.stage(int(state.epoch))
        kwargs["train_dataloader"].set_resolution(self.stage.resolution)
        kwargs["model"].mask_ratio = self.stage.mask_ratio

    def log_values(self) -> dict[str, float | int]:
        if self.stage is None:
            return {}
        return {
            "resolution": self.stage.resolution,
            "mask_ratio": self.stage.mask_ratio,
            "stage": self.stage.index,
        }
