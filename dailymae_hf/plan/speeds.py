"""What a plan stands on: images per second of the training step and of the loader, as somebody measured them.

Nothing here knows a device's speed. Figures come from a results file, from a measurement on the present machine,
or from a model FLOPs utilisation that the user states.
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from dailymae_hf.errors import RecipeError

# (resolution in pixels, mask ratio) -> FLOPs of one image's training step, or anything proportional to it
StepFlops = Callable[[int, float], float]

_UNIT_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "min": 60.0, "s": 1.0}


def parse_duration(text: str | float, *, field: str = "budget") -> float:
    """Seconds in `18h`, `90min`, `1d6h` or `2h30m`. Raises RecipeError, naming `field`, for anything else.

    A bare number is refused: 18 could be hours or seconds.
    """
    compact = str(text).replace(" ", "").lower()
    parts = re.findall(r"(\d+(?:\.\d+)?)(min|[dhms])", compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise RecipeError(f"{field}: {text!r} is not a duration; write for example 18h, 90min or 1d6h")
    seconds = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)
    if seconds <= 0:
        raise RecipeError(f"{field}: {text!r} is no time at all")
    return seconds


@dataclass(frozen=True)
class StepSpeed:
    """Images per second of the training step alone on one device (data already there), at one setting."""

    resolution: int
    mask_ratio: float
    images_per_second: float


@dataclass(frozen=True)
class LoaderSpeed:
    """Images per second that one CPU core loads (read, decode, crop, resize) for batches of `resolution`."""

    resolution: int
    images_per_second_per_core: float


@dataclass(frozen=True)
class EpochCost:
    """Seconds of an epoch at `resolution` that are not training steps: validation, scores, pictures, checkpoints."""

    resolution: int
    seconds: float


@dataclass(frozen=True)
class Throughput:
    """Measured speeds of one machine, and where they come from.

    `shared_cores`: the step runs on the cores that also load (training on a CPU), so their times add up instead of
    overlapping; without `loader` figures there, the step's already hold the loading. `start_seconds` pass once, before
    the first step. Without `loader` figures the loader is taken as never waited for, and reports say so.
    """

    step: tuple[StepSpeed, ...]
    loader: tuple[LoaderSpeed, ...] = ()
    shared_cores: bool = False
    start_seconds: float = 0.0
    epoch_costs: tuple[EpochCost, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        if not self.step:
            raise RecipeError("throughput: no figure for the training step; measure one (--measure)")
        for name, rates in (
            ("step", [s.images_per_second for s in self.step]),
            ("loader", [s.images_per_second_per_core for s in self.loader]),
        ):
            if any(not rate > 0 for rate in rates):
                raise RecipeError(f"throughput: {name} holds a speed that is not above zero: {rates}")
        if self.start_seconds < 0 or any(cost.seconds < 0 for cost in self.epoch_costs):
            raise RecipeError("throughput: start_seconds and epoch_costs cannot be below zero")

    def step_rate(self, resolution: int, mask_ratio: float, flops: StepFlops) -> float:
        """Images/s of one device. Between measured settings seconds per image are linear in FLOPs; outside them the
        nearest one's FLOP/s are kept."""
        points = ((flops(s.resolution, s.mask_ratio), 1.0 / s.images_per_second) for s in self.step)
        return 1.0 / _interpolate(points, flops(resolution, mask_ratio), outside="proportional")

    def loader_rate(self, resolution: int) -> float | None:
        """Images/s of one core, None where no loader was measured. Between measured sizes seconds per image are
        linear in output pixels; outside them the nearest figure is kept, as most of a sample's cost is its source."""
        if not self.loader:
            return None
        points = ((s.resolution**2, 1.0 / s.images_per_second_per_core) for s in self.loader)
        return 1.0 / _interpolate(points, resolution**2, outside="constant")

    def epoch_seconds(self, resolution: int) -> float:
        """Seconds per epoch beside the training steps: linear in pixels between measured sizes, constant beyond."""
        if not self.epoch_costs:
            return 0.0
        points = ((cost.resolution**2, cost.seconds) for cost in self.epoch_costs)
        return _interpolate(points, resolution**2, outside="constant")

    def measured(self, resolution: int, mask_ratio: float) -> bool:
        """Whether the step was timed at exactly this setting (otherwise it is interpolated)."""
        return any(s.resolution == resolution and abs(s.mask_ratio - mask_ratio) < 1e-6 for s in self.step)

    def to_json(self) -> dict[str, Any]:
        """The results file's content; `read_throughput` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Throughput":
        """Inverse of `to_json`. Raises RecipeError for a missing or unknown key."""
        try:
            fields = dict(content)
            step = tuple(StepSpeed(**entry) for entry in fields.pop("step"))
            loader = tuple(LoaderSpeed(**entry) for entry in fields.pop("loader", ()))
            costs = tuple(EpochCost(**entry) for entry in fields.pop("epoch_costs", ()))
            return cls(step=step, loader=loader, epoch_costs=costs, **fields)
        except (KeyError, TypeError) as error:
            raise RecipeError(f"throughput: {error}") from error

    @classmethod
    def from_utilisation(
        cls, flops: StepFlops, resolution: int, mask_ratio: float, peak: float, mfu: float
    ) -> "Throughput":
        """Speeds from a device's peak (FLOP/s) and a model FLOPs utilisation in (0, 1], both stated by the user."""
        if not (peak > 0 and 0 < mfu <= 1):
            raise RecipeError(f"throughput: a peak of {peak} FLOP/s at an MFU of {mfu} is not a speed")
        rate = peak * mfu / flops(resolution, mask_ratio)
        source = f"not measured: {mfu:.0%} of {peak / 1e12:g} TFLOP/s as stated"
        return cls(step=(StepSpeed(resolution, mask_ratio, rate),), source=source)


def read_throughput(path: str | Path) -> Throughput:
    """The speeds in a results file. Raises RecipeError that names the file where it is not one."""
    try:
        content = json.loads(Path(path).read_text())
        return Throughput.from_json(content.get("throughput", content))
    except (OSError, ValueError, AttributeError) as error:  # RecipeError and JSONDecodeError are ValueErrors
        raise RecipeError(f"{path}: no throughput can be read: {error}") from error


def _interpolate(points: Iterable[tuple[float, float]], x: float, *, outside: str) -> float:
    """Piecewise-linear y(x) through measured points; beyond them constant, or y / x kept (`proportional`)."""
    ordered = sorted(points)
    low, high = ordered[0], ordered[-1]
    for edge in (low, high):
        if (edge is low and x <= low[0]) or (edge is high and x >= high[0]):
            return edge[1] * x / edge[0] if outside == "proportional" else edge[1]
    for (x0, y0), (x1, y1) in pairwise(ordered):
        if x0 <= x <= x1:
            return y0 if x1 == x0 else y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    raise AssertionError("x lies between two measured points")
