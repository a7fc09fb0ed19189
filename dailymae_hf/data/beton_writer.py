"""Writes the .beton container sample by sample: the counterpart of `beton.py`.

Samples are laid down in the order in which they come, none across a page border, so that stock ffcv's page cache can
read the file as well as its memory map. The same samples give the same bytes, whatever prepared them.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from dailymae_hf.data.beton import (
    ALLOCATION_DTYPE,
    FACTS_DTYPE,
    FIELD_DTYPE,
    FORMAT_VERSION,
    HEADER_DTYPE,
    IMAGE_DTYPE,
    PACKED_FIELD_MAGIC,
    TYPE_CUSTOM,
    TYPE_IMAGE,
    TYPE_INT,
    facts_pointer,
    metadata_dtype,
)
from dailymae_hf.errors import BetonError

_FIRST_PAGE_SIZE = 8 << 20  # stock ffcv's own choice
_MAX_PAGE_SIZE = 1 << 31  # the header keeps it in 32 bits


class BetonOutput:
    """A .beton file in the making; use it as a context manager.

    It grows under a temporary name beside `path`. `commit` writes the tables and renames it; leaving the block without
    having committed removes it, so that `path` never holds half a file.

    Args:
        path: the file to make; an existing one is replaced at `commit`.
        capacity: the most samples that will be appended (room for their metadata is kept at the front).
        packed: whether the image field is a PackedDCTField instead of FFCV's RGBImageField.
        with_labels: whether an integer field "label" follows the image field.
    """

    def __init__(self, path: str | os.PathLike[str], capacity: int, *, packed: bool = False, with_labels: bool) -> None:
        self.path = Path(path)
        self.packed = packed
        columns = [IMAGE_DTYPE, np.dtype("<i8")] if with_labels else [IMAGE_DTYPE]
        self.with_labels = with_labels
        self.metadata = np.zeros(capacity, metadata_dtype(columns))
        self.table = np.zeros(capacity, ALLOCATION_DTYPE)
        self.num_samples = 0
        self.page_size = _FIRST_PAGE_SIZE
        front = HEADER_DTYPE.itemsize + len(columns) * FIELD_DTYPE.itemsize + self.metadata.nbytes
        self.end = -(-front // self.page_size) * self.page_size
        require_place(self.path)
        self.temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}.partial")
        self.stream = self.temporary.open("wb")
        self.stream.seek(self.end)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Closing writes what is still buffered, which a full disk refuses again: it is thrown away in any case.
        with suppress(OSError):
            self.stream.close()
        self.temporary.unlink(missing_ok=True)

    def append(self, mode: int, width: int, height: int, data: bytes, label: int | None = None) -> None:
        """Lay down one sample. Raises BetonError when it is larger than any page can be, or the disk is full."""
        size = len(data)
        while size > self.page_size:
            # Nothing written so far crosses a border of the small pages, so it crosses none of the larger ones.
            if self.page_size >= _MAX_PAGE_SIZE:
                raise BetonError(f"{self.path}: sample {self.num_samples} takes {size} bytes, more than a page holds")
            self.page_size *= 2
        room = -self.end % self.page_size
        with self._named():
            if size > room:
                self.end += room
                self.stream.seek(self.end)
            self.stream.write(data)
        self.metadata["f0"][self.num_samples] = (mode, width, height, self.end)
        if self.with_labels:
            self.metadata["f1"][self.num_samples] = label
        self.table[self.num_samples] = (self.num_samples, self.end, size)
        self.end += size
        self.num_samples += 1

    def commit(self, facts: dict[str, Any]) -> None:
        """Write facts, tables and header, and give the file its name. Raises BetonError when nothing was appended, or
        the disk is full."""
        if self.num_samples == 0:
            raise BetonError(f"{self.path}: not written, there is no sample to write")
        block = json.dumps(facts, ensure_ascii=False).encode()
        facts_place = self.end
        header = np.zeros(1, HEADER_DTYPE)
        header[0] = (
            FORMAT_VERSION,
            1 + self.with_labels,
            self.page_size,
            self.num_samples,
            facts_place + len(block),
        )
        with self._named():
            self.stream.write(block)
            self.stream.write(self.table[: self.num_samples].tobytes())
            self.stream.seek(0)
            self.stream.write(header.tobytes())
            self.stream.write(self._fields(facts_pointer(facts_place, block)))
            self.stream.write(self.metadata[: self.num_samples].tobytes())
            self.stream.flush()
            os.fsync(self.stream.fileno())
            os.replace(self.temporary, self.path)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """The system's errors about a stream name no file: say which one could not be written."""
        try:
            yield
        except OSError as error:
            raise BetonError(f"{self.path}: cannot be written: {error.strerror or error}") from error

    def _fields(self, facts_place: bytes) -> bytes:
        fields = np.zeros(1 + self.with_labels, FIELD_DTYPE)
        image = fields[0]
        image["type_id"] = TYPE_CUSTOM if self.packed else TYPE_IMAGE
        own = FIELD_DTYPE["arguments"].itemsize - FACTS_DTYPE.itemsize
        arguments = (PACKED_FIELD_MAGIC if self.packed else b"").ljust(own, b"\0") + facts_place
        image["arguments"] = np.frombuffer(arguments, np.uint8)
        image["name"][:5] = np.frombuffer(b"image", np.uint8)
        if self.with_labels:
            fields[1]["type_id"] = TYPE_INT
            fields[1]["name"][:5] = np.frombuffer(b"label", np.uint8)
        return fields.tobytes()


def require_place(path: Path) -> None:
    """Raises BetonError where no .beton can be made: in a folder that does not exist, or in place of a folder."""
    if not path.parent.is_dir():
        raise BetonError(f"{path}: the folder to write to does not exist")
    if path.is_dir():
        raise BetonError(f"{path}: a folder; name the .beton to write, in it or elsewhere")
