"""The forecast against runs whose end is known, because they are played to the end."""

import json
from dataclasses import dataclass

import pytest

from dailymae_hf.errors import RecipeError
from dailymae_hf.plan import Conditions, Machines, Run, Throughput, estimate_run
from dailymae_hf.plan.forecast import Observed, Plan, forecast
from dailymae_hf.plan.speeds import EpochCost, LoaderSpeed, StepSpeed


@dataclass(frozen=True)
class Stage:
    resolution: int
    mask_ratio: float = 0.75


SCHEDULE = [Stage(224)] * 4 + [Stage(160)] * 4 + [Stage(224)] * 2


def planned(budget=None, loader=(), start=30.0):
    conditions = Conditions(
        Run(images=1_000, global_batch=100),
        Machines(),
        Throughput(
            (StepSpeed(224, 0.75, 100.0),), loader=loader, start_seconds=start, epoch_costs=(EpochCost(224, 3.0),)
        ),
        flops=lambda resolution, _: resolution**2,
    )
    return Plan.from_estimate(estimate_run("x", SCHEDULE, conditions), budget)


def play(plan, until, step_factor=1.0, wait_factor=0.0, step=0.25):
    """(elapsed, observations) at epoch `until` of a run whose steps are slower than planned by constant factors."""
    per_epoch = [stage for stage in plan.stages for _ in range(stage.epochs)]
    elapsed, observations, epoch = plan.start_seconds, [], 0.0
    while epoch < until - 1e-9:
        stage = per_epoch[int(epoch)]
        base = step * stage.train_seconds
        seconds = base * (step_factor + wait_factor)
        observations.append(Observed(epoch, epoch + step, seconds, base * wait_factor))
        elapsed += seconds + step * stage.pause_seconds
        epoch += step
    return elapsed, observations


@pytest.mark.parametrize("until", [0.25, 2, 4, 5.5, 9.75])
@pytest.mark.parametrize("step_factor", [0.8, 1.0, 1.3])
def test_the_end_is_forecast_for_a_run_of_constant_slowness(until, step_factor):
    plan = planned()
    elapsed, observations = play(plan, until, step_factor)
    true_end, _ = play(plan, 10, step_factor)
    assert forecast(plan, elapsed, observations).end_seconds == pytest.approx(true_end)


@pytest.mark.parametrize(("slower", "late"), [(1.0, False), (1.05, False), (1.3, True)])
def test_late_is_past_the_budget(slower, late):
    plan = planned(budget=planned().seconds * 1.1)
    assert forecast(plan, *play(plan, 1, slower)).late is late


def test_without_a_budget_the_plan_itself_is_the_limit():
    plan = planned()
    assert not forecast(plan, *play(plan, 1, 1.0)).late
    assert forecast(plan, *play(plan, 1, 1.1)).late


@pytest.mark.parametrize(
    ("step_factor", "wait_factor", "reason"), [(1.5, 0.01, "step time, 1.50 times"), (1.0, 0.5, "data wait, 33%")]
)
def test_the_reason_is_what_grew(step_factor, wait_factor, reason):
    plan = planned()
    told = forecast(plan, *play(plan, 2, step_factor, wait_factor))
    assert reason in told.reason
    assert reason in told.sentence()


def test_waiting_that_was_planned_is_no_reason():
    # the loader limits at 224 by plan: half of the time is waiting
    plan = planned(loader=(LoaderSpeed(224, 50.0),))
    assert plan.stages[0].wait_seconds == pytest.approx(0.5 * plan.stages[0].train_seconds)
    told = forecast(plan, *play(plan, 2, step_factor=0.8, wait_factor=0.5))
    assert "step time" in told.reason


def test_a_slow_start_is_forgotten_in_the_speed_but_not_in_the_time():
    plan = planned()
    elapsed, observations = play(plan, 4)
    slow_start = [Observed(0, 0.25, 500.0, 0.0), *observations[1:]]
    told = forecast(plan, elapsed + 500.0, slow_start)
    assert told.slowdown == pytest.approx(1.0)
    assert told.late
    assert "before" in told.reason


def test_plan_round_trip():
    plan = planned(budget=1234.5)
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    assert plan.limit == 1234.5
    with pytest.raises(RecipeError, match="plan"):
        Plan.from_json({"stages": [{"resolution": 224}]})
