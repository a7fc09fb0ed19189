"""Writes the .beton container sample by sample: the counterpart of `beton.py`.

Samples are laid down in the order in which they come, none across a page border, so that stock ffcv's page cache can
read the file as well as its memory map. The same samples give the same bytes, whatever prepared them.
"""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
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
    TYPE_CUSTOM,
    TYPE_IMAGE,
    TYPE_INT,
    facts_pointer,
    metadata_dtype,
)
from dailymae_hf.data.partial_file import PartialFile
from dailymae_hf.errors import BetonError

_FIRST_PAGE_SIZE = 8 << 20  # stock ffcv's own choice
_MAX_PAGE_SIZE = 1 << 31  # the header keeps it in 32 bits


class BetonOutput:
    """A .beton file in the making; use it as a context manager.

    It grows under a temporary name beside `path`. `commit` writes the tables and renames it; leaving the block without
    having committed removes it, so that `path` never holds half a file. What a writer that was killed has left there is
    removed first.

    Args:
        path: the file to make; an existing one is replaced at `commit`.
        capacity: how many samples are expected: room for their metadata is kept at the front. Where more come, the
            samples behind the front are moved to the end.
        field_magic: of the custom field that holds the images (`StorageMode.field_magic`); None: FFCV's RGBImageField.
        with_labels: whether an integer field "label" follows the image field.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        capacity: int,
        *,
        field_magic: bytes | None = None,
        with_labels: bool,
    ) -> None:
        self.path = Path(path)
        self.field_magic = field_magic
        columns = [IMAGE_DTYPE, np.dtype("<i8")] if with_labels else [IMAGE_DTYPE]
        self.with_labels = with_labels
        self.metadata = np.zeros(capacity, metadata_dtype(columns))
        self.table = np.zeros(capacity, ALLOCATION_DTYPE)
        self.num_samples = 0
        self.page_size = _FIRST_PAGE_SIZE
        self.front = self._front(capacity)
        self.end = self.front
        require_place(self.path)
        self.partial = PartialFile(self.path)
        self.stream = self.partial.stream
        self.stream.seek(self.end)

    def _front(self, capacity: int) -> int:
        """Bytes in front of the first sample's, whole pages."""
        tables = HEADER_DTYPE.itemsize + (1 + self.with_labels) * FIELD_DTYPE.itemsize
        return -(-(tables + capacity * self.metadata.itemsize) // self.page_size) * self.page_size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.partial.discard()

    def append(self, mode: int, width: int, height: int, data: bytes, label: int | None = None) -> None:
        """Lay down one sample. Raises BetonError when it is larger than any page can be, or the disk is full."""
        if self.num_samples == len(self.metadata):
            self._make_room()
        place = self._lay_down(data)
        self.metadata["f0"][self.num_samples] = (mode, width, height, place)
        if self.with_labels:
            self.metadata["f1"][self.num_samples] = label
        self.table[self.num_samples] = (self.num_samples, place, len(data))
        self.num_samples += 1

    def _lay_down(self, data: bytes) -> int:
        """Write a sample's bytes at the end, on one page; returns their place."""
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
        place, self.end = self.end, self.end + size
        return place

    def _make_room(self) -> None:
        """Twice the capacity, at least a page of it: samples where their metadata will lie move to the end."""
        fitting = (self.front - self._front(0)) // self.metadata.itemsize
        capacity = max(2 * len(self.metadata), fitting, _FIRST_PAGE_SIZE // self.metadata.itemsize // 2)
        self.metadata = np.concatenate([self.metadata, np.zeros(capacity - len(self.metadata), self.metadata.dtype)])
        self.table = np.concatenate([self.table, np.zeros(capacity - len(self.table), ALLOCATION_DTYPE)])
        self.front = max(self.front, self._front(capacity))
        with self._named():
            self.stream.flush()
            for number in np.flatnonzero(self.table["ptr"][: self.num_samples] < self.front):
                place, size = int(self.table["ptr"][number]), int(self.table["size"][number])
                self.table["ptr"][number] = self.metadata["f0"]["data_ptr"][number] = self._lay_down(
                    os.pread(self.stream.fileno(), size, place)
                )

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
            self.partial.commit()

    @contextmanager
    def _named(self) -> Iterator[None]:
        """The system's errors about a stream name no file: say which one could not be written."""
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            free = f" ({shutil.disk_usage(self.path.parent).free / 1e6:,.0f} MB are free)" if full else ""
            raise BetonError(f"{self.path}: cannot be written: {error.strerror or error}{free}") from error

    def _fields(self, facts_place: bytes) -> bytes:
        fields = np.zeros(1 + self.with_labels, FIELD_DTYPE)
        image = fields[0]
        image["type_id"] = TYPE_CUSTOM if self.field_magic else TYPE_IMAGE
        own = FIELD_DTYPE["arguments"].itemsize - FACTS_DTYPE.itemsize
        arguments = (self.field_magic or b"").ljust(own, b"\0") + facts_place
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
