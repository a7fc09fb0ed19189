"""A run beside its plan: when it will end at the speed it has, whether it keeps the budget, what makes it late."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import RecipeError
from .estimate import Estimate

TOLERANCE = 0.02  # of the budget: an end this little past it is not worth a warning


@dataclass(frozen=True)
class PlannedEpochs:
    """A stretch of epochs as it was planned. `wait` is the planned share of time that training waits for data."""

    resolution: int
    epochs: int
    seconds_per_epoch: float
    images_per_second: float
    wait: float


@dataclass(frozen=True)
class Plan:
    """What a run is held against: its stages, and the budget from the start of the process (None: the plan's end)."""

    stages: tuple[PlannedEpochs, ...]
    start_seconds: float
    budget_seconds: float | None = None

    @classmethod
    def from_estimate(cls, estimate: Estimate, budget_seconds: float | None = None) -> "Plan":
        stages = tuple(
            PlannedEpochs(
                stage.resolution,
                stage.epochs,
                stage.seconds / stage.epochs,
                stage.images_per_second,
                max(0.0, 1 - stage.images_per_second / stage.step_rate) if stage.bottleneck == "loader" else 0.0,
            )
            for stage in estimate.stages
        )
        return cls(stages, estimate.start_seconds, budget_seconds)

    @property
    def seconds(self) -> float:
        """When the planned run ends."""
        return self.start_seconds + self.seconds_after(0.0)

    @property
    def limit(self) -> float:
        """When the run has to end: the budget, or where there is none the plan itself."""
        return self.seconds if self.budget_seconds is None else self.budget_seconds

    def stage_at(self, epoch: float) -> PlannedEpochs:
        """The stage that `epoch` (a fraction of it gone, counted from 0) belongs to."""
        end = 0
        for stage in self.stages:
            end += stage.epochs
            if epoch < end:
                return stage
        return self.stages[-1]

    def seconds_after(self, epoch: float) -> float:
        """Planned seconds from `epoch` to the end."""
        start, seconds = 0, 0.0
        for stage in self.stages:
            seconds += max(0.0, start + stage.epochs - max(epoch, start)) * stage.seconds_per_epoch
            start += stage.epochs
        return seconds

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
        from .report import format_duration

        over = format_duration(self.end_seconds - self.limit_seconds)
        return (
            f"at this speed the run ends after {format_duration(self.end_seconds)}, {over} past "
            f"{format_duration(self.limit_seconds)}: {self.reason}"
        )


@dataclass(frozen=True)
class Observed:
    """What a run did between two logs: epochs (from, to), seconds, and the seconds of them spent waiting for data."""

    begin: float
    end: float
    seconds: float
    waited: float


def forecast(plan: Plan, elapsed: float, observed: Sequence[Observed]) -> Forecast:
    """The end of a run that has lasted `elapsed` seconds: what is left as planned, times how much slower it goes.

    Slowdown and reason come from the training time of the last half of `observed`, so that a slow start, or a stage
    that went well, does not hide what is happening now.
    """
    recent = observed[len(observed) // 2 :]
    seconds = sum(o.seconds for o in recent)
    planned = sum(plan.seconds_after(o.begin) - plan.seconds_after(o.end) for o in recent)
    slowdown = seconds / planned if planned > 0 else 1.0
    end = elapsed + plan.seconds_after(observed[-1].end if observed else 0.0) * slowdown
    waited = sum(o.waited for o in recent)
    planned_wait = sum(
        (plan.seconds_after(o.begin) - plan.seconds_after(o.end)) * plan.stage_at(o.begin).wait for o in recent
    )
    too_long = seconds - planned
    if too_long <= 0:
        reason = "what came before took longer than planned"
    elif waited - planned_wait > 0.5 * too_long:
        share = waited / seconds
        reason = f"data wait, {share:.0%} of the time: the loader is slower than planned (more CPU cores, a local disk)"
    else:
        step, planned_step = seconds - waited, planned - planned_wait
        reason = f"step time, {step / planned_step:.2f} times the planned one"
    return Forecast(end, plan.limit, slowdown, reason)
