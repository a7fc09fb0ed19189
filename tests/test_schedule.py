"""Schedules: every kind by hand-computed epochs, the paper's own schemes, and errors that name the field."""

import math
import re
from pathlib import Path

import pytest
import torch
import yaml
from torch.optim.lr_scheduler import LambdaLR

from dailymae_hf import schedule as schedule_module
from dailymae_hf.errors import RecipeError
from dailymae_hf.model.flops import mae_flops
from dailymae_hf.model.masking import num_visible
from dailymae_hf.model.modeling import mae_config
from dailymae_hf.schedule import ResolutionSchedule, learning_rate_factor, scaled_learning_rate, warmup_cosine


def schedule(spec, epochs=10, patch_size=16, **model) -> ResolutionSchedule:
    return ResolutionSchedule.from_dict(spec, epochs=epochs, patch_size=patch_size, **model)


def sizes(spec, epochs=10, **model) -> list[int]:
    built = schedule(spec, epochs, **model)
    return [built.stage(epoch).resolution for epoch in range(math.ceil(epochs))]


@pytest.mark.parametrize(
    ("spec", "epochs", "expected"),
    [
        (None, 3, [224] * 3),
        ({"kind": "constant"}, 3, [224] * 3),
        ({"kind": "constant", "resolution": 160}, 2, [160] * 2),
        ({"kind": "palindrome", "resolutions": [224, 192, 224]}, 6, [224, 224, 192, 192, 224, 224]),
        ({"kind": "palindrome", "resolutions": [224, 192, 160, 192, 224]}, 5, [224, 192, 160, 192, 224]),
        ({"kind": "palindrome", "low": 160, "step": 32}, 10, [224, 224, 192, 192, 160, 160, 192, 192, 224, 224]),
        ({"kind": "palindrome", "low": 192, "high": 256, "step": 64}, 3, [256, 192, 256]),
        ({"kind": "increasing", "low": 160, "high": 192}, 6, [160, 160, 176, 176, 192, 192]),
        ({"kind": "increasing", "resolutions": [160, 192, 224]}, 3, [160, 192, 224]),
        ({"kind": "decreasing", "low": 192, "step": 32}, 4, [224, 224, 192, 192]),
        ({"kind": "palindrome", "resolutions": [224, 192, 224], "ramp": [0.2, 0.6]}, 8, [224] * 4 + [192] + [224] * 3),
        (
            {
                "kind": "stages",
                "stages": [
                    {"resolution": 224, "share": 0.5},
                    {"resolution": 128, "share": 0.2},
                    {"resolution": 192, "share": 0.3},
                ],
            },
            10,
            [224] * 5 + [128] * 2 + [192] * 3,
        ),
    ],
)  # fmt: skip
def test_size_of_every_epoch(spec, epochs, expected):
    assert sizes(spec, epochs) == expected


@pytest.mark.parametrize("epochs", [7, 30, 100, 800])
@pytest.mark.parametrize(("start", "end"), [(0.0, 2 / 3), (0.1, 0.9), (0.25, 1.0)])
@pytest.mark.parametrize("count", [2, 3, 5])
def test_ramp_is_the_papers_rule(epochs, start, end, count):
    """Before start the first stage, from end the last, else floor((epoch - start) * (n - 1) / (end - start))."""
    built = schedule(
        {"kind": "decreasing", "resolutions": [320, 256, 192, 128, 64][:count], "ramp": [start, end]}, epochs
    )
    first, last = start * epochs, end * epochs
    for epoch in range(epochs):
        rule = math.floor((epoch - first) * (count - 1) / (last - first) + 1e-9)
        assert built.stage(epoch).index == min(max(rule, 0), count - 1)


@pytest.mark.parametrize(
    ("ramp", "saving"),
    [([0.0, 2 / 3], 0.09), ([0.0, 0.8], 0.108)],
    ids=["even thirds", "320 of 800 epochs at 192"],
)
def test_the_papers_palindrome_saves_what_it_should(ramp, saving):
    config = mae_config("base")
    built = schedule({"kind": "palindrome", "resolutions": [224, 192, 224], "ramp": ramp}, 800)
    cost = sum(mae_flops(config, built.stage(e).resolution, built.stage(e).mask_ratio) for e in range(800))
    assert 1 - cost / (800 * mae_flops(config)) == pytest.approx(saving, abs=0.002)


@pytest.mark.parametrize(
    ("spec", "visible"),
    [
        ({"kind": "increasing", "resolutions": [160, 192, 224], "mask_ratio": [0.5, 0.66, 0.75]}, [50, 48, 49]),
        ({"kind": "increasing", "resolutions": [160, 192, 224]}, [25, 36, 49]),
        ({"kind": "decreasing", "resolutions": [224, 192, 160]}, [49, 36, 25]),
        ({"kind": "palindrome", "resolutions": [224, 192, 224], "mask_ratio": [0.75, 0.75, 0.85]}, [49, 36, 29]),
        ({"kind": "palindrome", "resolutions": [224, 192, 160, 192, 224], "keep_visible": True}, [49] * 5),
        ({"kind": "palindrome", "resolutions": [224, 192, 160, 192, 224], "keep_visible": 30}, [30] * 5),
    ],
)
def test_visible_patches_of_every_stage(spec, visible):
    """The first four are the paper's schemes 1, 2, 3 and 6."""
    stages = schedule(spec).stages
    assert [num_visible((stage.resolution // 16) ** 2, stage.mask_ratio) for stage in stages] == visible


def test_explicit_stages_have_their_own_mask_ratio_or_the_default():
    spec = {
        "kind": "stages",
        "stages": [{"resolution": 224, "share": 0.5}, {"resolution": 160, "share": 0.5, "mask_ratio": 0.5}],
    }
    assert [stage.mask_ratio for stage in schedule(spec, mask_ratio=0.8).stages] == [0.8, 0.5]
    assert [stage.mask_ratio for stage in schedule(spec | {"mask_ratio": 0.6}).stages] == [0.6, 0.5]


def test_stages_carry_their_number_and_the_last_one_stays():
    built = schedule({"kind": "palindrome", "resolutions": [224, 192, 224]}, 3)
    assert [built.stage(epoch).index for epoch in (0, 1, 1.99, 2, 3, 50)] == [0, 1, 1, 2, 2, 2]
    assert built.resolutions == (224, 192, 224)


def test_fractional_epochs_have_a_stage():
    assert sizes({"kind": "palindrome", "resolutions": [224, 192, 224]}, 1.5) == [224, 224]
    assert schedule({"kind": "increasing", "low": 160, "step": 64}, 0.5).stage(0.3).resolution == 224


def test_patch_14_takes_other_sizes():
    assert sizes({"kind": "decreasing", "resolutions": [224, 196]}, 2, patch_size=14) == [224, 196]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"kind": "palindrom"}, r"kind.*'palindrom'.*'palindrome'"),
        ({}, r"resolution_schedule\.kind: is missing"),
        ("constant", "resolution_schedule: expected"),
        ({"kind": "palindrome", "resolution": [224, 192, 224]}, r"\.resolution: unknown key.*'resolutions'"),
        ({"kind": "constant", "ramp": [0, 1]}, r"\.ramp: unknown key"),
        ({"kind": "constant", "resolution": 220}, r"resolution_schedule\.resolution: 220 .*patch size 16"),
        ({"kind": "palindrome", "resolutions": [224, 200, 224]}, r"resolutions\[1\]: 200 .*patch size 16"),
        ({"kind": "palindrome", "low": 200, "step": 24}, r"\.low: 200 is not a multiple"),
        ({"kind": "palindrome", "low": 176, "step": 24}, r"\.step: 200 is not a multiple"),
        ({"kind": "palindrome", "low": 160, "step": 48}, r"\.step: steps of 48"),
        ({"kind": "palindrome", "low": 160, "step": 0}, r"\.step"),
        ({"kind": "palindrome", "step": 32}, r"\.low: missing"),
        ({"kind": "palindrome", "resolutions": [224, 192, 224], "low": 192}, r"\.low: give either"),
        ({"kind": "palindrome", "resolutions": [224, 192]}, r"fall, then rise"),
        ({"kind": "palindrome", "resolutions": [160, 192, 160]}, r"fall, then rise"),
        ({"kind": "increasing", "resolutions": [224, 192]}, r"do not rise"),
        ({"kind": "decreasing", "resolutions": [192, 192]}, r"do not fall"),
        ({"kind": "increasing", "resolutions": 224}, r"\.resolutions: expected a list"),
        ({"kind": "increasing", "resolutions": [160, "224"]}, r"\.resolutions: expected a whole number"),
        ({"kind": "increasing", "low": 160, "ramp": [0.8, 0.2]}, r"\.ramp: start 0.8"),
        ({"kind": "increasing", "low": 160, "ramp": [0, 640]}, r"\.ramp: expected a number from 0 to 1"),
        ({"kind": "increasing", "low": 160, "ramp": 0.5}, r"\.ramp: expected \[start, end\]"),
        ({"kind": "increasing", "low": 208, "mask_ratio": [0.75]}, r"\.mask_ratio: 1 numbers for 2 stages"),
        ({"kind": "constant", "mask_ratio": 1.5}, r"\.mask_ratio"),
        ({"kind": "constant", "mask_ratio": 0.0}, r"mask_ratio"),
        ({"kind": "constant", "mask_ratio": 0.5, "keep_visible": 49}, r"\.keep_visible: give either"),
        ({"kind": "decreasing", "low": 112, "step": 56, "keep_visible": 49}, r"\.step: 168|\.keep_visible"),
        ({"kind": "constant", "resolution": 112, "keep_visible": 49}, r"\.keep_visible: .*1 to 48"),
        ({"kind": "stages", "stages": []}, r"\.stages: expected a list"),
        ({"kind": "stages", "stages": [{"resolution": 224}]}, r"stages\[0\]\.share: missing"),
        (
            {"kind": "stages", "stages": [{"resolution": 224, "shares": 1}]},
            r"stages\[0\]\.shares: unknown key.*'share'",
        ),
        ({"kind": "stages", "stages": [{"resolution": 100, "share": 1}]}, r"stages\[0\]\.resolution: 100"),
        (
            {"kind": "stages", "stages": [{"resolution": 224, "share": 0.5}, {"resolution": 160, "share": 0.4}]},
            r"\.stages: the shares add up to 0\.9",
        ),
    ],
)
def test_errors_name_the_field(spec, message):
    with pytest.raises(RecipeError, match=message):
        schedule(spec)


def test_learning_rate_scales_with_the_batch():
    assert scaled_learning_rate(1.5e-4, 4096) == pytest.approx(2.4e-3)
    assert scaled_learning_rate(1.5e-4, 256) == 1.5e-4


@pytest.mark.parametrize(("epochs", "warmup", "per_epoch"), [(800, 40, 312), (10, 2.5, 7), (3, 0, 5), (1, 0.3, 9)])
def test_learning_rate_is_maes_formula_in_epochs(epochs, warmup, per_epoch):
    """`util/lr_sched.py` counts in fractional epochs; steps divided by steps per epoch give the same."""
    for step in range(0, epochs * per_epoch, 3):
        epoch = step / per_epoch
        if epoch < warmup:
            expected = epoch / warmup
        else:
            expected = 0.5 * (1.0 + math.cos(math.pi * (epoch - warmup) / (epochs - warmup)))
        found = learning_rate_factor(step, warmup * per_epoch, epochs * per_epoch)
        assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("step", "expected"), [(0, 0.0), (5, 0.5), (10, 1.0), (55, 0.5), (100, 0.0), (120, 0.0)])
def test_learning_rate_at_the_corners(step, expected):
    assert learning_rate_factor(step, 10, 100) == pytest.approx(expected)


def test_run_shorter_than_its_warm_up_never_passes_the_peak():
    assert [learning_rate_factor(step, 4, 4) for step in range(6)] == [0, 0.25, 0.5, 0.75, 1.0, 1.0]


def test_lambda_lr_hook_resumes_where_it_was():
    def build() -> tuple[torch.optim.Optimizer, LambdaLR]:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
        return optimizer, LambdaLR(optimizer, warmup_cosine(2.5, 10))

    optimizer, scheduler = build()
    rates = []
    for _ in range(10):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([2 * learning_rate_factor(step, 2.5, 10) for step in range(10)])
    resumed_optimizer, resumed = build()
    resumed.load_state_dict({**scheduler.state_dict(), "last_epoch": 4})
    resumed_optimizer.step()
    resumed.step()
    assert resumed_optimizer.param_groups[0]["lr"] == pytest.approx(rates[5])


def test_another_kind_is_one_registered_class(monkeypatch):
    """Recipes know it, its keys are checked, and it has its stages."""
    monkeypatch.setattr(schedule_module, "_KINDS", dict(schedule_module._KINDS))

    @schedule_module.schedule_kind("twice")
    class Twice(schedule_module.ScheduleKind):
        keys = schedule_module.ScheduleKind.keys | {"small"}

        def sizes(self, spec, resolution, patch_size):
            return [("small", spec["small"]), ("resolution", resolution)]

    assert sizes({"kind": "twice", "small": 160}, 4) == [160, 160, 224, 224]
    with pytest.raises(RecipeError, match=r"resolution_schedule\.smal: unknown key.*'small'"):
        schedule({"kind": "twice", "smal": 160})


def test_the_schedules_that_the_page_prints_are_schedules():
    page = (Path(__file__).parent.parent / "docs" / "schedule.md").read_text()
    lines = [line for block in re.findall("```yaml\n(.*?)```", page, re.S) for line in block.splitlines()]
    found = [yaml.safe_load(line)["resolution_schedule"] for line in lines if line.startswith("resolution_schedule")]
    assert len(found) == 4
    assert sizes(found[0]) == [224, 224, 192, 192, 160, 160, 192, 192, 224, 224]
    built = [schedule(spec) for spec in found[1:]]
    assert [stage.mask_ratio for stage in built[0].stages] == [0.8] * 3
    assert [stage.mask_ratio for stage in built[1].stages] == [0.75, 0.6, 0.75]
    shown = [num_visible((stage.resolution // 16) ** 2, stage.mask_ratio) for stage in built[2].stages]
    assert shown == [49, 49, 49]
