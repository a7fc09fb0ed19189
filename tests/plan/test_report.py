"""The printed plan says what was measured and what limits; the drawing is a picture."""

from dataclasses import dataclass

import pytest
from PIL import Image

from dailymae_hf.plan import Conditions, Machines, Prices, Run, Throughput, estimate_run
from dailymae_hf.plan.report import draw_plan, format_duration, format_plan
from dailymae_hf.plan.speeds import LoaderSpeed, StepSpeed


@dataclass(frozen=True)
class Stage:
    resolution: int
    mask_ratio: float = 0.75


@pytest.fixture
def estimates():
    throughput = Throughput(step=(StepSpeed(224, 0.75, 100.0),), loader=(LoaderSpeed(224, 110.0),))
    conditions = Conditions(Run(1_000, 100), Machines(), throughput, lambda resolution, _: resolution**2)
    prices = Prices(700, 2.5)
    schedules = {"constant": [Stage(224)] * 6, "palindrome": [Stage(224)] * 2 + [Stage(160)] * 2 + [Stage(224)] * 2}
    return [estimate_run(name, schedule, conditions, prices) for name, schedule in schedules.items()]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(12.34, "12.3 s"), (250, "4 min 10 s"), (65100, "18 h 05 min"), (7199.9, "2 h 00 min"), (3599.9, "1 h 00 min")],
)
def test_durations(seconds, text):
    assert format_duration(seconds) == text


def test_the_table_states_totals_limits_and_what_is_not_measured(estimates):
    table = format_plan(estimates, source="results.json", budget_seconds=58.0, notes=["a note"])
    assert "results.json" in table
    assert "constant: 1 min 00 s for 6 epochs" in table
    assert "(2.0 s over)" in table
    assert "- a note" in table
    stage_lines = [line.split() for line in table.splitlines() if line.split()[:1] in (["224"], ["160*"])]
    # 160 was never timed and is limited by the loader there: 196 images/s of step against 110
    assert [line[0] for line in stage_lines] == ["224", "224", "160*", "224"]
    assert stage_lines[2][-2:] == ["loader", "1.8"]
    assert stage_lines[0][-2] == "step"


def test_the_drawing_has_a_bar_per_schedule(estimates, tmp_path):
    draw_plan(estimates[:1], tmp_path / "one.png", source="a test")
    draw_plan(estimates, tmp_path / "two.png", source="a test", budget_seconds=58.0)
    one, two = (Image.open(tmp_path / name) for name in ("one.png", "two.png"))
    assert two.height > one.height
    assert len(two.convert("RGB").getcolors(maxcolors=1 << 20)) > 10
