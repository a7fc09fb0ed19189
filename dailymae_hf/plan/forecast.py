"""A run beside its plan: when it will end at the speed it has, whether it keeps the budget, what makes it late."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dailymae_hf.errors import RecipeError
from dailymae_hf.plan.estimate import LOADER, Estimate

TOLERANCE = 0.02  # of the budget: an end this little past it is not worth a warning


@dataclass(frozen=True)
class PlannedEpochs:
    """A stretch of epochs as it was planned: seconds per epoch of training steps, of them waiting for data, and of
    pauses (validation, scores, pictures, checkpoints)."""

    resolution: int
    epochs: int
    train_seconds: float
    wait_seconds: float
    pause_seconds: float


@dataclass(frozen=True)
class Left:
    """Planned seconds of a stretch: training (waiting included), waiting for data, pauses."""

    train: float
    wait: float
    pause: float


@dataclass(frozen=True)
class Plan:
    """What a run is held against: its stages, and the budget from the start of the process (None: the plan's end)."""

    stages: tuple[PlannedEpochs, ...]
    start_seconds: float
    budget_seconds: float | None = None

    @classmethod
    def from_estimate(cls, estimate: Estimate, budget_seconds: float | None = None) -> "Plan":
        stages = []
        for stage in estimate.stages:
            train = (stage.seconds - stage.pause_seconds) / stage.epochs
            wait = train * (1 - stage.images_per_second / stage.step_rate) if stage.bottleneck == LOADER else 0.0
            pause = stage.pause_seconds / stage.epochs
            stages.append(PlannedEpochs(stage.resolution, stage.epochs, train, wait, pause))
        return cls(tuple(stages), estimate.start_seconds, budget_seconds)

    @property
    def seconds(self) -> float:
        """When the planned run ends."""
        left = self.left_at(0.0)
        return self.start_seconds + left.train + left.pause

    @property
    def limit(self) -> float:
        """When the run has to end: the budget, or where there is none the plan itself."""
        return self.seconds if self.budget_seconds is None else self.budget_seconds

    def left_at(self, epoch: float) -> "Left":
        """What is planned from `epoch` (counted from 0, with its fraction) to the end."""
        start, train, wait, pause = 0, 0.0, 0.0, 0.0
        for stage in self.stages:
            epochs = max(0.0, start + stage.epochs - max(epoch, start))
            train += epochs * stage.train_seconds
            wait += epochs * stage.wait_seconds
            pause += epochs * stage.pause_seconds
            start += stage.epochs
        return Left(train, wait, pause)

    def to_json(self) -> dict[str, Any]:
        stages = [dict(vars(stage)) for stage in self.stages]
        return {"start_seconds": self.start_seconds, "budget_seconds": self.budget_seconds, "stages": stages}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Plan":
        """Inverse of `to_json`. Raises RecipeError for another content."""
        try:
            fields = dict(content)
            stages = tuple(PlannedEpochs(**stage) for stage in fields.pop("stages"))
            return cls(stages, **fields)
        except (KeyError, TypeError) as error:
            raise RecipeError(f"plan: this is not a plan that `dailymae plan` wrote: {error}") from error


@dataclass(frozen=True)
class Forecast:
    """When the run will end, seconds from its start, and by what factor its steps are slower than planned."""

    end_seconds: float
    limit_seconds: float
    slowdown: float
    reason: str

    @property
    def late(self) -> bool:
        """Whether the limit will be missed by more than the tolerance."""
        return self.end_seconds > self.limit_seconds * (1 + TOLERANCE)

    def sentence(self) -> str:
        """One sentence for the log: how late, and why."""
        from dailymae_hf.plan.report import format_duration

        over = format_duration(self.end_seconds - self.limit_seconds)
        return (
            f"at this speed the run ends after {format_duration(self.end_seconds)}, {over} past "
            f"{format_duration(self.limit_seconds)}: {self.reason}"
        )


@dataclass(frozen=True)
class Observed:
    """What a run did between two logs: epochs (from, to), seconds without pauses, and those spent waiting for data."""

    begin: float
    end: float
    seconds: float
    waited: float


def forecast(plan: Plan, elapsed: float, observed: Sequence[Observed]) -> Forecast:
    """The end of a run that has lasted `elapsed` seconds: what is left as planned, its steps as slow as they are now.

    Slowdown and reason come from the last half of `observed`, so that a slow start, or a stage that went well, does not
    hide what is happening now.
    """
    recent = observed[len(observed) // 2 :]
    stretches = [(plan.left_at(o.begin), plan.left_at(o.end)) for o in recent]
    planned = sum(before.train - after.train for before, after in stretches)
    planned_wait = sum(before.wait - after.wait for before, after in stretches)
    seconds, waited = sum(o.seconds for o in recent), sum(o.waited for o in recent)
    slowdown = seconds / planned if planned > 0 else 1.0
    left = plan.left_at(observed[-1].end if observed else 0.0)
    end = elapsed + left.train * slowdown + left.pause
    too_long = seconds - planned
    if too_long <= 0.01 * planned:
        reason = "what came before took longer than planned"
    elif waited - planned_wait > 0.5 * too_long:
        wait = waited / seconds
        reason = f"data wait, {wait:.0%} of the time: the loader is slower than planned (more CPU cores, a local disk)"
    else:
        reason = f"step time, {(seconds - waited) / (planned - planned_wait):.2f} times the planned one"
    return Forecast(end, plan.limit, slowdown, reason)
