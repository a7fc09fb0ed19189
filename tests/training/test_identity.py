"""Digests of data and settings: equal for a copy, different for every kind of other content, named by rank."""

import shutil
from dataclasses import replace

import pytest

from dailymae_hf.data import write_beton
from dailymae_hf.data.beton import open_beton
from dailymae_hf.data.shards import open_betons
from dailymae_hf.training.identity import FileDigest, Identity, difference, digest_data, plain


@pytest.fixture(scope="module")
def beton(tmp_path_factory, photograph_folder):
    path = tmp_path_factory.mktemp("identity") / "train.beton"
    write_beton(photograph_folder, path, workers=1, progress=False)
    return path


def test_a_copy_under_another_name_is_the_same_data(beton, tmp_path):
    shutil.copy(beton, tmp_path / "other.beton")
    assert digest_data(open_beton(beton)) == digest_data(open_beton(tmp_path / "other.beton"))
    assert digest_data(open_beton(beton))[0].samples == 50


def test_a_changed_label_is_other_data(beton, tmp_path):
    opened = open_beton(beton)
    content = bytearray(beton.read_bytes())
    place = content.find(opened.metadata[7:8].tobytes())
    changed = opened.metadata[7:8].copy()
    changed[opened.label_field.column] += 1
    content[place : place + changed.nbytes] = changed.tobytes()
    (tmp_path / "labels.beton").write_bytes(content)
    old, new = (digest_data(open_beton(path))[0] for path in (beton, tmp_path / "labels.beton"))
    assert (old.samples, old.bytes) == (new.samples, new.bytes)
    assert old.tables != new.tables


def test_other_pixels_of_the_same_lengths_are_other_data(beton, tmp_path):
    opened = open_beton(beton)
    content = bytearray(beton.read_bytes())
    for start, size in zip(opened.images["data_ptr"].astype(int), opened.sizes.astype(int), strict=True):
        content[start + size // 2 : start + size] = bytes(size - size // 2)
    (tmp_path / "pixels.beton").write_bytes(content)
    old, new = (digest_data(open_beton(path))[0] for path in (beton, tmp_path / "pixels.beton"))
    assert old.tables == new.tables
    assert old.sampled != new.sampled


def test_several_files_have_one_digest_each_in_their_order(beton, tmp_path, photograph_folder):
    other = tmp_path / "other.beton"
    for photograph in photograph_folder.glob("*/[01].jpg"):
        (tmp_path / "some" / photograph.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(photograph, tmp_path / "some" / photograph.parent.name)
    write_beton(tmp_path / "some", other, workers=1, progress=False)
    both = digest_data(open_betons([beton, other]))
    assert both == digest_data(open_beton(beton)) + digest_data(open_beton(other))


FILE = FileDigest(50, 1000, "aa", "bb")
FIRST = Identity(0, "a1", {"train_beton": [FILE]}, {"seed": 3, "crop_scale": (0.2, 1.0)}, "c0de", {"torch": "2.13"})


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (
            {"data": {"train_beton": [replace(FILE, samples=49)]}},
            "train_beton, file 0: samples is 49 there and 50 here",
        ),
        ({"data": {"train_beton": [replace(FILE, sampled="cc")]}}, "file 0: sampled is cc"),
        ({"data": {"train_beton": [FILE, FILE]}}, "train_beton: files is 2"),
        ({"settings": {"seed": 4, "crop_scale": (0.2, 1.0)}}, "seed is 4 there and 3 here"),
        ({"settings": {"seed": 3}}, "crop_scale is None there"),
        ({"code": "other"}, "code of dailymae_hf"),
        ({"versions": {"torch": "2.12"}}, "version of torch is 2.12 there and 2.13 here"),
    ],
)
def test_what_differs_is_named_with_rank_and_machine(changed, named):
    ranks = [FIRST, replace(FIRST, rank=1), replace(FIRST, rank=2, host="b7", **changed)]
    said = difference(ranks)
    assert said.startswith("rank 2 on b7 was given something else than rank 0 on a1: ")
    assert named in said


def test_equal_ranks_differ_in_nothing():
    assert difference([FIRST, replace(FIRST, rank=1, host="b7")]) is None


def test_a_stored_value_compares_equal():
    assert plain({"crop_scale": (0.2, 1.0), 3: None}) == {"crop_scale": [0.2, 1.0], "3": None}
