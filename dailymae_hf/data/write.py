"""Images of any source -> .beton."""

import hashlib
import os
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from dailymae_hf.data.beton_writer import require_place
from dailymae_hf.data.encode import Broken, EncodeOptions, encode_chunk
from dailymae_hf.data.sources.image_source import Row, SourceOptions
from dailymae_hf.data.sources.open_source import open_images
from dailymae_hf.data.workers import available_cores, ordered_map
from dailymae_hf.data.written_file import WriteReport, WrittenFile, fault
from dailymae_hf.errors import BetonError, CorruptSampleError, RecipeError

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

_CHUNK = 16  # images per task: a few megabytes a message, tens of milliseconds of work


def write_beton(
    source: "Dataset | IterableDataset | str | os.PathLike[str]",
    path: str | os.PathLike[str],
    *,
    split: str | None = None,
    image_column: str | None = None,
    label_column: str | None = "auto",
    labels_from: str = "auto",
    stream: bool = False,
    max_resolution: int | None = 500,
    quality: int = 95,
    mode: str = "jpg",
    smart_threshold: int | None = None,
    compress_probability: float = 0.5,
    transcode: str = "auto",
    shard: tuple[int, int] | None = None,
    split_off: float | None = None,
    workers: int | None = None,
    on_error: str = "stop",
    progress: bool = True,
) -> WriteReport:
    """Write a dataset of images as a .beton that `BetonLoader` and stock ffcv read.

    The defaults for size and quality are the paper's. `dailymae_hf.data.encode` says what is done to a picture. The
    file is deterministic: the same images and options give the same bytes for any number of workers. It grows under a
    temporary name and appears when it is whole.

    Args:
        source: a folder of images, or of parquet files or tar shards; a parquet, tar, zip, CSV, TSV or JSON-lines
            file, or a pattern of such files; a data set saved by `save_to_disk`, on the Hub (USER/NAME or
            hf://USER/NAME), or a `datasets.Dataset` or `IterableDataset` (stored images; a transform is not applied).
        path: the file to write; an existing one is replaced when the new one is whole.
        split: which split, where the source has several; of a folder, the folder in it of that name.
        image_column: the column with the images (of webdataset shards, the suffix of their names); None takes the
            first that holds images.
        label_column: the column with the labels (of shards, a suffix); "auto" takes "label" or what else is known to
            hold them, the folders' names where there are no columns; None writes none. Text labels become classes in
            sorted order. A missing label is written as -1.
        labels_from: of folders, which one is the class: "folder" is the one that an image lies in, "top-folder" the
            first on the way to it. "auto" is the former, and an error where images lie at different depths.
        stream: read a data set of the Hub as it comes, without storing it.
        max_resolution: images whose longest side has more pixels are scaled down to it; None keeps every size.
        quality: JPEG quality (1 to 100) of images that have to be compressed.
        mode: "jpg" (legal JPEG with restart markers); "dct" (packed coefficients, docs/packed-dct.md: several times
            faster to load, less than twice as large; stock ffcv needs `custom_fields`); "raw" (pixels); "smart" (JPEG
            where the pixels take more than `smart_threshold` bytes, else raw); "proportion" (JPEG for a fraction of
            `compress_probability` of the images, else raw).
        smart_threshold: bytes of pixels, width * height * 3, above which mode "smart" compresses.
        compress_probability: fraction of images that mode "proportion" compresses.
        transcode: "auto" carries JPEG sources that fit `max_resolution` over without loss and compresses the rest;
            "never" decodes and compresses all; "always" counts a JPEG source that cannot be carried over as broken, so
            that no image is ever compressed a second time.
        shard: (I, N): the I-th (from 0) of N equal parts of the source, as a file of its own beside `path` with its
            number in the name (`shard_path`). N machines write one each; together they hold the samples of the one
            file in its order, and `BetonLoader` reads them as that file.
        split_off: fraction of the images, chosen by a hash of their index, that is written to a second file for
            validation (`split_off_path`) instead.
        workers: processes; None takes one per available core, 1 works in this process.
        on_error: "stop" at the first broken image, or "skip" and count them.
        progress: show a progress bar with images/s and the time left.

    Raises:
        RecipeError: an argument that cannot be used, or a source that cannot be read; the message names it.
        CorruptSampleError: a broken image (on_error "stop"), named with its index in the source, and its file if known.
        BetonError: there can be no file at `path`, no image could be written, or the file cannot hold one.
        DailyMAEError: a worker process died.
        MissingDependencyError: the source takes a library that is not installed.
    """
    options = EncodeOptions(mode, max_resolution, quality, transcode, smart_threshold, compress_probability)
    if on_error not in ("stop", "skip"):
        raise RecipeError(f"on_error: {on_error!r} is none of stop, skip")
    if split_off is not None and not 0 < split_off < 1:
        raise RecipeError(f"split_off: {split_off} is not between 0 and 1")
    if workers is not None and workers < 1:
        raise RecipeError(f"workers: {workers} is not a number of processes")
    paths = [Path(path)] if split_off is None else [Path(path), split_off_path(path)]
    if shard is not None:
        paths = [shard_path(each, *shard) for each in paths]
    for each in paths:  # before hours of reading, not after them
        require_place(each)
    images = open_images(source, SourceOptions(split, image_column, label_column, labels_from, stream))
    first, end = _part(images.count, shard)
    with ExitStack() as stack:
        files = [
            WrittenFile(each, images, options, images=whole, part=part, stack=stack)
            for each, whole, part in zip(
                paths, _counts(0, images.count, split_off), _counts(first, end, split_off), strict=True
            )
        ]
        name = str(source) if isinstance(source, str | os.PathLike) else "the dataset"
        writing = _Writing(files, split_off, range(first, end) if end is not None else None, on_error, name)
        rows = images.rows(first, end)
        processes = workers or available_cores()
        if end is not None:
            processes = min(processes, -(-(end - first) // _CHUNK))
        bar = stack.enter_context(
            tqdm(
                total=None if end is None else end - first,
                unit=" images",
                desc=f"write {paths[0].name}",
                disable=not progress,
            )
        )
        for chunk in ordered_map(encode_chunk, writing.tasks(rows, options), processes):
            writing.take(chunk)
            bar.update(len(chunk))
        reports = [file.commit(shard) for file in reversed(files)]
    report = reports[-1]
    report.split_off = reports[0] if split_off is not None else None
    return report


class _Writing:
    """Rows on their way to the workers and back, into the files they belong to."""

    def __init__(
        self, files: list[WrittenFile], split_off: float | None, indices: range | None, on_error: str, name: str
    ) -> None:
        self.files, self.split_off, self.indices, self.on_error, self.name = files, split_off, indices, on_error, name
        self.given = self.taken = 0 if indices is None else indices.start
        self.waiting: deque[Row] = deque()

    def file_of(self, index: int) -> WrittenFile:
        return self.files[self.split_off is not None and is_split_off(index, self.split_off)]

    def tasks(self, rows: Iterator[Row], options: EncodeOptions) -> Iterator[tuple[Any, ...]]:
        while chunk := list(islice(rows, _CHUNK)):
            items = []
            for row in chunk:
                items.append((self.given, row.image, self.file_of(self.given).next_limit()))
                self.given += 1
            self.waiting.extend(row._replace(image=None) for row in chunk)
            yield items, options
        if self.indices is not None and self.given != self.indices.stop:
            raise BetonError(f"{self.name}: the image after {self.given - 1} is missing, though it was announced")

    def take(self, chunk: list[Any]) -> None:
        """Store what the workers made of one chunk. Raises CorruptSampleError at a broken image, unless it is to be
        skipped."""
        for item in chunk:
            row, file = self.waiting.popleft(), self.file_of(self.taken)
            if not isinstance(item, Broken):
                file.add(row, item)
            elif self.on_error == "skip":
                file.skip(self.taken, row, item)
            else:
                raise CorruptSampleError(f"{self.name}: image {self.taken} is broken: {fault(row, item)}")
            self.taken += 1


def shard_path(path: str | os.PathLike[str], index: int, count: int) -> Path:
    """`train.beton` -> `train-00002-of-00016.beton`. Raises RecipeError unless 0 <= index < count."""
    if not 0 <= index < count:
        raise RecipeError(f"shard: {index}/{count}: shards are numbered from 0 to {count - 1}")
    whole = Path(path)
    return whole.with_name(f"{whole.stem}-{index:05d}-of-{count:05d}{whole.suffix}")


def split_off_path(path: str | os.PathLike[str]) -> Path:
    """`photos.beton` -> `photos-validation.beton`."""
    whole = Path(path)
    return whole.with_name(f"{whole.stem}-validation{whole.suffix}")


def is_split_off(index: int, fraction: float) -> bool:
    """Whether a sample belongs to the second file: by a hash of its index, so that it does not depend on anything else.

    Another hash than that of mode proportion, which would put images of one kind into one file.
    """
    digest = hashlib.blake2b(index.to_bytes(8, "little"), digest_size=8).digest()
    return int.from_bytes(digest, "little") < fraction * (1 << 64)


def _part(count: int | None, shard: tuple[int, int] | None) -> tuple[int, int | None]:
    """First (inclusive) and last (exclusive) image of a shard; None for a stream's end."""
    if shard is None:
        return 0, count
    if count is None:
        raise RecipeError("shard: a stream has no known length that could be divided")
    return count * shard[0] // shard[1], count * (shard[0] + 1) // shard[1]


def _counts(first: int, end: int | None, split_off: float | None) -> list[int | None]:
    """Images for each file among those from `first` to `end`, None where the end is not known. Raises RecipeError where
    a file would get none."""
    if end is None:
        return [None] if split_off is None else [None, None]
    if split_off is None:
        return [end - first]
    second = sum(is_split_off(index, split_off) for index in range(first, end))
    if second in (0, end - first):
        raise RecipeError(f"split_off: {split_off} of {end - first} images leaves a file without images")
    return [end - first - second, second]
