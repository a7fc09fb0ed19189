"""BetonLoader's promises with both engines: right images, pure order, ranks, resume, resolution, memory."""

import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dailymae_hf.data import BetonLoader, convert_beton, write_beton
from dailymae_hf.data.beton import open_beton

pytestmark = pytest.mark.usefixtures("each_engine")

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


@pytest.mark.parametrize("num_workers", [1, 2])
@pytest.mark.parametrize("writer", ["ours", "stock"])
def test_one_sample_is_enough(
    writer: str, num_workers: int, photographs: list[tuple[str, Image.Image]], tmp_path: Path, stock_write: Any
) -> None:
    """A table with one row: a view of it counts as contiguous, and numba takes no read-only view."""
    photographs[0][1].save(tmp_path / "photograph.png")
    if writer == "ours":
        write_beton(tmp_path, tmp_path / "x.beton", mode="raw", max_resolution=None, workers=1, progress=False)
    else:
        stock_write(tmp_path / "x.beton", [photographs[0][1]], mode="raw")
    (batch,) = epoch(
        tmp_path / "x.beton", 1, num_workers=num_workers, shuffle=False, center_crop=1.0, resolution=SIDE, hflip=False
    )
    short = min(photographs[0][1].size)
    left, top = ((side - short) // 2 for side in photographs[0][1].size)
    square = photographs[0][1].crop((left, top, left + short, top + short))
    expected = np.asarray(square.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float64).transpose(2, 0, 1)
    assert np.abs(batch["pixel_values"][0].numpy() - expected).mean() < 2


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
            left, top = (resized.width - 224) // 2, (resized.height - 224) // 2
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


@pytest.mark.parametrize(("batch_size", "world_size"), [(7, 3), (50, 4)])
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
    # two waiting, two being filled, one on its way, the loop's, and the one that the loop is about to let go of
    assert len(loader._engine.buffers.slots) <= 7


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
