"""Several .beton files read as one: the same batches, bit for bit, as from the one file with all samples."""

import json
import os
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from dailymae_hf.data.beton import open_beton
from dailymae_hf.data.shards import find_betons, open_betons
from dailymae_hf.data.write import shard_path, write_beton
from dailymae_hf.errors import BetonError, CorruptSampleError, RecipeError

SHARDS = 3


@pytest.fixture(scope="module")
def shards(photograph_folder, tmp_path_factory) -> list[Path]:
    """The photographs of `our_beton`, written as three machines would."""
    folder = tmp_path_factory.mktemp("shards")
    reports = [
        write_beton(photograph_folder, folder / "part.beton", shard=(i, SHARDS), workers=1, progress=False)
        for i in range(SHARDS)
    ]
    return [report.path for report in reports]


def make_loader(source, batch_size=8, **options):
    pytest.importorskip("ffcv", reason="needs ffcv")
    from dailymae_hf.data import BetonLoader

    options = {"resolution": 32, "num_workers": 2, "seed": 5, "return_index": True} | options
    return BetonLoader(source, batch_size, **options)


def batches(loader, epoch=3, skip=0):
    loader.set_epoch(epoch)
    loader.skip(skip)
    return list(loader)


@pytest.fixture(scope="module")
def joined_loader(shards):
    return make_loader(shards[0].parent / "part-*.beton")


def assert_equal(left, right):
    assert len(left) == len(right) > 0
    for ours, theirs in zip(left, right, strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours:
            assert torch.equal(ours[name], theirs[name]), name


# ---- writing


def test_shards_hold_the_one_files_samples_in_its_order(shards, our_beton):
    whole = open_beton(our_beton)
    with our_beton.open("rb") as stream:
        expected = [whole.read(stream, i) for i in range(len(whole))]
    found, labels = [], []
    for path in shards:
        part = open_beton(path)
        with path.open("rb") as stream:
            found += [part.read(stream, i) for i in range(len(part))]
        labels += part.labels.tolist()
        assert part.class_names == whole.class_names  # although no shard has pictures of all classes
    assert found == expected
    assert labels == whole.labels.tolist()


def test_names_tell_the_number(shards):
    assert [path.name for path in shards] == [f"part-0000{i}-of-00003.beton" for i in range(SHARDS)]


@pytest.mark.parametrize(("index", "count"), [(3, 3), (-1, 3), (0, 0)])
def test_a_shard_that_cannot_be(index, count):
    with pytest.raises(RecipeError, match="shard"):
        shard_path("x.beton", index, count)


# ---- reading


def test_epochs_are_bit_for_bit_those_of_the_one_file(joined_loader, our_beton):
    one_file = make_loader(our_beton)
    for epoch in (0, 3):
        assert_equal(batches(joined_loader, epoch), batches(one_file, epoch))


def test_shards_are_put_in_order_however_they_are_named(shards, joined_loader):
    backwards, forwards = open_betons(shards[::-1]), joined_loader.dataset
    assert np.array_equal(backwards.metadata, forwards.metadata)
    assert backwards.offsets == forwards.offsets


def test_resume_in_the_middle_of_an_epoch(joined_loader):
    assert_equal(batches(joined_loader, skip=4), batches(joined_loader)[4:])


def test_ranks_share_the_global_batches(shards, joined_loader):
    parts = [batches(make_loader(shards, batch_size=4, rank=rank, world_size=2)) for rank in range(2)]
    for k, batch in enumerate(batches(joined_loader)):
        joined = torch.cat([part[k]["pixel_values"] for part in parts])
        assert torch.equal(joined, batch["pixel_values"])


def test_every_sample_of_every_file_comes_once(joined_loader):
    seen = torch.cat([batch["index"] for batch in batches(joined_loader)])
    assert len(joined_loader.dataset) - 8 < len(set(seen.tolist())) == len(seen)


def test_files_of_stock_ffcv_are_joined_in_the_order_named(stock_beton, tmp_path):
    copy = shutil.copy(stock_beton, tmp_path / "again.beton")
    count = len(open_beton(stock_beton))
    loader = make_loader([stock_beton, copy], batch_size=count, center_crop=1.0, shuffle=False)
    first, second = batches(loader)
    assert torch.equal(first["pixel_values"], second["pixel_values"])
    assert second["index"].tolist() == list(range(count, 2 * count))


def test_the_mapping_holds_the_files_bytes_and_is_given_back(shards):
    with open("/proc/self/maps") as maps:
        before = maps.read().count("part-0000")
    joined = open_betons(shards)
    memory = joined.map()
    for path, offset in zip(shards, joined.offsets, strict=False):
        content = path.read_bytes()
        assert zlib.crc32(memory[offset : offset + len(content)]) == zlib.crc32(content)
    assert not memory.flags.writeable
    assert Path("/proc/self/maps").read_text().count("part-0000") == before + SHARDS
    del memory
    assert Path("/proc/self/maps").read_text().count("part-0000") == before


def test_a_broken_sample_is_named_by_its_file_and_its_number_there(shards, tmp_path):
    copies = [Path(shutil.copy(path, tmp_path / path.name)) for path in shards]
    part = open_beton(copies[1])
    with copies[1].open("r+b") as stream:
        stream.seek(int(part.images["data_ptr"][4]))
        stream.write(b"\0" * 64)
    with pytest.raises(CorruptSampleError, match=r"part-00001-of-00003\.beton: sample 4 "):
        batches(make_loader(copies, batch_size=1))


# ---- facts


def test_facts_of_the_set(shards, our_beton):
    joined, whole = open_betons(shards), open_beton(our_beton)
    assert joined.class_names == whole.class_names
    assert joined.facts["measured_images"] == whole.facts["measured_images"]
    # the same images are measured, so only the rounding to four places is left
    np.testing.assert_allclose(joined.facts["mean"], whole.facts["mean"], atol=2e-4)
    np.testing.assert_allclose(joined.facts["std"], whole.facts["std"], atol=2e-4)
    assert "shard" not in joined.facts
    json.dumps(joined.facts)


def test_locate(shards):
    joined = open_betons(shards)
    sizes = [len(open_beton(path)) for path in shards]
    assert joined.locate(0) == (shards[0], 0)
    assert joined.locate(sizes[0] - 1) == (shards[0], sizes[0] - 1)
    assert joined.locate(sizes[0]) == (shards[1], 0)
    assert joined.locate(sum(sizes) - 1) == (shards[2], sizes[2] - 1)


def test_one_file_stays_one_file(our_beton):
    assert type(open_betons([our_beton])) is type(open_beton(our_beton))


# ---- what does not fit


def test_a_missing_shard_is_named(shards):
    with pytest.raises(BetonError, match=r"3 shards \(0 to 2\) these are missing: 1"):
        open_betons([shards[0], shards[2]])


def test_a_shard_of_another_set_is_named(shards, photograph_folder, tmp_path):
    other = write_beton(photograph_folder, tmp_path / "other.beton", shard=(1, 2), workers=1, progress=False)
    with pytest.raises(BetonError, match="not one of the 3 shards"):
        open_betons([*shards, other.path])


def test_a_file_named_twice(our_beton):
    with pytest.raises(BetonError, match="named twice"):
        find_betons([our_beton, our_beton.parent / "." / our_beton.name])


def test_a_pattern_that_nothing_matches(tmp_path):
    with pytest.raises(BetonError, match="no file matches"):
        find_betons(str(tmp_path / "*.beton"))


def test_no_file_at_all():
    with pytest.raises(BetonError, match=r"no \.beton file"):
        find_betons([])


def test_a_name_that_looks_like_a_pattern_is_a_file(our_beton, tmp_path):
    odd = tmp_path / "set[1].beton"
    os.link(our_beton, odd)
    assert find_betons(odd) == [odd]


def test_other_fields_do_not_fit(our_beton, stock_beton):
    with pytest.raises(BetonError, match="fields"):
        open_betons([our_beton, stock_beton])


def test_other_classes_do_not_fit(our_beton, photograph_folder, tmp_path):
    folder = tmp_path / "renamed"
    shutil.copytree(photograph_folder, folder)
    first = sorted(path for path in folder.rglob("*") if path.is_dir() and any(path.glob("*.jpg")))[0]
    first.rename(first.with_name("another"))
    other = write_beton(folder, tmp_path / "other.beton", workers=1, progress=False)
    with pytest.raises(BetonError, match="classes"):
        open_betons([our_beton, other.path])


@pytest.mark.parametrize("several", [False, True], ids=["one file", "several files"])
@pytest.mark.parametrize("change", ["replaced", "rewritten"])
def test_a_file_that_is_another_one_by_now_is_refused(shards, tmp_path, several, change):
    """Tables of the first, images of the second: the run trained, and was scored, on the wrong images with no word."""
    paths = [Path(shutil.copy(path, tmp_path)) for path in shards]
    opened = open_betons(paths) if several else open_beton(paths[0])
    content = paths[0].read_bytes()
    if change == "replaced":
        (tmp_path / "other").write_bytes(content)
        (tmp_path / "other").rename(paths[0])
    else:
        with paths[0].open("r+b") as file:
            file.seek(-40, os.SEEK_END)
            file.write(bytes(8))
        os.utime(paths[0], ns=(0, 0))
    with pytest.raises(BetonError, match=f"{paths[0].name}: is another file than the one opened before"):
        opened.map()
