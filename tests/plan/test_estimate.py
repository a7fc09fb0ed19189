"""Time, bottleneck, energy and cost against sums done by hand."""

from dataclasses import dataclass

import pytest

from dailymae_hf.errors import RecipeError
from dailymae_hf.plan import Conditions, Machines, Prices, Run, Throughput, estimate_run
from dailymae_hf.plan.estimate import LOADER, SHARED, STEP
from dailymae_hf.plan.speeds import EpochCost, LoaderSpeed, StepSpeed


@dataclass(frozen=True)
class Stage:
    resolution: int
    mask_ratio: float = 0.75


def conditions(*, loader=(1000.0, 1500.0), machines=None, **throughput):
    step = (StepSpeed(224, 0.75, 100.0), StepSpeed(160, 0.75, 200.0))
    speeds = tuple(LoaderSpeed(size, rate) for size, rate in zip((224, 160), loader, strict=True)) if loader else ()
    return Conditions(
        run=Run(images=10_050, global_batch=100),
        machines=machines or Machines(devices=2, cores_per_device=1),
        throughput=Throughput(step=step, loader=speeds, source="a test", **throughput),
        flops=lambda resolution, _: resolution**2,
    )


def test_stages_add_up_in_their_order():
    schedule = [Stage(224)] * 3 + [Stage(160)] * 2 + [Stage(224)] * 5
    plan = estimate_run(
        "palindrome", schedule, conditions(start_seconds=20, epoch_costs=(EpochCost(224, 2), EpochCost(160, 1)))
    )
    assert [(s.resolution, s.epochs) for s in plan.stages] == [(224, 3), (160, 2), (224, 5)]
    # 10,000 of the 10,050 images fill whole batches: 50 s an epoch at 224 and 25 s at 160 on two devices
    assert [s.seconds for s in plan.stages] == pytest.approx([3 * 52, 2 * 26, 5 * 52])
    assert [s.pause_seconds for s in plan.stages] == [6, 2, 10]
    assert plan.seconds == pytest.approx(20 + 8 * 52 + 2 * 26)
    assert plan.epochs == 10


@pytest.mark.parametrize(
    ("loader_rate", "bottleneck", "rate", "balance"),
    [(1000.0, STEP, 200.0, 0.1), (50.0, LOADER, 100.0, 2.0), (None, STEP, 200.0, None)],
)
def test_the_slower_of_loader_and_step_sets_the_pace(loader_rate, bottleneck, rate, balance):
    loader = None if loader_rate is None else (loader_rate, loader_rate)
    (stage,) = estimate_run("constant", [Stage(224)], conditions(loader=loader)).stages
    assert stage.bottleneck == bottleneck
    assert stage.images_per_second == pytest.approx(rate)
    assert stage.balance_cores_per_device == (None if balance is None else pytest.approx(balance))


def test_the_balance_is_where_the_bottleneck_changes():
    for factor, expected in ((0.99, LOADER), (1.01, STEP)):
        machines = Machines(devices=2, cores_per_device=2.0 * factor)
        (stage,) = estimate_run("x", [Stage(224)], conditions(loader=(50.0, 50.0), machines=machines)).stages
        assert stage.bottleneck == expected


def test_on_shared_cores_the_times_add_up():
    machines = Machines(devices=1, cores_per_device=2)
    (stage,) = estimate_run("x", [Stage(224)], conditions(machines=machines, shared_cores=True)).stages
    # 10 ms of step and 0.5 ms of loading (2 cores of 1,000 images/s) per image
    assert stage.images_per_second == pytest.approx(1 / 0.0105)
    assert stage.bottleneck == SHARED


def test_scaling_slows_the_step_alone():
    machines = Machines(devices=2, cores_per_device=1, scaling=0.8)
    (stage,) = estimate_run("x", [Stage(224)], conditions(machines=machines)).stages
    assert stage.step_rate == pytest.approx(160)
    assert stage.loader_rate == pytest.approx(2000)


def test_energy_and_cost():
    plan = estimate_run("x", [Stage(224)] * 72, conditions(), Prices(500, 2.0, 0.3))
    # 72 epochs of 50 s are an hour on two devices of 500 W
    assert plan.energy_kwh == pytest.approx(1.0)
    assert plan.cost == pytest.approx(2 * 2.0 + 0.3)


def test_no_price_no_cost():
    plan = estimate_run("x", [Stage(224)], conditions())
    assert plan.energy_kwh is None
    assert plan.cost is None


@pytest.mark.parametrize("bad", [{"devices": 0}, {"cores_per_device": 0}, {"scaling": 0}, {"scaling": 1.5}])
def test_machines_that_cannot_be(bad):
    with pytest.raises(RecipeError, match="machines"):
        Machines(**bad)


def test_a_set_smaller_than_a_batch_is_refused():
    with pytest.raises(RecipeError, match="100 images"):
        Run(images=100, global_batch=256)
