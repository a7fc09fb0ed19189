"""Data sets that only the library `datasets` opens: its own objects, saved ones, names on the Hub, streams."""

import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from dailymae_hf.data.sources.image_source import Row, SourceOptions, StoredImage
from dailymae_hf.data.sources.path_or_hub import HUB_ADDRESS, PATIENCE, hub_problem
from dailymae_hf.errors import MissingDependencyError, RecipeError

if TYPE_CHECKING:
    from datasets import Dataset

_TEXT = ("string", "large_string")
_STORED = ("binary", "large_binary", *_TEXT)  # encoded images, or paths of their files
_BATCH = 16


def require_datasets() -> Any:
    """The library. Raises MissingDependencyError without it."""
    try:
        import datasets
    except ImportError:
        raise MissingDependencyError("data sets of the Hub, saved and streamed ones are read with the library "
                                     "`datasets`: pip install datasets") from None  # fmt: skip
    return datasets


def is_saved_dataset(folder: Path) -> bool:
    return (folder / "state.json").exists() or (folder / "dataset_dict.json").exists()


def load_saved(folder: Path) -> Any:
    """What `save_to_disk` wrote. Raises RecipeError naming the folder."""
    datasets = require_datasets()
    return _loaded(datasets.load_from_disk, folder, str(folder))


def load_files(place: Path) -> Any:
    """Parquet or another kind of files that `datasets` knows. Raises RecipeError naming them."""
    datasets = require_datasets()
    if place.suffix == ".parquet":
        return _loaded(datasets.load_dataset, place, "parquet", data_files=str(place))
    return _loaded(datasets.load_dataset, place, str(place))


def load_hub(source: str, split: str | None, *, stream: bool) -> Any:
    """A data set of the Hub, downloaded or, with `stream`, read as it comes. Raises RecipeError naming it."""
    datasets = require_datasets()
    match = HUB_ADDRESS.fullmatch(source)
    if match is None:
        raise RecipeError(f"source: {source}: not of the form hf://USER/NAME or hf://USER/NAME@REVISION")
    return _loaded(datasets.load_dataset, source, match[1], revision=match[2], split=split, streaming=stream)


def require_on_hub(name: str) -> None:
    """Ask the Hub once whether it has a data set USER/NAME[@REVISION], where none is cached.

    `datasets` itself tries for half a minute before it says that there is no network.

    Raises:
        RecipeError: the Hub does not have it, or cannot be reached.
    """
    datasets = require_datasets()
    name = name.partition("@")[0]
    if datasets.config.HF_HUB_OFFLINE or (Path(datasets.config.HF_DATASETS_CACHE) / name.replace("/", "___")).exists():
        return
    from huggingface_hub import HfApi

    problem = hub_problem(lambda: HfApi().dataset_info(name, timeout=PATIENCE), name, "data set")
    if problem:
        raise RecipeError(f"source: {problem}")


def _loaded(load: Any, source: Any, *arguments: Any, **options: Any) -> Any:
    datasets = require_datasets()
    try:
        return load(*arguments, **options)
    except Exception as error:  # of datasets, pyarrow, fsspec and the Hub's client: whatever a damaged file brings
        first: BaseException = error
        while isinstance(first, datasets.exceptions.DatasetGenerationError) and first.__cause__ is not None:
            first = first.__cause__  # it says no more than that something went wrong
        raise RecipeError(f"source: {source}: {first}") from error


def choose_split(loaded: Any, split: str | None, source: Any) -> Any:
    """The one split, or the one asked for. Raises RecipeError naming those there are."""
    if not isinstance(loaded, dict):
        return loaded
    if split is None and len(loaded) == 1:
        return next(iter(loaded.values()))
    if split not in loaded:
        raise RecipeError(f"split: {source} has the splits {', '.join(loaded)}; {split or 'none'} was asked for")
    return loaded[split]


class DatasetImages:
    """Rows of a `datasets.Dataset`; an `ImageSource`. A transform set on it is not applied."""

    def __init__(self, dataset: "Dataset", options: SourceOptions) -> None:
        options.require_no_folders("a data set")
        self.dataset, self.class_names = choose_columns(dataset, options.image_column, options.label_column)
        self.count: int | None = len(self.dataset)
        self.has_labels = "label" in self.dataset.features
        self.other_files: list[str] = []

    def rows(self, start: int, stop: int | None) -> Iterator[Row]:
        stop = len(self.dataset) if stop is None else stop
        for first in range(start, stop, _BATCH):
            columns = self.dataset[first : min(first + _BATCH, stop)]
            labels = columns["label"] if self.has_labels else [None] * len(columns["image"])
            for image, label in zip(columns["image"], labels, strict=True):
                yield _row(image, label)


class StreamedImages:
    """Rows of a `datasets.IterableDataset` as they come; an `ImageSource` whose count is None."""

    def __init__(self, dataset: Any, options: SourceOptions, source: Any) -> None:
        options.require_no_folders(str(source))
        datasets = require_datasets()
        self.source = source
        self.count: int | None = None
        self.other_files: list[str] = []
        features = dataset.features or _guessed_features(next(iter(self._read(dataset)), {}), options)
        self.image_column, self.label_column = label_and_image(features, options.image_column, options.label_column)
        self.has_labels = self.label_column is not None
        self.class_names: list[str] | None = None
        if self.label_column is not None:
            kind = features[self.label_column]
            if getattr(kind, "dtype", None) in _TEXT:
                raise RecipeError(f"label_column: {self.label_column!r} of the stream {source} is text, whose classes "
                                  "show only at its end: load it without streaming, or write no labels")  # fmt: skip
            self.class_names = getattr(kind, "names", None)
        if dataset.features is not None and isinstance(features[self.image_column], datasets.Image):
            dataset = dataset.cast_column(self.image_column, datasets.Image(decode=False))
        self.dataset = dataset

    def rows(self, start: int, stop: int | None) -> Iterator[Row]:
        for row in islice(self._read(self.dataset), start, stop):
            yield _row(row[self.image_column], row[self.label_column] if self.label_column else None)

    def _read(self, dataset: Any) -> Iterator[dict[str, Any]]:
        try:
            yield from dataset
        except Exception as error:  # of datasets and whatever it reads with
            raise RecipeError(f"source: {self.source}: {error}") from error


def _guessed_features(first: dict[str, Any], options: SourceOptions) -> dict[str, Any]:
    """The columns of a stream that does not say what they hold, from its first row."""
    datasets = require_datasets()
    features: dict[str, Any] = {}
    for name, value in first.items():
        if name == options.image_column or isinstance(value, Image.Image | bytes) or name == "image":
            features[name] = datasets.Image()
        else:
            features[name] = datasets.Value("string" if isinstance(value, str) else "int64")
    return features


def label_and_image(features: Any, image_column: str | None, label_column: str | None) -> tuple[str, str | None]:
    """The names of the image column and of the label column, if any. Raises RecipeError naming the columns."""
    datasets = require_datasets()
    if image_column is None:
        image_column = next((name for name, kind in features.items() if isinstance(kind, datasets.Image)), None)
        if image_column is None:
            raise RecipeError(f"image_column: no image column among {', '.join(features)}; name one")
    elif image_column not in features:
        raise RecipeError(f"image_column: no column {image_column!r} among {', '.join(features)}")
    if label_column == "auto":
        classes = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
        label_column = next((name for name in ("label", *classes, "cls") if name in features), None)
    elif label_column is not None and label_column not in features:
        raise RecipeError(f"label_column: no column {label_column!r} among {', '.join(features)}")
    return image_column, label_column


def choose_columns(
    dataset: "Dataset", image_column: str | None, label_column: str | None
) -> tuple["Dataset", list[str] | None]:
    """Reduce a dataset to the columns "image" (undecoded) and, where there are labels, "label" (integers).

    Returns the dataset and the class names (None without labels or names). Raises RecipeError naming the columns.
    """
    datasets = require_datasets()
    features = dataset.features
    image_column, label_column = label_and_image(features, image_column, label_column)
    names: list[str] | None = None
    columns = {image_column: "image"}
    if label_column is not None:
        columns[label_column] = "label"
    dataset = dataset.with_format(None).select_columns(list(columns))
    if label_column is not None:
        kind = features[label_column]
        if isinstance(kind, datasets.Value) and kind.dtype in _TEXT:
            dataset = dataset.class_encode_column(label_column)
            kind = dataset.features[label_column]
        if isinstance(kind, datasets.ClassLabel):
            names = kind.names
        elif not (isinstance(kind, datasets.Value) and "int" in kind.dtype):
            raise RecipeError(f"label_column: {label_column!r} holds {kind}, neither classes, integers nor text")
    if isinstance(features[image_column], datasets.Image):
        dataset = dataset.cast_column(image_column, datasets.Image(decode=False))
    elif not (isinstance(features[image_column], datasets.Value) and features[image_column].dtype in _STORED):
        raise RecipeError(f"image_column: {image_column!r} holds {features[image_column]}, not images")
    renamed = {old: new for old, new in columns.items() if old != new}
    return (dataset.rename_columns(renamed) if renamed else dataset), names


def _row(value: Any, label: Any) -> Row:
    if isinstance(value, Image.Image):  # a generator's
        buffer = io.BytesIO()
        value.save(buffer, "PNG")
        value = buffer.getvalue()
    name = value.get("path") if isinstance(value, dict) else value
    image: StoredImage = value
    if isinstance(value, dict):
        image = value["path"] if value["bytes"] is None else value["bytes"]
    return Row(image, label, name if isinstance(name, str) else None)
