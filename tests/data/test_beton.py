"""The container's reader: agrees with stock ffcv's on good files, names what is wrong with damaged ones."""

import os
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dailymae_hf.data import inspect_beton
from dailymae_hf.data.beton import MODE_JPG, MODE_RAW, open_beton
from dailymae_hf.data.beton_writer import BetonOutput
from dailymae_hf.errors import BetonError

ffcv_types = pytest.importorskip("ffcv.types", reason="needs ffcv")


@pytest.mark.parametrize("name", ["our_beton", "stock_beton"])
def test_tables_are_those_that_stock_ffcv_reads(name: str, request: pytest.FixtureRequest) -> None:
    from ffcv.reader import Reader

    path = request.getfixturevalue(name)
    ours, stock = open_beton(path), Reader(str(path))
    assert len(ours) == stock.num_samples
    assert [f.name for f in ours.fields] == stock.field_names
    for column in ("mode", "width", "height", "data_ptr"):
        np.testing.assert_array_equal(ours.images[column], stock.metadata["f0"][column])
    np.testing.assert_array_equal(ours.labels, stock.metadata["f1"])
    table = np.sort(stock.alloc_table, order="ptr")
    np.testing.assert_array_equal(ours.table_ptrs, table["ptr"])
    np.testing.assert_array_equal(ours.table_sizes, table["size"])


def test_inspect_reports_what_was_written(our_beton: Path) -> None:
    info = inspect_beton(our_beton)
    assert info["num_samples"] == 50
    assert info["num_classes"] == len(info["facts"]["class_names"]) == 10
    assert sum(info["modes"].values()) == 50
    assert info["width"]["max"] <= 400
    assert info["file_bytes"] == our_beton.stat().st_size
    assert all(0 < value < 1 for value in info["facts"]["mean"] + info["facts"]["std"])


def test_stock_file_has_no_facts(stock_beton: Path) -> None:
    info = inspect_beton(stock_beton)
    assert info["facts"] == {}
    assert set(info["modes"]) == {"jpg", "raw"}


# ---- damaged files

SAMPLES = 3
HEADER, FIELD, TABLE = ffcv_types.HeaderType, ffcv_types.FieldDescType, ffcv_types.ALLOC_TABLE_TYPE
METADATA_START = HEADER.itemsize + 2 * FIELD.itemsize


@pytest.fixture
def small_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.beton"
    with BetonOutput(path, SAMPLES, with_labels=True) as output:
        output.append(MODE_JPG, 8, 8, b"j" * 100, 0)
        output.append(MODE_RAW, 5, 4, b"r" * 60, 1)
        output.append(MODE_JPG, 8, 8, b"k" * 50, 2)
        output.commit({"class_names": ["a", "b", "c"]})
    return path


class Surgeon:
    """Changes one number of a file, found through stock ffcv's own record types."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = bytearray(path.read_bytes())

    def record(self, dtype: np.dtype, offset: int) -> np.ndarray:
        return np.frombuffer(self.data, dtype, count=1, offset=offset)

    @property
    def header(self) -> np.ndarray:
        return self.record(HEADER, 0)

    @property
    def image(self) -> np.ndarray:
        """The image record of sample 1."""
        from ffcv.fields import IntField, RGBImageField

        dtype = ffcv_types.get_metadata_type([RGBImageField(), IntField()])
        return self.record(dtype, METADATA_START + dtype.itemsize)["f0"]

    @property
    def row(self) -> np.ndarray:
        """The allocation of sample 1."""
        return self.record(TABLE, int(self.header["alloc_table_ptr"][0]) + TABLE.itemsize)

    def field(self, number: int) -> np.ndarray:
        return self.record(FIELD, HEADER.itemsize + number * FIELD.itemsize)

    def set(self, record: np.ndarray, name: str, value: object) -> None:
        record[name][0] = value


DAMAGE: dict[str, tuple[Callable[[Surgeon], object], str]] = {
    "version": (lambda s: s.set(s.header, "version", 3), "version 3"),
    "page size": (lambda s: s.set(s.header, "page_size", 1000), "page size 1000"),
    "unfinished": (lambda s: s.set(s.header, "alloc_table_ptr", 0), "not finished"),
    "no samples": (lambda s: s.set(s.header, "num_samples", 0), "no samples"),
    "too many samples": (lambda s: s.set(s.header, "num_samples", 2**62), "metadata of"),
    "too many fields": (lambda s: s.set(s.header, "num_fields", 65535), "table of 65535 fields"),
    "no fields": (lambda s: s.set(s.header, "num_fields", 0), "no image field"),
    "table before the data": (lambda s: s.set(s.header, "alloc_table_ptr", 5), "allocation table at byte 5"),
    "table past the end": (
        lambda s: s.set(s.header, "alloc_table_ptr", 2**63),
        "it is cut off or damaged: copy or write",
    ),
    "a photograph": (
        lambda s: s.set(s.header, "version", 0xD8FF),
        "not a .beton file .*; `dailymae write` makes one of",
    ),
    "table off by one": (lambda s: s.set(s.header, "alloc_table_ptr", s.header["alloc_table_ptr"][0] + 1), "truncated"),
    "unknown field": (lambda s: s.set(s.field(0), "type_id", 77), "type 77"),
    "foreign custom field": (lambda s: s.set(s.field(0), "type_id", 255), "type 255"),
    "no image field": (lambda s: s.set(s.field(0), "type_id", 1), "no image field"),
    "mode": (lambda s: s.set(s.image, "mode", 9), "sample 1: unknown storage mode 9"),
    "no width": (lambda s: s.set(s.image, "width", 0), "sample 1: an image of 0x4"),
    "raw size": (lambda s: s.set(s.image, "height", 5), "takes 75 bytes, the table has 60"),
    "pointer to another sample": (lambda s: s.set(s.image, "data_ptr", s.row["ptr"][0] - 100), "sample 1: its image"),
    "pointer past the end": (lambda s: s.set(s.image, "data_ptr", 2**64 - 1), "sample 1: its image"),
    "table pointer past the end": (lambda s: s.set(s.row, "ptr", 2**64 - 8), "outside the file's data"),
    "table pointer into the header": (lambda s: s.set(s.row, "ptr", 10), "outside the file's data"),
    "size past the end": (lambda s: s.set(s.row, "size", 2**64 - 1), "outside the file's data"),
    "overlap": (lambda s: s.set(s.row, "size", 61), "overlapping data: sample 1"),
    "no data": (lambda s: s.set(s.row, "size", 0), "sample 1: its image"),
    "table of more samples": (lambda s: s.set(s.row, "sample_id", 3), "to sample 3"),
    "facts outside": (lambda s: s.set(s.field(0), "arguments", b_at(s, 1024 - 24, 2**40)), "facts block"),
    "facts damaged": (lambda s: s.data.__setitem__(s.data.index(b"class_names"), 0), "checksum"),
    "facts forged": (lambda s: forge_facts(s, b"{'a': 1}"), "not JSON"),
    "facts of another kind": (lambda s: forge_facts(s, b"[1, 2]"), "not a JSON object"),
}


def forge_facts(surgeon: Surgeon, block: bytes) -> None:
    """Put `block` where the facts are, with a size and a checksum that fit it."""
    arguments = surgeon.field(0)["arguments"][0]
    ptr = int.from_bytes(arguments[1024 - 24 : 1024 - 16].tobytes(), "little")
    surgeon.data[ptr : ptr + len(block)] = block
    numbers = len(block).to_bytes(8, "little") + zlib.crc32(block).to_bytes(4, "little")
    arguments[1024 - 16 : 1024 - 4] = np.frombuffer(numbers, np.uint8)


def b_at(surgeon: Surgeon, offset: int, value: int) -> np.ndarray:
    arguments = surgeon.field(0)["arguments"][0].copy()
    arguments[offset : offset + 8] = np.frombuffer(value.to_bytes(8, "little"), np.uint8)
    return arguments


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_named_at_opening(kind: str, small_file: Path) -> None:
    damage, expected = DAMAGE[kind]
    open_beton(small_file)  # it was whole
    surgeon = Surgeon(small_file)
    damage(surgeon)
    small_file.write_bytes(surgeon.data)
    with pytest.raises(BetonError, match=expected) as caught:
        open_beton(small_file)
    assert str(small_file) in str(caught.value)


def test_every_truncation_is_an_error(small_file: Path) -> None:
    """Lengths around every border of the file, and some in between."""
    data = small_file.read_bytes()
    table = int(np.frombuffer(data, HEADER, 1)["alloc_table_ptr"][0])
    borders = {0, HEADER.itemsize, HEADER.itemsize + FIELD.itemsize, METADATA_START, table, len(data)}
    lengths = {border + step for border in borders for step in (-1, 0, 1)} | set(range(0, len(data), 999_983))
    for length in sorted(n for n in lengths if 0 <= n < len(data)):
        small_file.write_bytes(data[:length])
        with pytest.raises(BetonError):
            open_beton(small_file)


def test_flipped_bits_never_raise_anything_else(small_file: Path) -> None:
    """Random bits of the tables: the file opens or BetonError says why; no other exception, no crash."""
    rng = np.random.default_rng(0)
    whole = small_file.read_bytes()
    table = int(np.frombuffer(whole, HEADER, 1)["alloc_table_ptr"][0])
    places = np.r_[0 : METADATA_START + SAMPLES * 24, table - 40 : len(whole)]
    sparse = small_file.with_name("sparse.beton")
    with sparse.open("wb") as stream:  # the same file; rewriting only what changes keeps the test fast
        stream.write(whole)
    refused = 0
    with sparse.open("r+b", buffering=0) as stream:
        for place in rng.choice(places, 1500):
            os.pwrite(stream.fileno(), bytes([whole[place] ^ (1 << rng.integers(8))]), place)
            try:
                open_beton(sparse)
            except BetonError:
                refused += 1
            os.pwrite(stream.fileno(), whole[place : place + 1], place)
    assert refused > 50


def test_zero_samples_are_not_written(tmp_path: Path) -> None:
    with (
        pytest.raises(BetonError, match="no sample"),
        BetonOutput(tmp_path / "x.beton", 4, with_labels=False) as output,
    ):
        output.commit({})
    assert list(tmp_path.iterdir()) == []


def test_large_samples_enlarge_the_pages(tmp_path: Path) -> None:
    """No sample may cross a page border: stock ffcv's page cache reads within one page."""
    path = tmp_path / "large.beton"
    sizes = [1000, (8 << 20) + 1, 5, 20 << 20, 12 << 20]
    with BetonOutput(path, len(sizes), with_labels=False) as output:
        for number, size in enumerate(sizes):
            output.append(MODE_JPG, 8, 8, bytes([number]) * size)
        output.commit({})
    beton = open_beton(path)
    first_page, last_page = (
        beton.table_ptrs // beton.page_size,
        (beton.table_ptrs + beton.table_sizes - 1) // beton.page_size,
    )
    np.testing.assert_array_equal(first_page, last_page)
    with path.open("rb") as stream:
        for number, size in enumerate(sizes):
            assert beton.read(stream, number) == bytes([number]) * size


def test_opening_a_million_samples_calls_nothing_for_each(tmp_path: Path) -> None:
    path, count = tmp_path / "million.beton", 1_300_000
    with BetonOutput(path, count, with_labels=True) as output:
        places = output.end + np.arange(count, dtype=np.uint64)
        output.metadata["f0"]["width"] = output.metadata["f0"]["height"] = 1
        output.metadata["f0"]["data_ptr"] = output.table["ptr"] = places
        output.table["sample_id"], output.table["size"] = np.arange(count), 1
        output.num_samples, output.end = count, int(places[-1]) + 1
        output.stream.seek(output.end)
        output.commit({})
    calls = 0

    def count_call(*_: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count_call)
    try:
        opened = open_beton(path)
    finally:
        sys.setprofile(None)
    assert len(opened) == count
    assert calls < 10_000
