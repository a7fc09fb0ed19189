"""The scaling simulation at the limits where the answer is known."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import simulate_scaling as simulation


@pytest.fixture(scope="module")
def base():
    return simulation.Assumptions()


def test_one_machine_of_one_gpu_needs_no_network(base):
    step = simulation.simulate_step(1, replace(base, gpus_per_machine=1, global_batch=512, step_noise=0))
    assert step.allreduce == step.exposed == step.waiting_for_slowest == 0
    assert step.seconds == pytest.approx(512 / 1980)


def test_without_computing_the_whole_allreduce_is_exposed(base):
    a = replace(base, gpu_images_per_second=1e12, step_fixed_seconds=0)
    step = simulation.simulate_step(8, a)
    assert step.exposed == pytest.approx(step.allreduce, rel=1e-3)
    # a ring of 8 machines moves 7/4 of the gradients through each machine's link
    wire = 7 / 4 * a.gradient_bytes / a.network_bytes_per_second
    inside = 7 / 4 * a.gradient_bytes / a.gpu_link_bytes_per_second
    hops = math.ceil(a.gradient_bytes / a.bucket_bytes) * 6 * a.hop_seconds
    assert step.allreduce == pytest.approx(wire + inside + hops)


def test_an_endless_network_leaves_only_the_computing(base):
    a = replace(
        base, network_bytes_per_second=1e18, gpu_link_bytes_per_second=1e18, hop_seconds=0, step_fixed_seconds=0
    )
    one, many = (simulation.simulate_step(machines, replace(a, step_noise=0)) for machines in (1, 64))
    assert many.exposed == pytest.approx(0, abs=1e-9)
    assert one.seconds / many.seconds == pytest.approx(64)


def test_buckets_hold_all_gradients_and_end_with_the_backward_pass(base):
    buckets = simulation.bucket_ready_times(2.0, base)
    assert sum(size for _, size in buckets) == pytest.approx(base.gradient_bytes)
    times = [when for when, _ in buckets]
    assert times == sorted(times)
    assert times[-1] == pytest.approx(2.0)


@pytest.mark.parametrize("ranks", [2, 8, 64, 512])
def test_the_slowest_of_many(ranks):
    drawn = np.random.default_rng(0).standard_normal((4000, ranks)).max(axis=1)
    assert simulation.slowest_of(ranks) == pytest.approx(drawn.mean(), abs=5 * drawn.std() / 4000**0.5)


def test_a_slow_loader_sets_the_pace_and_is_named(base):
    a = replace(base, core_images_per_second=10)
    row = simulation.summary(simulation.simulate_step(1, a), a)
    assert row["limit"] == "loader"
    assert row["images_per_second"] == pytest.approx(960)


def test_every_assumption_says_where_it_is_from():
    origins = [f.metadata["origin"] for f in simulation.fields(simulation.Assumptions)]
    assert all(len(origin) > 5 for origin in origins)


def test_the_page_shows_the_record_and_the_record_the_loaders_last_figures():
    """Before, both said what an earlier record of the loader had held."""
    root = Path(__file__).parents[2]
    page = (root / "docs/scaling.md").read_text()
    record, loader = (
        json.loads((root / f"benchmarks/results/{name}.json").read_text()) for name in ("scaling", "loader")
    )
    ours, ffcv = (loader["results"][name]["224"] for name in ("ours, jpg", "ffcv"))
    per_core = ours["images_per_second"] / loader["workers"]
    assert record["assumptions"]["core_images_per_second"]["value"] == per_core
    assert f"| loading | {per_core:,.0f} images/s per core |" in page
    assert f"it would take {ours['ratio_to_ffcv'] / ffcv['ratio_to_ffcv']:.1f} times as long" in page
    rows = re.findall(r"^\| (\d+) \| \d+ \| (.+) \|$", page, re.M)
    keys = ("compute", "allreduce", "exposed", "waiting_for_slowest", "load")
    assert len(rows) == len(record["results"]["100 Gbit/s"])
    for (machines, cells), row in zip(rows, record["results"]["100 Gbit/s"], strict=True):
        assert int(machines) == row["machines"]
        assert cells.split(" | ")[:5] == [f"{1000 * row[key]:.1f}" for key in keys]
