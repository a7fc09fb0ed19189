"""The .beton container, read and checked with numpy alone: neither ffcv nor numba is imported here.

Layout (FFCV 1.0.x, format version 2, everything little-endian):

    header (24 bytes) | field descriptors (1041 bytes each) | one metadata record per sample
    | pages of sample data, each page a power of two and aligned to it | our facts block | allocation table to the end

A metadata record of an image field holds storage mode, width, height and the data's place in the file; the allocation
table says for every place how many bytes belong to it. Stock ffcv believes all of it; `open_beton` checks it first,
so that a damaged table is an error that names the place instead of a read outside the file.

The facts block is JSON (class names, quality, counts, ...) that stock ffcv never looks at. The last 32 of the 1024
argument bytes in the image field's descriptor say where it lies (`FACTS_DTYPE`); RGBImageField ignores its arguments.
"""

import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dailymae_hf.data.facts import parse_facts
from dailymae_hf.data.modes import MODES, MODES_BY_NUMBER
from dailymae_hf.errors import BetonError

FORMAT_VERSION = 2
_LAST_VERSION = 99  # beyond it, the number is no version but another kind of file's first bytes
_CUT_OFF = "it is cut off or damaged: copy or write it again"
HEADER_DTYPE = np.dtype(
    [("version", "<u2"), ("num_fields", "<u2"), ("page_size", "<u4"), ("num_samples", "<u8"), ("table_ptr", "<u8")]
)
FIELD_DTYPE = np.dtype([("type_id", "<u1"), ("name", "<u1", 16), ("arguments", "<u1", 1024)])
ALLOCATION_DTYPE = np.dtype([("sample_id", "<u8"), ("ptr", "<u8"), ("size", "<u8")])
IMAGE_DTYPE = np.dtype([("mode", "<u1"), ("width", "<u2"), ("height", "<u2"), ("data_ptr", "<u8")])
FACTS_DTYPE = np.dtype([("magic", "S8"), ("ptr", "<u8"), ("size", "<u8"), ("crc32", "<u4"), ("version", "<u4")])
FACTS_MAGIC = b"DMAEFACT"

TYPE_INT, TYPE_IMAGE, TYPE_CUSTOM = 1, 2, 255
# Metadata of FFCV's own fields by type number: float, int, image, bytes, array, JSON, tensor.
_METADATA_DTYPES = {
    0: np.dtype("<f8"),
    TYPE_INT: np.dtype("<i8"),
    TYPE_IMAGE: IMAGE_DTYPE,
    3: np.dtype([("ptr", "<u8"), ("size", "<u8")]),
    4: np.dtype("<u8"),
    5: np.dtype([("ptr", "<u8"), ("size", "<u8")]),
    6: np.dtype("<u8"),
}
MODE_JPG, MODE_RAW, MODE_DCT = (MODES[name].number for name in ("jpg", "raw", "dct"))
MODE_NAMES = {number: mode.name for number, mode in MODES_BY_NUMBER.items()}
PACKED_FIELD_MAGIC = MODES["dct"].field_magic or b""


@dataclass(frozen=True)
class BetonField:
    """One field as its descriptor gives it. `column` is its name in the metadata records ("f0", "f1", ...)."""

    name: str
    type_id: int
    column: str
    arguments: bytes = field(repr=False)

    @property
    def is_packed(self) -> bool:
        """Whether this is a custom field of a storage mode (a PackedDCTField: mode `dct`)."""
        return self.field_magic is not None

    @property
    def field_magic(self) -> bytes | None:
        """The storage mode's mark at the front of a custom field's arguments; None in any other field."""
        if self.type_id != TYPE_CUSTOM:
            return None
        known = (mode.field_magic for mode in MODES_BY_NUMBER.values() if mode.field_magic)
        return next((magic for magic in known if self.arguments.startswith(magic)), None)

    @property
    def is_image(self) -> bool:
        return self.type_id == TYPE_IMAGE or self.is_packed


@dataclass(frozen=True)
class Beton:
    """A checked .beton file: its tables in memory, its sample data on disk.

    `metadata` is a structured array (num_samples,) with one column per field; `table_ptrs` and `table_sizes` are the
    allocation table (uint64, sorted by place); `sizes` (uint64, num_samples) are the image bytes per sample.
    """

    path: Path
    page_size: int
    fields: tuple[BetonField, ...]
    metadata: np.ndarray = field(repr=False)
    table_ptrs: np.ndarray = field(repr=False)
    table_sizes: np.ndarray = field(repr=False)
    sizes: np.ndarray = field(repr=False)
    facts: Mapping[str, Any]
    image_field: BetonField
    label_field: BetonField | None
    identity: tuple[int, ...] = field(repr=False, kw_only=True)  # of the file that was opened, see `identity_of`

    def __len__(self) -> int:
        return len(self.metadata)

    @property
    def images(self) -> np.ndarray:
        """Records (num_samples,) of `IMAGE_DTYPE`."""
        return self.metadata[self.image_field.column]

    @property
    def labels(self) -> np.ndarray | None:
        """int64 (num_samples,), or None when the file has no integer field."""
        return None if self.label_field is None else self.metadata[self.label_field.column]

    @property
    def class_names(self) -> list[str] | None:
        return self.facts.get("class_names")

    def locate(self, index: int) -> tuple[Path, int]:
        """The file that holds a sample, and the sample's number there."""
        return self.path, index

    def map(self) -> np.ndarray:
        """The file's bytes, uint8, read-only, read from the disk when they are looked at.

        Raises BetonError when the path names another file by now, or one that was changed.
        """
        with self.path.open("rb") as stream:
            self.require_unchanged(os.fstat(stream.fileno()))
            return np.memmap(stream, np.uint8, mode="r")

    def require_unchanged(self, now: os.stat_result) -> None:
        """Raises BetonError unless `now` is the file whose tables were read: addresses behind its end must not be read,
        and other images under these tables' labels would be trained on with no word."""
        end = int(self.table_ptrs[-1] + self.table_sizes[-1])
        if now.st_size < end:
            raise BetonError(
                f"{self.path}: was cut after it was opened: its data ends at byte {end}, the file at byte {now.st_size}"
            )
        if identity_of(now) != self.identity:
            raise BetonError(f"{self.path}: is another file than the one opened before, or was written to since")

    def read(self, stream: BinaryIO, index: int) -> bytes:
        """The stored bytes of one sample's image, read from `stream` (this file, opened by the caller)."""
        return os.pread(stream.fileno(), int(self.sizes[index]), int(self.images["data_ptr"][index]))


def identity_of(state: os.stat_result) -> tuple[int, ...]:
    """What tells one state of a file from another: device, inode, size, time of the last change of its contents."""
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns


def metadata_dtype(columns: list[np.dtype]) -> np.dtype:
    """The record of one sample: FFCV aligns the fields' records as a C compiler would."""
    return np.dtype([(f"f{i}", column) for i, column in enumerate(columns)], align=True)


def open_beton(path: str | os.PathLike[str]) -> Beton:
    """Read the tables of a .beton file and check that they fit each other and the file.

    Raises BetonError (with the file and the place) on a wrong version, a truncated or contradicting table, pointers
    outside the data or into another sample, impossible image sizes, no samples, or no image field.
    FileNotFoundError when there is no such file.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            return _Parser(path, stream).parse()
    except IsADirectoryError:
        raise BetonError(f"{path}: a folder, not a .beton file: `dailymae write` makes one of it") from None


class _Parser:
    """Walks the file front to back; every count is compared with the file's size before it is trusted."""

    def __init__(self, path: Path, stream: BinaryIO) -> None:
        self.path = path
        self.stream = stream
        self.file_size = os.fstat(stream.fileno()).st_size

    def fail(self, what: str) -> BetonError:
        return BetonError(f"{self.path}: {what}")

    def read(self, dtype: np.dtype, count: int, offset: int, what: str) -> np.ndarray:
        end = offset + count * dtype.itemsize
        if end > self.file_size:
            ends = f"the {what} should end at byte {end}, the file ends at byte {self.file_size}"
            raise self.fail(f"truncated: {ends}; {_CUT_OFF}")
        array = np.fromfile(self.stream, dtype=dtype, count=count, offset=offset - self.stream.tell())
        array.setflags(write=False)
        return array

    def parse(self) -> Beton:
        header = self.read(HEADER_DTYPE, 1, 0, "header")[0]
        version, num_samples = int(header["version"]), int(header["num_samples"])
        page_size, table_ptr = int(header["page_size"]), int(header["table_ptr"])
        if version > _LAST_VERSION:
            raise self.fail("not a .beton file (its first bytes are others); `dailymae write` makes one of images")
        if version != FORMAT_VERSION:
            raise self.fail(f"not a .beton of format {FORMAT_VERSION}: the header says version {version}")
        if page_size == 0 or page_size & (page_size - 1):
            raise self.fail(f"the header's page size {page_size} is not a power of two")
        if table_ptr == 0:
            raise self.fail("the header has no allocation table: writing this file was not finished")
        if num_samples == 0:
            raise self.fail("holds no samples")
        fields = self.read_fields(int(header["num_fields"]))
        image_field = self.choose_image_field(fields)
        dtype = metadata_dtype([IMAGE_DTYPE if f.is_packed else _METADATA_DTYPES[f.type_id] for f in fields])
        start = HEADER_DTYPE.itemsize + len(fields) * FIELD_DTYPE.itemsize
        metadata = self.read(dtype, num_samples, start, f"metadata of {num_samples} samples")
        data_start = start + metadata.nbytes
        self.check_images(metadata[image_field.column], image_field)
        ptrs, table_sizes, owners = self.read_table(table_ptr, data_start, num_samples)
        sizes = self.check_data(metadata[image_field.column], ptrs, table_sizes, owners)
        facts = self.read_facts(image_field, data_start, table_ptr)
        integers = [f for f in fields if f.type_id == TYPE_INT]
        label_field = next((f for f in integers if f.name == "label"), integers[0] if integers else None)
        return Beton(
            self.path,
            page_size,
            fields,
            metadata,
            ptrs,
            table_sizes,
            sizes,
            facts,
            image_field,
            label_field,
            identity=identity_of(os.fstat(self.stream.fileno())),
        )

    def read_fields(self, count: int) -> tuple[BetonField, ...]:
        descriptors = self.read(FIELD_DTYPE, count, HEADER_DTYPE.itemsize, f"table of {count} fields")
        fields = []
        for i, descriptor in enumerate(descriptors):
            raw_name = descriptor["name"].tobytes().split(b"\0")[0]
            if not raw_name.isascii():
                raise self.fail(f"field {i} has a name that is not ASCII: {raw_name!r}")
            type_id, arguments = int(descriptor["type_id"]), descriptor["arguments"].tobytes()
            found = BetonField(raw_name.decode(), type_id, f"f{i}", arguments)
            if not found.is_packed and found.type_id not in _METADATA_DTYPES:
                raise self.fail(f"field {i} ({found.name!r}) is of a kind not known here (type {found.type_id})")
            fields.append(found)
        return tuple(fields)

    def choose_image_field(self, fields: tuple[BetonField, ...]) -> BetonField:
        for candidate in fields:
            if candidate.is_image:
                return candidate
        names = ", ".join(repr(f.name) for f in fields) or "none"
        raise self.fail(f"has no image field (its fields: {names})")

    def check_images(self, images: np.ndarray, image_field: BetonField) -> None:
        holds = (None, image_field.field_magic)
        allowed = [number for number, mode in MODES_BY_NUMBER.items() if mode.field_magic in holds]
        bad = _first(~np.isin(images["mode"], allowed))
        if bad is not None:
            raise self.fail(f"sample {bad}: unknown storage mode {images['mode'][bad]}")
        bad = _first((images["width"] == 0) | (images["height"] == 0))
        if bad is not None:
            raise self.fail(f"sample {bad}: an image of {images['width'][bad]}x{images['height'][bad]} pixels")

    def read_table(
        self, table_ptr: int, data_start: int, num_samples: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if self.file_size < table_ptr:
            ends = f"the allocation table at byte {table_ptr}, and the file ends at byte {self.file_size}"
            raise self.fail(f"the header puts {ends}; {_CUT_OFF}")
        if table_ptr < data_start:
            where = f"before the metadata's end ({data_start})"
            raise self.fail(f"the header puts the allocation table at byte {table_ptr}, which is {where}")
        count, rest = divmod(self.file_size - table_ptr, ALLOCATION_DTYPE.itemsize)
        if rest or count == 0:
            have = f"{self.file_size - table_ptr} bytes, not a multiple of {ALLOCATION_DTYPE.itemsize}"
            raise self.fail(f"truncated: the allocation table at byte {table_ptr} has {have}; {_CUT_OFF}")
        table = self.read(ALLOCATION_DTYPE, count, table_ptr, "allocation table")
        # Real copies, contiguous and writable: numba compiles the reader for these arrays and takes no others.
        ptrs, sizes, owners = (table[name].copy() for name in ("ptr", "size", "sample_id"))
        if np.any(ptrs[1:] < ptrs[:-1]):  # stock files are in the order in which worker processes filled pages
            order = np.argsort(ptrs, kind="stable")
            ptrs, sizes, owners = ptrs[order], sizes[order], owners[order]
        bad = _first(owners >= num_samples)
        if bad is not None:
            raise self.fail(
                f"the allocation table gives byte {ptrs[bad]} to sample {owners[bad]}, "
                f"the file has {num_samples} samples"
            )
        # Written so that no sum can overflow: sizes are compared with the room left behind their pointers.
        bad = _first((ptrs < data_start) | (ptrs > table_ptr) | (sizes > np.uint64(table_ptr) - ptrs))
        if bad is not None:
            raise self.fail(
                f"sample {owners[bad]}: {sizes[bad]} bytes at byte {ptrs[bad]} lie outside the file's data "
                f"(bytes {data_start} to {table_ptr})"
            )
        bad = _first(sizes[:-1] > ptrs[1:] - ptrs[:-1])
        if bad is not None:
            raise self.fail(
                f"overlapping data: sample {owners[bad]} has {sizes[bad]} bytes at byte {ptrs[bad]}, "
                f"sample {owners[bad + 1]} begins at byte {ptrs[bad + 1]}"
            )
        return ptrs, sizes, owners

    def check_data(
        self, images: np.ndarray, ptrs: np.ndarray, table_sizes: np.ndarray, owners: np.ndarray
    ) -> np.ndarray:
        wanted = np.ascontiguousarray(images["data_ptr"])
        place = np.minimum(np.searchsorted(ptrs, wanted), len(ptrs) - 1)
        samples = np.arange(len(images), dtype=np.uint64)
        bad = _first((ptrs[place] != wanted) | (owners[place] != samples))
        if bad is not None:
            raise self.fail(f"sample {bad}: its image should be at byte {wanted[bad]}, where the table has none of it")
        sizes = table_sizes[place]
        bad = _first(sizes == 0)
        if bad is not None:
            raise self.fail(f"sample {bad}: its image at byte {wanted[bad]} is 0 bytes long")
        raw_sizes = images["width"].astype(np.uint64) * images["height"] * 3
        bad = _first((images["mode"] == MODE_RAW) & (sizes != raw_sizes))
        if bad is not None:
            raise self.fail(
                f"sample {bad}: a raw image of {images['width'][bad]}x{images['height'][bad]} pixels "
                f"takes {raw_sizes[bad]} bytes, the table has {sizes[bad]}"
            )
        return sizes

    def read_facts(self, image_field: BetonField, data_start: int, table_ptr: int) -> dict[str, Any]:
        pointer = np.frombuffer(image_field.arguments[-FACTS_DTYPE.itemsize :], dtype=FACTS_DTYPE)[0]
        if pointer["magic"] != FACTS_MAGIC:
            return {}  # written by stock ffcv
        ptr, size = int(pointer["ptr"]), int(pointer["size"])
        if not data_start <= ptr <= ptr + size <= table_ptr:
            raise self.fail(f"the facts block ({size} bytes at byte {ptr}) lies outside the file's data")
        block = os.pread(self.stream.fileno(), size, ptr)
        if zlib.crc32(block) != pointer["crc32"]:
            raise self.fail(f"the facts block at byte {ptr} is damaged (checksum)")
        try:
            return parse_facts(block)
        except ValueError as error:
            raise self.fail(f"the facts block at byte {ptr}: {error}") from None


def facts_pointer(ptr: int, block: bytes) -> bytes:
    """The 32 bytes that say where the facts block lies; they end the image field's arguments."""
    record = np.zeros(1, FACTS_DTYPE)
    record[0] = (FACTS_MAGIC, ptr, len(block), zlib.crc32(block), 1)
    return record.tobytes()


def _first(bad: np.ndarray) -> int | None:
    """Index of the first True, None without one."""
    place = int(bad.argmax()) if bad.size else 0
    return place if bad.size and bad[place] else None
