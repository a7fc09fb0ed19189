"""Hugging Face dataset, image folder or parquet -> .beton."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from tqdm import tqdm

from dailymae_hf import __version__
from dailymae_hf.data.beton_writer import BetonOutput, require_place
from dailymae_hf.data.encode import Broken, EncodeOptions, encode_chunk
from dailymae_hf.data.image_dataset import choose_columns, image_name, open_source, stored_image
from dailymae_hf.data.workers import available_cores, ordered_map
from dailymae_hf.errors import CorruptSampleError, RecipeError

_CHUNK = 16  # images per task: a few megabytes a message, tens of milliseconds of work
_MEASURED = 1024  # images whose pixels give the facts' mean and standard deviation
_LISTED = 1000  # skipped images that the facts name; all are counted
MODES = ("jpg", "dct", "raw", "smart", "proportion")
TRANSCODE = ("auto", "always", "never")


@dataclass
class WriteReport:
    """What `write_beton` did. `skipped` holds (index in the source, its file's name where known and what is wrong)."""

    path: Path
    num_samples: int = 0
    carried_over: int = 0
    skipped: list[tuple[int, str]] = field(default_factory=list)


def write_beton(
    source: Dataset | str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    split: str | None = None,
    image_column: str | None = None,
    label_column: str | None = "auto",
    max_resolution: int | None = 500,
    quality: int = 95,
    mode: str = "jpg",
    smart_threshold: int | None = None,
    compress_probability: float = 0.5,
    transcode: str = "auto",
    shard: tuple[int, int] | None = None,
    workers: int | None = None,
    on_error: str = "stop",
    progress: bool = True,
) -> WriteReport:
    """Write a dataset of images as a .beton that `BetonLoader` and stock ffcv read.

    The defaults for size and quality are the paper's. `dailymae_hf.data.encode` says what is done to a picture. The
    file is deterministic: the same images and options give the same bytes for any number of workers. It grows under a
    temporary name and appears when it is whole.

    Args:
        source: a `datasets.Dataset` (its stored images; a transform set on it is not applied), or anything that
            `datasets.load_dataset` opens: a folder of images by class, a folder of or one parquet file, a saved
            dataset, a name on the Hub.
        path: the file to write; an existing one is replaced when the new one is whole.
        split: which split, where the source has several.
        image_column: the column with the images; None takes the first image column.
        label_column: the column with the labels; "auto" takes "label" or else the first class column if there is one,
            None writes none. Text labels become classes in sorted order. A missing label is written as -1.
        max_resolution: images whose longest side has more pixels are scaled down to it; None keeps every size.
        quality: JPEG quality (1 to 100) of images that have to be compressed.
        mode: "jpg" (legal JPEG with restart markers); "dct" (packed coefficients, docs/packed-dct.md: several times
            faster to load, less than twice as large; stock ffcv needs `custom_fields`); "raw" (pixels); "smart" (JPEG
            where the pixels take more than `smart_threshold` bytes, else raw); "proportion" (JPEG for a share of
            `compress_probability` of the images, else raw).
        smart_threshold: bytes of pixels, width * height * 3, above which mode "smart" compresses.
        compress_probability: share of images that mode "proportion" compresses.
        transcode: "auto" carries JPEG sources that fit `max_resolution` over without loss and compresses the rest;
            "never" decodes and compresses all; "always" counts a JPEG source that cannot be carried over as broken, so
            that no image is ever compressed a second time.
        shard: (I, N): the I-th (from 0) of N equal parts of the source, as a file of its own beside `path` with its
            number in the name (`shard_path`). N machines write one each; together they hold the samples of the one
            file in its order, and `BetonLoader` reads them as that file.
        workers: processes; None takes one per available core, 1 works in this process.
        on_error: "stop" at the first broken image, or "skip" and count them.
        progress: show a progress bar with images/s and the time left.

    Raises:
        RecipeError: an argument that cannot be used; the message names it.
        CorruptSampleError: a broken image (on_error "stop"), named with its index in the source, and its file if known.
        BetonError: there can be no file at `path`, no image could be written, or the file cannot hold one.
        DailyMAEError: a worker process died.
    """
    _check(
        mode=mode,
        smart_threshold=smart_threshold,
        quality=quality,
        max_resolution=max_resolution,
        compress_probability=compress_probability,
        transcode=transcode,
        on_error=on_error,
    )
    if shard is not None:
        path = shard_path(path, *shard)
    require_place(Path(path))  # before hours of reading, not after them
    dataset, class_names = choose_columns(open_source(source, split), image_column, label_column)
    first = 0
    if shard is not None:
        first, end = (len(dataset) * part // shard[1] for part in (shard[0], shard[0] + 1))
        dataset = dataset.select(range(first, end))
    with_labels = "label" in dataset.features
    options = EncodeOptions(mode, max_resolution, quality, transcode, smart_threshold or 0, compress_probability)
    total = len(dataset)
    workers = min(workers or available_cores(), -(-total // _CHUNK))
    report = WriteReport(Path(path))
    name = source if isinstance(source, str | os.PathLike) else "the dataset"
    moments: list[tuple[np.ndarray, np.ndarray, int]] = []
    labels: list[int | None] = []

    def tasks() -> Iterator[tuple[Any, ...]]:
        for start in range(0, total, _CHUNK):
            rows = dataset[start : start + _CHUNK]
            labels.extend(rows["label"] if with_labels else [])
            items = [(first + start + i, stored_image(value)) for i, value in enumerate(rows["image"])]
            yield items, options, max(8, total // _MEASURED)

    with (
        BetonOutput(path, total, packed=mode == "dct", with_labels=with_labels) as output,
        tqdm(total=total, unit=" images", desc=f"write {report.path.name}", disable=not progress) as bar,
    ):
        index = 0
        for chunk in ordered_map(encode_chunk, tasks(), workers):
            for item in chunk:
                if isinstance(item, Broken):
                    file = image_name(dataset[index]["image"], source)
                    reason = item.reason if file is None else f"{file}: {item.reason}"
                    if on_error == "stop":
                        raise CorruptSampleError(f"{name}: image {first + index} is broken: {reason}")
                    report.skipped.append((first + index, reason))
                else:
                    label = labels[index] if with_labels else None
                    output.append(item.mode, item.width, item.height, item.data, -1 if label is None else int(label))
                    report.carried_over += item.carried_over
                    if item.moments is not None:
                        moments.append(item.moments)
                index += 1
            bar.update(len(chunk))
        output.commit(_facts(options, report, class_names, moments) | ({"shard": list(shard)} if shard else {}))
    report.num_samples = output.num_samples
    return report


def shard_path(path: str | os.PathLike[str], index: int, count: int) -> Path:
    """`train.beton` -> `train-00002-of-00016.beton`. Raises RecipeError unless 0 <= index < count."""
    if not 0 <= index < count:
        raise RecipeError(f"shard: {index}/{count}: shards are numbered from 0 to {count - 1}")
    whole = Path(path)
    return whole.with_name(f"{whole.stem}-{index:05d}-of-{count:05d}{whole.suffix}")


def _check(
    *,
    mode: str,
    smart_threshold: int | None,
    quality: int,
    max_resolution: int | None,
    compress_probability: float,
    transcode: str,
    on_error: str,
) -> None:
    for name, value, allowed in (
        ("mode", mode, MODES),
        ("transcode", transcode, TRANSCODE),
        ("on_error", on_error, ("stop", "skip")),
    ):
        if value not in allowed:
            raise RecipeError(f"{name}: {value!r} is none of {', '.join(allowed)}")
    if not 1 <= quality <= 100:
        raise RecipeError(f"quality: {quality} is not between 1 and 100")
    if max_resolution is not None and max_resolution < 1:
        raise RecipeError(f"max_resolution: {max_resolution} is not a number of pixels")
    if not 0 <= compress_probability <= 1:
        raise RecipeError(f"compress_probability: {compress_probability} is not between 0 and 1")
    if (mode == "smart") != (smart_threshold is not None):
        raise RecipeError(f"smart_threshold: {smart_threshold} with mode {mode!r}; mode smart alone needs and takes it")


def _facts(
    options: EncodeOptions,
    report: WriteReport,
    class_names: list[str] | None,
    moments: list[tuple[np.ndarray, np.ndarray, int]],
) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "written_by": f"dailymae_hf {__version__}",
        "mode": options.mode,
        "quality": options.quality,
        "max_resolution": options.max_resolution,
        "transcode": options.transcode,
        "carried_over": report.carried_over,
        "skipped": len(report.skipped),
        "skipped_images": report.skipped[:_LISTED],
        "class_names": class_names,
    }
    if moments:
        pixels = sum(count for _, _, count in moments)
        mean = np.sum([total for total, _, _ in moments], axis=0) / pixels
        std = np.sqrt(np.sum([squares for _, squares, _ in moments], axis=0) / pixels - mean**2)
        measured = {"measured_images": len(moments), "measured_pixels": int(pixels)}
        facts |= {"mean": mean.round(4).tolist(), "std": std.round(4).tolist(), **measured}
    return facts
