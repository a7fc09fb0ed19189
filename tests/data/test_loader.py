"""BetonLoader's promises: right images, pure order, ranks, resume, resolution, and nothing that hangs or leaks."""

import gc
import io
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("ffcv", reason="needs ffcv")

from dailymae_hf.data import BetonLoader, convert_beton, write_beton
from dailymae_hf.data.beton import open_beton
from dailymae_hf.errors import BetonError, CorruptSampleError, DailyMAEError, RecipeError

SIDE = 32


def epoch(path: Path, batch_size: int = 5, **options: Any) -> list[dict[str, torch.Tensor]]:
    return list(BetonLoader(path, batch_size, **{"resolution": SIDE, "num_workers": 1, "return_index": True} | options))


def indices(batches: list[dict[str, torch.Tensor]]) -> list[int]:
    return torch.cat([batch["index"] for batch in batches]).tolist() if batches else []


def assert_equal(left: list[dict[str, torch.Tensor]], right: list[dict[str, torch.Tensor]]) -> None:
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            assert torch.equal(a[name], b[name]), name


# ---- what a batch is


def test_a_batch(our_beton: Path) -> None:
    batches = epoch(our_beton)
    labels = open_beton(our_beton).labels
    assert len(batches) == 10
    for batch in batches:
        assert batch["pixel_values"].shape == (5, 3, SIDE, SIDE)
        assert batch["pixel_values"].dtype == torch.uint8
        assert batch["pixel_values"].is_contiguous()
        assert batch["labels"].dtype == batch["index"].dtype == torch.int64
        np.testing.assert_array_equal(batch["labels"], labels[batch["index"].numpy()])
    assert sorted(indices(batches)) == list(range(50))


def test_index_and_labels_only_where_they_are_wanted(our_beton: Path, photograph_folder: Path, tmp_path: Path) -> None:
    assert set(epoch(our_beton, return_index=False)[0]) == {"pixel_values", "labels"}
    write_beton(photograph_folder, tmp_path / "x.beton", label_column=None, workers=1, progress=False)
    assert set(epoch(tmp_path / "x.beton", return_index=False)[0]) == {"pixel_values"}


@pytest.mark.parametrize("name", ["our_beton", "stock_beton"])
def test_center_crop_is_pillows(name: str, request: pytest.FixtureRequest) -> None:
    """Resize the shorter side to 256/224 of the output, cut the middle: the evaluation transform of the ViT recipes."""
    path = request.getfixturevalue(name)
    beton = open_beton(path)
    batches = epoch(path, 4, shuffle=False, drop_last=False, center_crop=224 / 256, resolution=224)
    images = torch.cat([batch["pixel_values"] for batch in batches]).numpy()
    assert indices(batches) == list(range(len(beton)))
    errors = []
    with path.open("rb") as stream:
        for number, record in enumerate(beton.images):
            data = beton.read(stream, number)
            if record["mode"]:
                stored = Image.fromarray(np.frombuffer(data, np.uint8).reshape(record["height"], record["width"], 3))
            else:
                stored = Image.open(io.BytesIO(data))
            short = min(stored.size)
            sides = [256 if side == short else int(256 * side / short) for side in stored.size]  # torchvision's Resize
            resized = stored.resize((sides[0], sides[1]), Image.Resampling.BILINEAR)
            left, top = round((resized.width - 224) / 2), round((resized.height - 224) / 2)
            expected = np.asarray(resized.crop((left, top, left + 224, top + 224)), np.float64).transpose(2, 0, 1)
            errors.append(np.abs(images[number] - expected).mean())
    assert np.mean(errors) < 1
    assert max(errors) < 4  # a field of stars


def test_random_crops_differ_between_epochs_and_seeds(our_beton: Path) -> None:
    def image_zero(seed: int, number: int) -> bytes:
        loader = BetonLoader(our_beton, 50, resolution=SIDE, num_workers=1, seed=seed, shuffle=False)
        loader.set_epoch(number)
        return next(iter(loader))["pixel_values"][0].numpy().tobytes()

    assert len({image_zero(seed, number) for seed in (0, 1) for number in (0, 1, 2)}) == 6
    assert image_zero(1, 2) == image_zero(1, 2)


# ---- order, ranks, resume


@pytest.mark.parametrize("world_size", [2, 8])
def test_ranks_see_what_one_rank_sees(our_beton: Path, world_size: int) -> None:
    """Images too: crops depend on the sample, not on who decodes it."""
    alone = epoch(our_beton, 2 * world_size)
    ranks = [epoch(our_beton, 2, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert {len(batches) for batches in ranks} == {len(alone)}
    together = [
        {name: torch.cat([batch[name] for batch in parts]) for name in parts[0]} for parts in zip(*ranks, strict=True)
    ]
    assert_equal(together, alone)


@pytest.mark.parametrize(("batch_size", "world_size"), [(4, 8), (7, 3), (50, 4), (3, 16)])
def test_evaluation_pads_equally_and_marks_it(our_beton: Path, batch_size: int, world_size: int) -> None:
    options = {"shuffle": False, "drop_last": False, "center_crop": 1.0, "world_size": world_size}
    ranks = [epoch(our_beton, batch_size, rank=rank, **options) for rank in range(world_size)]
    assert len({tuple(len(batch["index"]) for batch in batches) for batches in ranks}) == 1
    seen = [index for batches in ranks for index in indices(batches) if index >= 0]
    assert sorted(seen) == list(range(50))
    for batches in ranks:
        for batch in batches:
            assert torch.equal(batch["labels"] == -100, batch["index"] == -1)


def test_skip_equals_an_unbroken_epoch(our_beton: Path) -> None:
    loader = BetonLoader(our_beton, 4, resolution=SIDE, num_workers=1, return_index=True)
    loader.set_epoch(3)
    whole = list(loader)
    loader.skip(5)
    loader.set_epoch(3)  # the Trainer sets the epoch after skipping
    assert len(loader) == 12
    assert_equal(list(loader), whole[5:])
    assert_equal(list(loader), whole)  # only once


def test_skipping_a_whole_epoch_gives_nothing(our_beton: Path) -> None:
    loader = BetonLoader(our_beton, 5, resolution=SIDE, num_workers=1)
    loader.skip(10)
    assert list(loader) == []
    assert len(list(loader)) == 10


# ---- resolution


def test_resolution_changes_between_epochs(our_beton: Path) -> None:
    loader = BetonLoader(our_beton, 10, resolution=64, num_workers=1)
    for side in (64, 48, 96, 64):
        loader.set_resolution(side)
        assert loader.resolution == side
        assert {batch["pixel_values"].shape for batch in loader} == {(10, 3, side, side)}


def test_set_resolution_in_an_epoch_waits_for_the_next(our_beton: Path) -> None:
    loader = BetonLoader(our_beton, 5, resolution=64, num_workers=1)
    unbroken = list(loader)
    changed = []
    for batch in loader:
        loader.set_resolution(32)
        loader.set_epoch(7)
        changed.append(batch)
    assert_equal(changed, unbroken)
    assert next(iter(loader))["pixel_values"].shape[-1] == 32


def test_resolution_change_is_cheap(our_beton: Path) -> None:
    """No compilation (FFCV's takes seconds): the first batch of a changed epoch comes about as fast as any."""
    loader = BetonLoader(our_beton, 8, resolution=224, num_workers=2)
    list(loader)
    times = []
    for side in (192, 160, 224, 128):
        loader.set_resolution(side)
        started = time.perf_counter()
        next(iter(loader))
        times.append(time.perf_counter() - started)
    assert min(times) < 0.05
    assert max(times) < 0.5


# ---- memory


def test_batches_belong_to_the_consumer(our_beton: Path) -> None:
    """Kept batches, and views into dropped ones, are never overwritten."""
    loader = BetonLoader(our_beton, 5, resolution=64, num_workers=1)
    kept, copies = [], []
    for number in range(3):
        loader.set_epoch(number)
        for batch in loader:
            kept.append(batch["pixel_values"][1:3, 0])
            copies.append(kept[-1].clone())
    assert all(torch.equal(view, copy) for view, copy in zip(kept, copies, strict=True))


def test_buffers_are_used_again(our_beton: Path) -> None:
    loader = BetonLoader(our_beton, 5, resolution=64, num_workers=1)
    for number in range(4):
        loader.set_epoch(number)
        for _ in loader:
            pass
    # two waiting, one being filled, the loop's, and the one that the loop is about to let go of
    assert len(loader._engine.buffers.slots) <= 5


# ---- processes of their own: numba's threads and torch's are settled once per process


def run(script: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | environment
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=200)


@pytest.fixture(scope="module")
def four_threads(our_beton: Path) -> subprocess.CompletedProcess:
    """1 against 4 threads (more than there may be cores: numba is told so before it starts), torch set to 3, and an
    epoch under way when the interpreter ends."""
    return run(
        """
import sys, threading, torch
torch.set_num_threads(3)
from dailymae_hf.data import BetonLoader
counts = set()
results = []
for threads in (1, 4):
    loader = BetonLoader(sys.argv[1], 8, resolution=48, num_workers=threads, return_index=True)
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
""",
        our_beton,
        NUMBA_NUM_THREADS="4",
        NUMBA_THREADING_LAYER="omp",
    )


def test_batches_do_not_depend_on_threads(four_threads: subprocess.CompletedProcess) -> None:
    assert four_threads.stdout.startswith("12 True"), four_threads.stderr


def test_torchs_threads_are_left_alone(four_threads: subprocess.CompletedProcess) -> None:
    """Stock ffcv sets torch's thread count when it is imported, when a loader is made, and in its thread."""
    assert four_threads.stdout.endswith("{3}\n"), four_threads.stderr


def test_leaving_the_interpreter_in_an_epoch(four_threads: subprocess.CompletedProcess) -> None:
    assert (four_threads.returncode, four_threads.stderr) == (0, "")


def test_two_loaders_at_once_where_numba_cannot(our_beton: Path) -> None:
    """numba aborts the process when its `workqueue` layer is entered twice: there the loaders take turns."""
    done = run(
        "import sys; from dailymae_hf.data import BetonLoader\n"
        "a, b = (BetonLoader(sys.argv[1], 2, resolution=96, num_workers=2, seed=s) for s in (0, 1))\n"
        "for _ in range(3):\n"
        "    for _pair in zip(a, b): pass\n"
        "import numba; print(numba.threading_layer())\n",
        our_beton,
        NUMBA_NUM_THREADS="2",
        NUMBA_THREADING_LAYER="workqueue",
    )
    assert (done.returncode, done.stdout) == (0, "workqueue\n"), done.stderr


def test_without_ffcv_it_says_how_to_install_it(our_beton: Path) -> None:
    done = run(
        "import sys; sys.modules['ffcv'] = None\n"
        "import dailymae_hf.data\n"
        "from dailymae_hf.errors import MissingDependencyError\n"
        "try: dailymae_hf.data.BetonLoader(sys.argv[1], 2, resolution=32)\n"
        "except MissingDependencyError as error: print(error)\n",
        our_beton,
    )
    assert "pip install 'dailymae-hf[ffcv]'" in done.stdout
    assert "libopencv-dev" in done.stdout


# ---- nothing hangs, nothing leaks


def epoch_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("epoch of")]


def test_leaving_a_loop_early_ends_its_thread(our_beton: Path) -> None:
    loader = BetonLoader(our_beton, 2, resolution=SIDE, num_workers=1)
    for _ in range(20):
        for _batch in loader:
            break
    gc.collect()
    assert epoch_threads() == []


def test_a_new_epoch_ends_the_one_before(our_beton: Path) -> None:
    loader = BetonLoader(our_beton, 2, resolution=SIDE, num_workers=1)
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
    iterator = iter(BetonLoader(our_beton, 10, resolution=SIDE, num_workers=1))
    for _ in range(5):
        next(iterator)
    deadline = time.monotonic() + 5
    while epoch_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert epoch_threads() == []


def test_close_ends_the_epoch(our_beton: Path) -> None:
    loader = BetonLoader(our_beton, 2, resolution=SIDE, num_workers=1)
    iterator = iter(loader)
    next(iterator)
    loader.close()
    assert epoch_threads() == []


def test_an_exception_in_the_thread_reaches_the_consumer(our_beton: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stock ffcv waits forever."""
    loader = BetonLoader(our_beton, 5, resolution=SIDE, num_workers=1)
    decode = loader._engine.decode
    calls = iter(range(100))

    def fail(*arguments: Any) -> torch.Tensor:
        if next(calls) == 3:
            raise ZeroDivisionError("in the thread")
        return decode(*arguments)

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
    from dailymae_hf.data import epoch as epoch_module

    monkeypatch.setattr(epoch_module, "_produce", lambda *arguments: None)
    started = time.monotonic()
    with pytest.raises(DailyMAEError, match="died"):
        next(iter(BetonLoader(our_beton, 5, resolution=SIDE, num_workers=1)))
    assert time.monotonic() - started < 5


def test_two_loaders_at_once(our_beton: Path, stock_beton: Path) -> None:
    """A training loader prefetches while an evaluation loader runs: same batches as one after the other."""
    options = {"resolution": 96, "num_workers": 2}
    train, test = BetonLoader(our_beton, 4, **options), BetonLoader(stock_beton, 2, center_crop=1.0, **options)
    expected = list(train), list(test)
    for _ in range(3):
        both = [[], []]
        for batch in train:
            both[0].append(batch)
            if len(both[0]) == 2:
                both[1] = list(test)
        assert_equal(both[0], expected[0])
        assert_equal(both[1], expected[1])


def test_nothing_is_drawn_from_the_global_random_state(our_beton: Path) -> None:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002  the global state is what must not change
    before = torch.get_rng_state(), np.random.get_state()[1].tobytes()  # noqa: NPY002
    epoch(our_beton)
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
        epoch(damaged_beton, 2, shuffle=False)
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
    for ours, whole in zip(batches, epoch(our_beton), strict=True):
        assert torch.equal(ours["index"], whole["index"])
        for image, right, index in zip(
            ours["pixel_values"], whole["pixel_values"], ours["index"].tolist(), strict=True
        ):
            assert torch.equal(image, torch.zeros_like(right) if index in (7, 31) else right)


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


# ---- storage modes and devices


def test_packed_files_give_the_same_images(our_beton: Path, tmp_path: Path) -> None:
    """The coefficients are the same; crops, order and labels are too."""
    convert_beton(our_beton, tmp_path / "x.beton", "dct", workers=1, progress=False)
    for packed, jpeg in zip(epoch(tmp_path / "x.beton", resolution=96), epoch(our_beton, resolution=96), strict=True):
        assert torch.equal(packed["index"], jpeg["index"])
        assert torch.equal(packed["labels"], jpeg["labels"])
        assert (packed["pixel_values"].float() - jpeg["pixel_values"].float()).abs().mean() < 0.1


@pytest.mark.gpu
def test_batches_arrive_whole_on_the_gpu(our_beton: Path) -> None:
    """Bit for bit those of the CPU, with work on the device between batches and batches kept."""
    options = {"resolution": 224, "num_workers": 2, "return_index": True}
    loader = BetonLoader(our_beton, 5, device="cuda", **options)
    for number in range(3):
        loader.set_epoch(number)
        moved, work = [], torch.randn(2000, 2000, device="cuda")
        for batch in loader:
            assert all(value.is_cuda for value in batch.values())
            moved.append(batch)
            work = work @ work / 50
        right = BetonLoader(our_beton, 5, **options)
        right.set_epoch(number)
        assert_equal([{name: value.cpu() for name, value in batch.items()} for batch in moved], list(right))
    assert len(loader._engine.buffers.slots) <= 6
