"""The solver against a search through every schedule it may choose from."""

import pytest

from dailymae_hf.errors import RecipeError
from dailymae_hf.plan import Conditions, Machines, Run, Throughput, estimate_run, fit_schedule
from dailymae_hf.plan.fit import low_resolutions
from dailymae_hf.plan.speeds import EpochCost, LoaderSpeed, StepSpeed
from dailymae_hf.schedule import ResolutionSchedule, check_keys


def conditions(loader=()):
    return Conditions(
        run=Run(images=10_000, global_batch=100),
        machines=Machines(devices=1, cores_per_device=1),
        throughput=Throughput(
            step=(StepSpeed(224, 0.75, 100.0),),
            loader=loader,
            start_seconds=5.0,
            epoch_costs=(EpochCost(224, 1.0),),
        ),
        flops=lambda resolution, _: resolution**2.2,
    )


def fit(budget, epochs, **kwargs):
    arguments = {"resolution": 224, "patch_size": 16, "mask_ratio": 0.75, "conditions": conditions(), "margin": 0.0}
    return fit_schedule(budget, epochs, **arguments | kwargs)


def seconds_by_hand(sizes):
    return 5 + sum(1 + 10_000 / (100 * (224 / size) ** 2.2) for size in sizes)


def search(budget, epochs):
    """(epochs, low size, epochs at it) of the gentlest full-low-full schedule, found by trying all of them."""
    for total in range(epochs, 0, -1):
        for low in (224, 208, 192, 176, 160):
            for count in range(total // 2 + 1) if low < 224 else [0]:
                if seconds_by_hand([low] * count + [224] * (total - count)) <= budget:
                    return total, low, count
    return None


FULL = seconds_by_hand([224] * 40)


@pytest.mark.parametrize("share", [1.5, 1.0, 0.999, 0.97, 0.93, 0.9, 0.85, 0.8, 0.77, 0.7, 0.5, 0.25, 0.06])
@pytest.mark.parametrize("epochs", [40, 41])
def test_the_fit_is_the_gentlest_of_all_schedules(share, epochs):
    found = fit(share * FULL, epochs)
    total, low, count = search(share * FULL, epochs)
    assert found.epochs == total
    assert sum(stage.epochs for stage in found.stages if stage.resolution < 224) == count
    if count:
        assert min(stage.resolution for stage in found.stages) == low


@pytest.mark.parametrize("share", [1.1, 0.9, 0.8, 0.5, 0.1, 0.051])
@pytest.mark.parametrize("margin", [0.0, 0.03])
def test_the_fit_keeps_the_budget_and_ends_at_full_size(share, margin):
    budget = share * FULL
    found = fit(budget, 40, margin=margin)
    estimate = estimate_run("fit", found.stage_of_epoch, conditions())
    assert estimate.seconds == pytest.approx(found.seconds)
    assert estimate.seconds <= budget * (1 - margin) + 1e-6
    assert found.stages[-1].resolution == 224
    assert found.stages[-1].epochs >= found.epochs / 4
    assert all(stage.resolution % 16 == 0 for stage in found.stages)


@pytest.mark.parametrize("epochs", [2, 3, 7, 40, 97, 800, 1601])
@pytest.mark.parametrize("share", [0.75, 0.83, 0.91, 0.99])
def test_the_schedule_in_a_recipe_has_the_fitted_epochs(epochs, share):
    found = fit(share * seconds_by_hand([224] * epochs), epochs)
    schedule = ResolutionSchedule.from_dict(found.to_recipe(), epochs=found.epochs, patch_size=16)
    stages = [schedule.stage(epoch) for epoch in range(found.epochs)]
    assert [(s.resolution, s.mask_ratio) for s in stages] == [
        (s.resolution, s.mask_ratio) for s in found.stage_of_epoch
    ]


def test_the_mask_ratio_may_follow_the_size():
    found = fit(0.85 * FULL, 40, mask_ratio=lambda size: 0.75 if size == 224 else 0.66)
    assert {(s.resolution == 224, s.mask_ratio) for s in found.stages} == {(True, 0.75), (False, 0.66)}


def test_a_smaller_size_that_saves_nothing_is_not_taken():
    # the loader limits at every size, so only fewer epochs help
    slow = conditions(loader=(LoaderSpeed(224, 20.0),))
    found = fit(2000, 40, conditions=slow)
    assert {stage.resolution for stage in found.stages} == {224}
    assert found.epochs == int((2000 - 5) / (10_000 / 20 + 1))


def test_a_budget_below_one_epoch_says_what_one_takes():
    with pytest.raises(RecipeError, match="one epoch of 10000 images takes 101 s"):
        fit(60, 40)


def test_sizes_below_full():
    assert low_resolutions(224, 16) == [208, 192, 176, 160]
    assert low_resolutions(224, 14) == [210, 196, 182, 168]
    assert low_resolutions(224, 16, floor=128) == [208, 192, 176, 160, 144, 128]


def test_a_recipe_may_ask_for_a_fit_but_a_schedule_cannot_be_made_of_it_unfitted():
    spec = {"fit": "18h", "low": 160, "keep_visible": True}
    check_keys(spec)
    with pytest.raises(RecipeError, match=r"resolution_schedule\.fit: .*measured"):
        ResolutionSchedule.from_dict(spec, epochs=8, patch_size=16)
    with pytest.raises(RecipeError, match=r"resolution_schedule\.hihg: .*nearest"):
        check_keys({"fit": "18h", "hihg": 224})
