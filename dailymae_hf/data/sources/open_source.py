"""Any source that `write_beton` reads -> its rows. What a name means is decided here, and nowhere on the network."""

import glob
import os
import re
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from dailymae_hf.data.sources.archive import ARCHIVE_SUFFIXES, archive_images
from dailymae_hf.data.sources.folder import FolderListing, folder_images, list_folder
from dailymae_hf.data.sources.folder_labels import LABELS_FROM
from dailymae_hf.data.sources.hf_dataset import (
    DatasetImages,
    StreamedImages,
    choose_split,
    is_saved_dataset,
    load_files,
    load_hub,
    load_saved,
    require_datasets,
    require_on_hub,
)
from dailymae_hf.data.sources.image_files import has_image_suffix
from dailymae_hf.data.sources.image_source import ImageSource, SourceOptions, printable
from dailymae_hf.data.sources.parquet import ParquetImages
from dailymae_hf.data.sources.path_or_hub import absent, is_on_hub
from dailymae_hf.data.sources.table import TABLE_SUFFIXES, table_images
from dailymae_hf.errors import RecipeError

_READERS: dict[str, Callable[[Sequence[Path], SourceOptions], ImageSource]] = {
    ".parquet": ParquetImages,
    **dict.fromkeys(ARCHIVE_SUFFIXES, archive_images),
    **dict.fromkeys(TABLE_SUFFIXES, lambda paths, options: table_images(paths[0], options)),
}
_SHARD = re.compile(r"[-_.]?\d+(?:-of-\d+)?$")  # how the names of a split's files end: train-00003-of-00010
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
_SHOWN = 5


def open_images(source: Any, options: SourceOptions) -> ImageSource:
    """The rows of a source.

    Args:
        source: a `datasets` object; a folder of images, parquet files or tar shards; a parquet, tar, zip, CSV, TSV or
            JSON-lines file; a pattern of such files (`train-*.tar`, `train-{000..146}.tar`); a folder of
            `save_to_disk`; or a name on the Hub, USER/NAME or hf://USER/NAME. A name whose folder exists is a path.

    Raises:
        RecipeError: the source does not exist (the message names the folder that does), holds no images, or options
            do not fit it.
        MissingDependencyError: it takes a library that is not installed.
    """
    if options.labels_from not in LABELS_FROM:
        raise RecipeError(f"labels_from: {options.labels_from!r} is none of {', '.join(LABELS_FROM)}")
    if not isinstance(source, str | os.PathLike):
        return _of_dataset(source, options, "the dataset")
    if not os.path.exists(source) and is_on_hub(os.fspath(source), _READERS):
        return _of_dataset(_of_hub(os.fspath(source), options.split, stream=options.stream), options, source)
    if options.stream:
        raise RecipeError(f"stream: {source} is no name on the Hub; what lies on a disk is read as it comes anyway")
    paths = _existing(os.fspath(source))
    if len(paths) == 1 and paths[0].is_dir():
        return _of_folder(paths[0], options)
    if options.split is not None:
        raise RecipeError(f"split: {source} is not divided into splits")
    return _of_files(paths, options)


def open_dataset(source: Any, split: str | None) -> Any:
    """What only `datasets` can hold, such as images with masks: its objects, saved ones, parquet, or a name on the Hub.

    Raises RecipeError naming the source where it cannot be read, and the splits where one has to be chosen.
    """
    if not isinstance(source, str | os.PathLike):
        return choose_split(source, split, "the dataset")
    text = os.fspath(source)
    if not os.path.exists(text) and is_on_hub(text, _READERS):
        return choose_split(_of_hub(text, None, stream=False), split, text)
    place = _existing(text)[0]
    loaded = load_saved(place) if is_saved_dataset(place) else load_files(place)
    return choose_split(loaded, split, text)


def _of_hub(text: str, split: str | None, *, stream: bool) -> Any:
    if not text.startswith("hf://"):
        require_on_hub(text)
    return load_hub(text, split, stream=stream)


def _of_dataset(loaded: Any, options: SourceOptions, name: Any) -> ImageSource:
    chosen = choose_split(loaded, options.split, name)
    datasets = require_datasets()
    if isinstance(chosen, datasets.Dataset):
        return DatasetImages(chosen, options)
    if isinstance(chosen, datasets.IterableDataset):
        return StreamedImages(chosen, options, name)
    raise RecipeError(f"source: {type(chosen).__name__} is neither a path nor a data set of the library `datasets`")


def _existing(text: str) -> list[Path]:
    if os.path.exists(text):
        return [Path(text)]
    found = [Path(match) for pattern in _braces(text) for match in sorted(glob.glob(pattern))]
    if found:
        return found
    raise RecipeError(f"source: {absent(text)} (a data set of the Hub is USER/NAME or hf://USER/NAME)")


def _braces(text: str) -> list[str]:
    """`train-{08..10}.tar` -> train-08.tar, train-09.tar, train-10.tar."""
    pieces = _BRACES.split(text)
    ranges = [
        [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
        for first, last in zip(pieces[1::3], pieces[2::3], strict=True)
    ]
    fixed = pieces[::3]
    return ["".join(part for pair in zip(fixed, [*values, ""], strict=True) for part in pair)
            for values in product(*ranges)]  # fmt: skip


def _of_files(paths: Sequence[Path], options: SourceOptions) -> ImageSource:
    suffixes = sorted({path.suffix.lower() for path in paths})
    reader = _READERS.get(suffixes[0])
    if len(suffixes) > 1:
        raise RecipeError(f"source: files of several kinds, {', '.join(suffixes)}: name those of one")
    if reader is None:
        kind = "an image: name the folder that it lies in" if has_image_suffix(paths[0].name) else "no known source"
        if suffixes[0] in (".gz", ".tgz"):
            kind = "compressed as a whole, so that no image in it can be found: gunzip it first"
        raise RecipeError(f"source: {paths[0]} is {kind} (files that are read: {', '.join(_READERS)})")
    if suffixes[0] in TABLE_SUFFIXES and len(paths) > 1:
        raise RecipeError(f"source: {len(paths)} lists of images; name one")
    return reader(paths, options)


def _of_folder(folder: Path, options: SourceOptions) -> ImageSource:
    if is_saved_dataset(folder):
        return _of_dataset(load_saved(folder), options, folder)
    if options.split is not None and (folder / options.split).is_dir():
        folder = folder / options.split
        options = SourceOptions(None, options.image_column, options.label_column, options.labels_from)
        return _of_folder(folder, options)
    listing = list_folder(folder)
    containers = [Path(name) for name in listing.others if Path(name).suffix.lower() in (".parquet", ".tar")]
    if listing.images and containers:
        raise RecipeError(f"source: {folder} holds images ({len(listing.images)}, such as {listing.images[0]}) and "
                          f"{len(containers)} parquet or tar files: name one kind, such as "
                          f"{folder / containers[0].parent}/*{containers[0].suffix}")  # fmt: skip
    if containers:
        return _of_files([folder / name for name in _of_split(containers, options.split, folder)], options)
    if options.split is not None:
        raise RecipeError(f"split: {folder} has no folder {options.split!r}")
    if not listing.images:
        raise RecipeError(f"source: {folder} holds no images ({_told(listing)})")
    return folder_images(listing, options)


def _of_split(files: Sequence[Path], split: str | None, folder: Path) -> list[Path]:
    groups: dict[str, list[Path]] = {}
    for file in files:
        groups.setdefault(str(file.parent / _SHARD.sub("", file.stem)), []).append(file)
    if split is None and len(groups) == 1:
        return list(files)
    chosen = [names for group, names in groups.items() if split in (group, Path(group).name)]
    if len(chosen) != 1:
        raise RecipeError(f"split: {folder} has the splits {', '.join(groups)}; {split or 'none'} was asked for")
    return chosen[0]


def _told(listing: FolderListing) -> str:
    count = len(listing.others)
    lists = [name for name in listing.others if name.endswith(TABLE_SUFFIXES)]
    if lists:
        return f"but {lists[0]}, which can be named itself"
    shown = ", ".join(printable(name) for name in listing.others[:_SHOWN])
    return f"{count} other files: {shown}" if count else "it is empty"
