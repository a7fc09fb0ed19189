"""What can go wrong around BetonLoader, with both engines: nothing hangs, leaks, or goes unheard."""

import gc
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dailymae_hf.data import BetonLoader
from dailymae_hf.data.beton import open_beton
from dailymae_hf.errors import BetonError, CorruptSampleError, DailyMAEError, RecipeError

pytestmark = pytest.mark.usefixtures("each_engine")

SIDE = 32


def make(path: Path, batch_size: int = 2, **options: Any) -> BetonLoader:
    return BetonLoader(path, batch_size, **{"resolution": SIDE, "num_workers": 1} | options)


# ---- processes of their own: numba's threads and torch's are settled once per process


def run(script: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | environment
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=200)


FOUR_THREADS = """
import sys, threading, torch
torch.set_num_threads(3)
from dailymae_hf.data import BetonLoader
counts = set()
results = []
for threads in (1, 4):
    loader = BetonLoader(sys.argv[1], 8, resolution=48, num_workers=threads, return_index=True, engine=sys.argv[2])
    assert loader.num_workers == threads
    batches = []
    for number in range(2):
        loader.set_epoch(number)
        for batch in loader:
            batches.append(batch)
            counts.add(torch.get_num_threads())
    results.append(batches)
thread = threading.Thread(target=lambda: counts.add(torch.get_num_threads()))
thread.start()
thread.join()
same = all(torch.equal(a[k], b[k]) for a, b in zip(*results, strict=True) for k in a)
print(len(results[0]), same, counts)
iterator = iter(loader)
next(iterator)
"""
_four_threads: dict[str, subprocess.CompletedProcess] = {}


@pytest.fixture
def four_threads(our_beton: Path, each_engine: str) -> subprocess.CompletedProcess:
    """1 against 4 threads (more than there may be cores: numba is told so before it starts), torch set to 3, and an
    epoch under way when the interpreter ends. One process per engine."""
    if each_engine not in _four_threads:
        settings = {"NUMBA_NUM_THREADS": "4", "NUMBA_THREADING_LAYER": "omp"}
        _four_threads[each_engine] = run(FOUR_THREADS, our_beton, each_engine, **settings)
    return _four_threads[each_engine]


def test_batches_do_not_depend_on_threads(four_threads: subprocess.CompletedProcess) -> None:
    assert four_threads.stdout.startswith("12 True"), four_threads.stderr


def test_torchs_threads_are_left_alone(four_threads: subprocess.CompletedProcess) -> None:
    """Stock ffcv sets torch's thread count when it is imported, when a loader is made, and in its thread."""
    assert four_threads.stdout.endswith("{3}\n"), four_threads.stderr


def test_leaving_the_interpreter_in_an_epoch(four_threads: subprocess.CompletedProcess) -> None:
    assert (four_threads.returncode, four_threads.stderr) == (0, "")


# ---- nothing hangs, nothing leaks


def epoch_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("epoch of")]


def test_leaving_a_loop_early_ends_its_thread(our_beton: Path) -> None:
    loader = make(our_beton)
    for _ in range(20):
        for _batch in loader:
            break
    gc.collect()
    assert epoch_threads() == []


def test_a_new_epoch_ends_the_one_before(our_beton: Path) -> None:
    loader = make(our_beton)
    first = iter(loader)
    next(first)
    second = iter(loader)
    next(second)
    assert len(epoch_threads()) == 1
    with pytest.raises(DailyMAEError, match="ended"):
        next(first)
    assert len(list(second)) == 24
    assert epoch_threads() == []


def test_taking_exactly_all_batches_ends_the_thread(our_beton: Path) -> None:
    """The Trainer never asks for the batch after the last."""
    iterator = iter(make(our_beton, 10))
    for _ in range(5):
        next(iterator)
    deadline = time.monotonic() + 5
    while epoch_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert epoch_threads() == []


def test_close_ends_the_epoch(our_beton: Path) -> None:
    loader = make(our_beton)
    iterator = iter(loader)
    next(iterator)
    loader.close()
    assert epoch_threads() == []


def test_an_exception_in_the_thread_reaches_the_consumer(our_beton: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stock ffcv waits forever."""
    loader = make(our_beton, 5)
    decode = loader._engine.decode

    def fail(*arguments: Any, **options: Any) -> Iterator[Any]:
        for number, decoded in enumerate(decode(*arguments, **options)):
            if number == 3:
                raise ZeroDivisionError("in the thread")
            yield decoded

    monkeypatch.setattr(loader._engine, "decode", fail)
    started = time.monotonic()
    iterator = iter(loader)
    for _ in range(3):
        next(iterator)
    with pytest.raises(ZeroDivisionError, match="in the thread"):
        next(iterator)
    assert time.monotonic() - started < 5
    assert epoch_threads() == []


def test_a_thread_that_dies_silently_is_noticed(our_beton: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dailymae_hf.data import prefetch as epoch_module

    monkeypatch.setattr(epoch_module, "_produce", lambda *arguments: None)
    started = time.monotonic()
    with pytest.raises(DailyMAEError, match="died"):
        next(iter(make(our_beton, 5)))
    assert time.monotonic() - started < 5


def test_nothing_is_drawn_from_the_global_random_state(our_beton: Path) -> None:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002  the global state is what must not change
    before = torch.get_rng_state(), np.random.get_state()[1].tobytes()  # noqa: NPY002
    list(make(our_beton))
    after = torch.get_rng_state(), np.random.get_state()[1].tobytes()  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert before[1] == after[1]


# ---- damaged samples


@pytest.fixture
def damaged_beton(our_beton: Path, tmp_path: Path) -> Path:
    """Samples 7 and 31 are overwritten with zeros, tables left alone."""
    path = tmp_path / "damaged.beton"
    path.write_bytes(our_beton.read_bytes())
    beton = open_beton(path)
    with path.open("r+b", buffering=0) as stream:
        for index in (7, 31):
            os.pwrite(stream.fileno(), bytes(int(beton.sizes[index])), int(beton.images["data_ptr"][index]))
    return path


def test_a_corrupt_sample_ends_the_run(damaged_beton: Path) -> None:
    with pytest.raises(CorruptSampleError, match="sample 7") as caught:
        list(make(damaged_beton, shuffle=False))
    assert str(damaged_beton) in str(caught.value)
    assert epoch_threads() == []


def test_a_corrupt_sample_is_zero_filled_and_counted(
    damaged_beton: Path, our_beton: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loader = BetonLoader(damaged_beton, 5, resolution=SIDE, num_workers=1, on_error="zero", return_index=True)
    with caplog.at_level(logging.WARNING):
        batches = list(loader)
    assert loader.errors == 2
    assert "sample 7" in caplog.text
    for ours, whole in zip(batches, make(our_beton, 5, return_index=True), strict=True):
        assert torch.equal(ours["index"], whole["index"])
        for image, right, index in zip(
            ours["pixel_values"], whole["pixel_values"], ours["index"].tolist(), strict=True
        ):
            assert torch.equal(image, torch.zeros_like(right) if index in (7, 31) else right)


def test_scores_leave_out_what_was_zero_filled(damaged_beton: Path) -> None:
    """Where an epoch has every sample, as for scores, a black stand-in is marked as padding is."""
    batches = list(make(damaged_beton, 5, shuffle=False, drop_last=False, on_error="zero", return_index=True))
    index, labels = (torch.cat([batch[name] for batch in batches]).tolist() for name in ("index", "labels"))
    assert [i for i in range(50) if i not in index] == [7, 31]
    assert [place for place, label in enumerate(labels) if label == -100] == [7, 31]


# ---- opening


def test_a_damaged_file_is_refused_when_it_is_opened(our_beton: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.beton"
    path.write_bytes(our_beton.read_bytes()[:-10])
    with pytest.raises(BetonError, match=r"cut\.beton"):
        BetonLoader(path, 2, resolution=SIDE)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"resolution": 0}, "resolution"),
        ({"rank": 2, "world_size": 2}, "rank"),
        ({"on_error": "ignore"}, "on_error"),
        ({"num_workers": 0}, "num_workers"),
        ({"scale": (0.5, 0.1)}, "scale"),
        ({"center_crop": 1.5}, "ratio"),
    ],
)
def test_bad_arguments_are_named(our_beton: Path, change: dict[str, Any], name: str) -> None:
    with pytest.raises(RecipeError, match=name):
        BetonLoader(our_beton, **{"batch_size": 2, "resolution": SIDE} | change)


def test_too_few_samples_for_a_batch(our_beton: Path) -> None:
    with pytest.raises(BetonError, match="50 samples"):
        BetonLoader(our_beton, 26, world_size=2, resolution=SIDE)
