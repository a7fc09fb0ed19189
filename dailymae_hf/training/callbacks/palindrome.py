"""Applies the resolution schedule of a masked autoencoder: resolution and mask ratio."""

from typing import Any

from transformers import TrainerControl, TrainerState, TrainingArguments

from dailymae_hf.schedule import Stage
from dailymae_hf.training.callbacks.resolution import ResolutionCallback


class PalindromeCallback(ResolutionCallback):
    """Sets resolution and mask ratio of each epoch, and logs both with the stage's number.

    Args:
        schedule: the pure function from epoch to stage.
    """

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        super().on_epoch_begin(args, state, control, **kwargs)
        assert self.stage is not None
        kwargs["model"].mask_ratio = self.stage.mask_ratio

    def log_values(self) -> dict[str, float | int]:
        if self.stage is None:
            return {}
        return {
            "resolution": self.stage.resolution,
            "mask_ratio": self.stage.mask_ratio,
            "stage": self.stage.index,
        }

    def mask_ratio_of(self, stage: Stage) -> float | None:
        return stage.mask_ratio
