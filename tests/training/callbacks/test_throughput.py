"""Counts are exact, waiting is waiting, pauses are no training time, and peaks are the data sheets'."""

import time

import pytest

from dailymae_hf.model.flops import mae_flops
from dailymae_hf.training.callbacks import ThroughputCallback
from dailymae_hf.training.callbacks.throughput import peak_flops
from dailymae_hf.training.mae_trainer import DailyMAETrainer
from dailymae_hf.training.stopwatch import Stopwatch
from tests.support.in_memory import ArrayLoader, coloured_images, tiny_model
from tests.support.runs import arguments, loader, validation

DELAY = 0.03


class SlowLoader(ArrayLoader):
    def _batch(self, rows):
        time.sleep(DELAY)
        return super()._batch(rows)


def test_counts_images_tokens_and_flops_of_every_size(tmp_path):
    schedule = {"kind": "palindrome", "resolutions": [32, 24, 32]}
    throughput = ThroughputCallback()
    args = arguments(tmp_path, num_train_epochs=3, resolution_schedule=schedule)
    trainer = DailyMAETrainer(tiny_model(), args, train_beton=loader(), callbacks=[throughput])
    trainer.train()
    config = trainer.model.config
    large, small = (3 * mae_flops(config, size, 0.75) for size in (32, 24))
    assert throughput.totals.images == 120
    assert throughput.totals.flops == pytest.approx(40 * (2 * large + small))
    assert throughput.totals.flops == pytest.approx(trainer.state.total_flos)
    assert throughput.totals.tokens == 40 * (2 * (4 + 1) + (2 + 1)), (
        "visible patches (16 / 4, int(9 / 4)) and a class token"
    )


def test_time_waiting_for_data_is_a_share_of_the_training_time(tmp_path):
    images, labels = coloured_images(40)
    throughput = ThroughputCallback()
    start = time.perf_counter()
    trainer = DailyMAETrainer(
        tiny_model(), arguments(tmp_path), train_beton=SlowLoader(images, labels, 8), callbacks=[throughput]
    )
    trainer.train()
    elapsed = time.perf_counter() - start
    totals = throughput.totals
    assert 10 * DELAY <= totals.waited_seconds < totals.seconds < elapsed
    waits = [entry["data_wait"] for entry in trainer.state.log_history if "data_wait" in entry]
    assert len(waits) == 10
    assert all(0 < wait < 1 for wait in waits)
    rates = [entry["images_per_second"] for entry in trainer.state.log_history if "images_per_second" in entry]
    assert all(rate < 8 / DELAY for rate in rates)


def test_evaluation_and_checkpoints_are_no_training_time(tmp_path, monkeypatch):
    throughput = ThroughputCallback()
    args = arguments(tmp_path, eval_strategy="epoch", save_strategy="epoch")
    trainer = DailyMAETrainer(tiny_model(), args, train_beton=loader(), eval_beton=validation(), callbacks=[throughput])
    real = trainer.score

    def slow(*given):
        time.sleep(1.0)
        return real(*given)

    monkeypatch.setattr(trainer, "score", slow)
    trainer.train()
    assert trainer.stopwatch.paused > 2.0
    second_epoch = [e for e in trainer.state.log_history if "images_per_second" in e and e["epoch"] > 1]
    assert second_epoch[0]["images_per_second"] > 8, "the second of evaluation was counted"


def test_nested_pauses_count_once():
    watch = Stopwatch()
    with watch.pause():
        time.sleep(0.02)
        with watch.pause():
            time.sleep(0.02)
    assert 0.04 <= watch.paused < 0.06 + 0.1


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H200", 989e12),
        ("Tesla V100-SXM2-16GB", 125e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA GeForce RTX 4090", 165e12),
        ("NVIDIA A10G", None),  # another chip than the A10
        ("Some accelerator", None),
    ],
)
def test_peaks_of_known_devices(name, peak):
    assert peak_flops(name) == peak
