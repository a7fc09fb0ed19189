"""What every source of images is: rows in a fixed order, each an image as it is stored, a label and a name."""

import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from dailymae_hf.errors import RecipeError


class FileSlice(NamedTuple):
    """An image inside another file, a tar or a zip: where its bytes lie there, and whether they are deflated."""

    path: str
    offset: int
    size: int
    deflated: bool = False


StoredImage = bytes | str | FileSlice | None
"""An encoded image: its bytes, its file's path, its place in an archive; None in a row without one."""


class Row(NamedTuple):
    """One image of a source. `label` is None where there is none, `name` where the source has no name for it."""

    image: StoredImage
    label: int | None
    name: str | None


@dataclass(frozen=True)
class SourceOptions:
    """Which part of a source to read, and what its labels are; `write_beton` explains each."""

    split: str | None = None
    image_column: str | None = None
    label_column: str | None = "auto"
    labels_from: str = "auto"
    stream: bool = False

    def require_no_columns(self, source: str) -> None:
        """Raises RecipeError where a column is named: images in folders have none."""
        for name, value in (("image_column", self.image_column), ("label_column", self.label_column)):
            if value not in ("auto", None):
                raise RecipeError(f"{name}: {source} holds images in folders, which have no column {value!r}")

    def require_no_folders(self, source: str) -> None:
        """Raises RecipeError where labels are to come from folders: images in columns have none."""
        if self.labels_from != "auto":
            raise RecipeError(f"labels_from: {source} holds labels in a column, none in folders")


class ImageSource(Protocol):
    """Images in a fixed order. `count` is None for a stream, whose end shows only when it is reached."""

    class_names: list[str] | None
    other_files: list[str]  # what lies beside the images and is none

    @property
    def count(self) -> int | None: ...

    @property
    def has_labels(self) -> bool: ...

    def rows(self, start: int, stop: int | None) -> Iterator[Row]:
        """Rows `start` (inclusive) to `stop` (exclusive; None: all)."""


@dataclass
class ListedImages:
    """Images whose places are all known at once; an `ImageSource`."""

    images: Sequence[str | FileSlice]
    names: Sequence[str]
    labels: Sequence[int | None] | None
    class_names: list[str] | None = None
    other_files: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.images)

    @property
    def has_labels(self) -> bool:
        return self.labels is not None

    def rows(self, start: int, stop: int | None) -> Iterator[Row]:
        for index in range(start, self.count if stop is None else stop):
            yield Row(self.images[index], None if self.labels is None else self.labels[index], self.names[index])


def read_image(image: bytes | str | FileSlice) -> bytes:
    """The encoded bytes of a stored image. Raises OSError where its file cannot be read, zlib.error where it is
    damaged."""
    if isinstance(image, bytes):
        return image
    if isinstance(image, str):
        with open(image, "rb") as stream:
            return stream.read()
    with open(image.path, "rb") as stream:
        data = os.pread(stream.fileno(), image.size, image.offset)
    return zlib.decompress(data, -zlib.MAX_WBITS) if image.deflated else data


def printable(name: str) -> str:
    """A file's name as text that can be printed and stored: bytes that are not UTF-8 become U+FFFD."""
    return os.fsencode(name).decode("utf-8", "replace")
