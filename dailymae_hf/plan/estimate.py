"""Hours, bottleneck, energy and cost of a run under one resolution schedule: pure arithmetic on measured speeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

from dailymae_hf.errors import RecipeError
from dailymae_hf.plan.speeds import StepFlops, Throughput

# What sets a stage's pace
LOADER, STEP, SHARED = "loader", "step", "shared cores"


class StageLike(Protocol):
    """What the planner reads of a schedule's stage."""

    @property
    def resolution(self) -> int: ...

    @property
    def mask_ratio(self) -> float: ...


@dataclass(frozen=True)
class Machines:
    """What the run gets. `scaling` is the fraction of one device's speed that each keeps in company (1: no loss); it is
    1 unless somebody measured it."""

    devices: int = 1
    cores_per_device: float = 1.0
    scaling: float = 1.0

    def __post_init__(self) -> None:
        if self.devices < 1 or self.cores_per_device <= 0 or not 0 < self.scaling <= 1:
            raise RecipeError(
                f"machines: {self.devices} devices with {self.cores_per_device} cores each at a scaling of "
                f"{self.scaling}: each must be above zero, scaling at most 1"
            )


@dataclass(frozen=True)
class Run:
    """What is trained: samples in the training set and samples per optimizer step over all devices."""

    images: int
    global_batch: int

    def __post_init__(self) -> None:
        if self.global_batch < 1 or self.images < self.global_batch:
            raise RecipeError(f"plan: {self.images} images are less than one global batch of {self.global_batch}")

    @property
    def images_per_epoch(self) -> int:
        """Images that an epoch trains on; the last incomplete global batch is dropped."""
        return self.images // self.global_batch * self.global_batch


@dataclass(frozen=True)
class Conditions:
    """Everything about a run except its schedule. `flops(resolution, mask_ratio)` scales speeds to unmeasured sizes."""

    run: Run
    machines: Machines
    throughput: Throughput
    flops: StepFlops


@dataclass(frozen=True)
class Prices:
    """What time costs: watts while training and money per hour, per device; money per kWh. Zero: not asked for."""

    watts_per_device: float = 0.0
    per_device_hour: float = 0.0
    per_kwh: float = 0.0


@dataclass(frozen=True)
class StageEstimate:
    """One stretch of epochs at one size. Rates are images/s of the whole run; `loader_rate` is None if unknown.
    `pause_seconds` is the part of `seconds` that is validation, scores, pictures and checkpoints."""

    resolution: int
    mask_ratio: float
    epochs: int
    seconds: float
    pause_seconds: float
    images_per_second: float
    step_rate: float
    loader_rate: float | None
    bottleneck: str
    balance_cores_per_device: float | None
    measured: bool


@dataclass(frozen=True)
class Estimate:
    """A whole run under one schedule. `energy_kwh` and `cost` are None where no price was given."""

    name: str
    stages: tuple[StageEstimate, ...]
    seconds: float
    start_seconds: float
    energy_kwh: float | None
    cost: float | None

    @property
    def epochs(self) -> int:
        return sum(stage.epochs for stage in self.stages)


def estimate_stage(stage: StageLike, epochs: int, conditions: Conditions) -> StageEstimate:
    """Time and bottleneck of `epochs` epochs at one size.

    With a device of its own for the step, loading overlaps it and the slower of the two sets the pace. On shared cores
    both want the same cores, and their seconds per image add up; without figures of the loader, those of the step hold
    both. `balance_cores_per_device` is the number of cores at which loader and step are equally fast: more are needed
    where the loader limits, as few suffice where the step does.
    """
    machines, throughput = conditions.machines, conditions.throughput
    step_per_device = throughput.step_rate(stage.resolution, stage.mask_ratio, conditions.flops) * machines.scaling
    loader_per_core = throughput.loader_rate(stage.resolution)
    step_rate = step_per_device * machines.devices
    loader_rate = None if loader_per_core is None else loader_per_core * machines.cores_per_device * machines.devices
    balance: float | None = None
    if loader_rate is None or loader_per_core is None:
        rate, bottleneck = step_rate, SHARED if throughput.shared_cores else STEP
    elif throughput.shared_cores:
        rate, bottleneck = 1.0 / (1.0 / step_rate + 1.0 / loader_rate), SHARED
    else:
        rate, bottleneck = min((loader_rate, LOADER), (step_rate, STEP))
        balance = step_per_device / loader_per_core
    pause = throughput.epoch_seconds(stage.resolution)
    seconds = epochs * (conditions.run.images_per_epoch / rate + pause)
    return StageEstimate(
        resolution=stage.resolution,
        mask_ratio=stage.mask_ratio,
        epochs=epochs,
        seconds=seconds,
        pause_seconds=epochs * pause,
        images_per_second=rate,
        step_rate=step_rate,
        loader_rate=loader_rate,
        bottleneck=bottleneck,
        balance_cores_per_device=balance,
        measured=throughput.measured(stage.resolution, stage.mask_ratio),
    )


def estimate_run(
    name: str, stage_of_epoch: Sequence[StageLike], conditions: Conditions, prices: Prices | None = None
) -> Estimate:
    """Sum over a schedule, given as the stage of each epoch in turn (`[schedule.stage(e) for e in ...]`)."""
    runs = [list(group) for _, group in groupby(stage_of_epoch, key=lambda s: (s.resolution, s.mask_ratio))]
    stages = tuple(estimate_stage(group[0], len(group), conditions) for group in runs)
    start = conditions.throughput.start_seconds
    seconds = start + math.fsum(stage.seconds for stage in stages)
    prices = prices or Prices()
    device_hours = conditions.machines.devices * seconds / 3600
    energy = device_hours * prices.watts_per_device / 1000 if prices.watts_per_device else None
    money = device_hours * prices.per_device_hour + (energy or 0.0) * prices.per_kwh
    return Estimate(
        name=name,
        stages=stages,
        seconds=seconds,
        start_seconds=start,
        energy_kwh=energy,
        cost=money if prices.per_device_hour or prices.per_kwh else None,
    )
