"""The schedule that fits a budget: how low the resolution goes, for how long, and for how many epochs in all."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dailymae_hf.errors import RecipeError
from dailymae_hf.plan.estimate import Conditions, estimate_stage

LOWEST_SHARE_OF_SIDE = 5 / 7  # 160 of 224: the smallest size among the paper's schemes
LONGEST_LOW_SHARE = 0.5  # so that at least a quarter of the epochs at full size comes last
MARGIN = 0.03  # of the budget, left free: speeds drift by a few percent over hours


@dataclass(frozen=True)
class PlannedStage:
    """A stretch of epochs at one size."""

    resolution: int
    mask_ratio: float
    epochs: int


@dataclass(frozen=True)
class FittedSchedule:
    """Full size, low size, full size again (or full size throughout), with the seconds that it is planned to take."""

    stages: tuple[PlannedStage, ...]
    seconds: float
    budget_seconds: float

    @property
    def epochs(self) -> int:
        return sum(stage.epochs for stage in self.stages)

    def to_recipe(self) -> dict[str, Any]:
        """The value of `resolution_schedule` that gives these stages over `num_train_epochs: epochs`."""
        stages = [
            {"resolution": s.resolution, "share": s.epochs / self.epochs, "mask_ratio": s.mask_ratio}
            for s in self.stages
        ]
        return {"kind": "stages", "stages": stages}

    @property
    def stage_of_epoch(self) -> list[PlannedStage]:
        """The stage of each epoch in turn, as `estimate_run` takes it."""
        return [stage for stage in self.stages for _ in range(stage.epochs)]


def low_resolutions(full: int, patch_size: int, floor: int | None = None) -> list[int]:
    """Sizes below `full` that the patch size divides, largest first, down to `floor` (5/7 of `full` if None)."""
    lowest = full * LOWEST_SHARE_OF_SIDE if floor is None else floor
    return [size for size in range(full - full % patch_size, 0, -patch_size) if lowest - 1e-9 <= size < full]


def fit_schedule(
    budget_seconds: float,
    epochs: int,
    *,
    resolution: int,
    patch_size: int,
    mask_ratio: float | Callable[[int], float],
    conditions: Conditions,
    floor: int | None = None,
    margin: float = MARGIN,
) -> FittedSchedule:
    """The gentlest change of a constant run of `epochs` epochs at `resolution` that ends within the budget.

    Tried in this order, the first that fits is taken:
    1. full size throughout;
    2. full, low, full: the highest low size for which at most half of the epochs at it are enough, and no more
       epochs at it than needed; the last stage has at least as many epochs as the first;
    3. fewer epochs, at the size and fraction that save most.

    `mask_ratio` is one number or a function of the size. Raises RecipeError when not even one epoch fits.
    """
    ratio_of = mask_ratio if callable(mask_ratio) else lambda _: mask_ratio
    start = conditions.throughput.start_seconds
    available = budget_seconds * (1 - margin) - start

    def epoch_seconds(size: int) -> float:
        stage = PlannedStage(size, ratio_of(size), 1)
        return estimate_stage(stage, 1, conditions).seconds

    def fitted(total: int, low: int, low_epochs: int) -> FittedSchedule:
        first = (total - low_epochs) // 2 if low_epochs else 0
        parts = [(resolution, first), (low, low_epochs), (resolution, total - low_epochs - first)]
        stages = tuple(PlannedStage(size, ratio_of(size), count) for size, count in parts if count > 0)
        seconds = start + math.fsum(s.epochs * epoch_seconds(s.resolution) for s in stages)
        return FittedSchedule(stages, seconds, budget_seconds)

    def low_epochs_needed(total: int, low: int) -> int:
        surplus = total * full - available
        return math.ceil(surplus / (full - epoch_seconds(low)) - 1e-9) if surplus > 0 else 0

    full = epoch_seconds(resolution)
    if epochs * full <= available:
        return fitted(epochs, resolution, 0)
    sizes = [size for size in low_resolutions(resolution, patch_size, floor) if epoch_seconds(size) < full]
    for size in sizes:
        needed = low_epochs_needed(epochs, size)
        if needed <= _most_low_epochs(epochs):
            return fitted(epochs, size, needed)
    # the most epochs; of sizes that allow equally many, the highest
    candidates = [resolution, *sizes]
    total, low = max((_most_epochs(available, full, epoch_seconds(size), epochs), size) for size in candidates)
    if total < 1:
        raise RecipeError(
            f"budget: one epoch of {conditions.run.images_per_epoch} images takes {full:.0f} s at {resolution} "
            f"pixels after {start:.0f} s of start-up; {budget_seconds:.0f} s are not enough"
        )
    return fitted(total, low, 0 if low == resolution else low_epochs_needed(total, low))


def _most_low_epochs(epochs: int) -> int:
    return math.floor(epochs * LONGEST_LOW_SHARE)


def _most_epochs(available: float, full: float, low: float, limit: int) -> int:
    """Most epochs, up to `limit`, that fit when as many as allowed of them are at the low size."""
    total = min(limit, int(available / min(full, low)) if available > 0 else 0)
    while total > 0 and _most_low_epochs(total) * low + (total - _most_low_epochs(total)) * full > available:
        total -= 1
    return total
