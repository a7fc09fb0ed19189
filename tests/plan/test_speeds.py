"""Speeds: read, written, and carried to sizes between and beyond the measured ones."""

import json

import pytest

from dailymae_hf.errors import RecipeError
from dailymae_hf.plan import Throughput, parse_duration, read_throughput
from dailymae_hf.plan.speeds import EpochCost, LoaderSpeed, StepSpeed


def pixels(resolution, mask_ratio):
    return resolution**2 * (2 - mask_ratio)


def measured(**changes):
    step = (StepSpeed(224, 0.75, 100.0), StepSpeed(160, 0.75, 200.0))
    loader = (LoaderSpeed(224, 500.0), LoaderSpeed(160, 1000.0))
    return Throughput(**{"step": step, "loader": loader, "source": "a test"} | changes)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("18h", 64800), ("90min", 5400), ("90m", 5400), ("1d6h", 108000), ("2h 30m", 9000), ("1.5h", 5400), ("45s", 45)],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["18", "", "h", "18 hours long", "-3h", "0h", "3h x"])
def test_what_is_no_duration_names_its_field(text):
    with pytest.raises(RecipeError, match="fit"):
        parse_duration(text, field="resolution_schedule.fit")


def test_measured_sizes_are_returned_as_measured():
    assert measured().step_rate(224, 0.75, pixels) == pytest.approx(100)
    assert measured().step_rate(160, 0.75, pixels) == pytest.approx(200)
    assert measured().loader_rate(160) == pytest.approx(1000)


def test_between_sizes_seconds_are_linear_in_flops():
    # half-way in pixels between 160 and 224 is half-way in seconds: 7.5 ms per image
    half_way = ((160**2 + 224**2) / 2) ** 0.5
    assert measured().step_rate(half_way, 0.75, pixels) == pytest.approx(1 / 0.0075)
    assert measured().loader_rate(half_way) == pytest.approx(1 / 0.0015)


@pytest.mark.parametrize(("resolution", "nearest", "rate"), [(448, 224, 100), (80, 160, 200)])
def test_beyond_the_measured_sizes_the_devices_flops_rate_is_kept(resolution, nearest, rate):
    assert measured().step_rate(resolution, 0.75, pixels) == pytest.approx(rate * nearest**2 / resolution**2)


def test_a_mask_ratio_never_timed_is_scaled_by_flops():
    assert measured().step_rate(224, 0.5, pixels) == pytest.approx(100 * 1.25 / 1.5)
    assert not measured().measured(224, 0.5)
    assert measured().measured(224, 0.75)


def test_a_loader_that_was_not_measured_has_no_speed():
    assert measured(loader=()).loader_rate(224) is None


def test_the_cost_of_an_epoch_is_linear_in_pixels_and_constant_beyond():
    costs = measured(epoch_costs=(EpochCost(224, 6.0), EpochCost(160, 3.0)))
    sizes = (224, ((160**2 + 224**2) / 2) ** 0.5, 160, 320, 64)
    assert [costs.epoch_seconds(size) for size in sizes] == pytest.approx([6.0, 4.5, 3.0, 6.0, 3.0])
    assert measured().epoch_seconds(224) == 0


def test_results_file_round_trip(tmp_path):
    before = measured(shared_cores=True, start_seconds=3.5, epoch_costs=(EpochCost(224, 1.25),))
    (tmp_path / "flat.json").write_text(json.dumps(before.to_json()))
    (tmp_path / "nested.json").write_text(json.dumps({"throughput": before.to_json(), "machine": "whatever"}))
    assert read_throughput(tmp_path / "flat.json") == before
    assert read_throughput(tmp_path / "nested.json") == before


@pytest.mark.parametrize(
    "content",
    [
        "not json",
        "[]",
        "{}",
        '{"step": []}',
        '{"step": [{"resolution": 224}]}',
        '{"step": [{"resolution": 224, "mask_ratio": 0.75, "images_per_second": 0}]}',
        '{"step": [{"resolution": 224, "mask_ratio": 0.75, "images_per_second": 9}], "speling": 1}',
    ],
)
def test_a_file_without_speeds_is_named(tmp_path, content):
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(RecipeError, match=r"results\.json"):
        read_throughput(path)


def test_a_stated_utilisation_is_peak_over_flops():
    # 19.6 GFLOP forward, 58.7 with the backward pass; the paper's 1,980 images/s are 37 % of an A100's 312 TFLOP/s
    stated = Throughput.from_utilisation(lambda *_: 58.7e9, 224, 0.75, peak=312e12, mfu=0.3725)
    assert stated.step_rate(224, 0.75, lambda *_: 58.7e9) == pytest.approx(1980, rel=1e-3)
    assert "not measured" in stated.source


@pytest.mark.parametrize(("peak", "mfu"), [(0, 0.5), (1e12, 0), (1e12, 1.2)])
def test_a_utilisation_that_cannot_be_is_refused(peak, mfu):
    with pytest.raises(RecipeError, match="MFU"):
        Throughput.from_utilisation(pixels, 224, 0.75, peak=peak, mfu=mfu)
