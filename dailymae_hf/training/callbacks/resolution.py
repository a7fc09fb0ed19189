"""Applies a resolution schedule: tells the loader before an epoch's iterator is made."""

from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from transformers import TrainerControl, TrainerState, TrainingArguments

from dailymae_hf.schedule import ResolutionSchedule, Stage
from dailymae_hf.training.callbacks.base import DailyMAECallback
from dailymae_hf.training.hf_compat import logging

logger = logging.get_logger(__name__)


def schedule_over(args: Any, config: Any, epochs: float) -> ResolutionSchedule:
    """The schedule of training arguments for a model's config and a run of so many epochs; unused stages are told."""
    schedule = ResolutionSchedule.from_args(args, config, epochs)
    for stage in schedule.left_out(epochs):
        logger.warning(
            "resolution_schedule: stage %d of %d (%d px) gets no epoch in a run of %g",
            stage.index + 1, len(schedule.stages), stage.resolution, epochs,
        )  # fmt: skip
    return schedule


@dataclass(frozen=True)
class StageSummary:
    """Consecutive epochs of one resolution and mask ratio."""

    epochs: int
    resolution: int
    mask_ratio: float | None  # None: nothing is masked


class ResolutionCallback(DailyMAECallback):
    """Sets the side of the training images of each epoch, and logs it with the stage's number.

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

    def log_values(self) -> dict[str, float | int]:
        if self.stage is None:
            return {}
        return {"resolution": self.stage.resolution, "stage": self.stage.index}

    def facts(self) -> dict[str, Any]:
        return {"stages": [asdict(summary) for summary in self.summaries()]}

    def summaries(self) -> list[StageSummary]:
        """The stages that the epochs of this run go through, in order."""
        per_epoch = [self.schedule.stage(epoch) for epoch in range(max(1, self.trainer.state.num_train_epochs))]
        return [
            StageSummary(len(list(group)), stage.resolution, self.mask_ratio_of(stage))
            for stage, group in groupby(per_epoch)
        ]

    def mask_ratio_of(self, stage: Stage) -> float | None:
        """The fraction of patches masked in a stage; None where the model masks nothing."""
        return None
