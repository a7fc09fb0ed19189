"""What `write_beton` can read: any of these becomes a `datasets.Dataset` with the columns "image" and "label"."""

import os
from pathlib import Path
from typing import Any

import datasets
from datasets import Dataset

from dailymae_hf.errors import RecipeError


def open_source(source: Dataset | str | os.PathLike[str], split: str | None) -> Dataset:
    """A Dataset from a Dataset, a folder (images by class, parquet, or saved by `save_to_disk`), a parquet file, or a
    name on the Hub. Raises RecipeError naming the source where it cannot be read, and the splits where one has to be
    chosen."""
    if isinstance(source, datasets.IterableDataset | datasets.IterableDatasetDict):
        raise RecipeError("source: a streamed dataset has no length; load it without streaming=True")
    if isinstance(source, datasets.Dataset):
        return source
    loaded: Any = source
    if not isinstance(source, datasets.DatasetDict):
        place = Path(source)
        try:
            if (place / "state.json").exists() or (place / "dataset_dict.json").exists():
                loaded = datasets.load_from_disk(place)
            elif place.suffix == ".parquet":
                loaded = datasets.load_dataset("parquet", data_files=str(place))
            else:
                loaded = datasets.load_dataset(str(source))
        except Exception as error:  # of datasets, pyarrow, fsspec and the Hub's client: whatever a damaged file brings
            first: BaseException = error
            while isinstance(first, datasets.exceptions.DatasetGenerationError) and first.__cause__ is not None:
                first = first.__cause__  # it says no more than that something went wrong
            raise RecipeError(f"source: {source}: {first}") from error
    if isinstance(loaded, datasets.Dataset):
        return loaded
    if split is None and len(loaded) == 1:
        return next(iter(loaded.values()))
    if split not in loaded:
        raise RecipeError(f"split: {source} has the splits {', '.join(loaded)}; {split or 'none'} was asked for")
    return loaded[split]


def choose_columns(
    dataset: Dataset, image_column: str | None, label_column: str | None
) -> tuple[Dataset, list[str] | None]:
    """Reduce a dataset to the columns "image" (undecoded) and, where there are labels, "label" (integers).

    Returns the dataset and the class names (None without labels or names). Raises RecipeError naming the columns.
    """
    features = dataset.features
    if image_column is None:
        image_column = next((name for name, kind in features.items() if isinstance(kind, datasets.Image)), None)
        if image_column is None:
            raise RecipeError(f"image_column: no image column among {', '.join(features)}; name one")
    elif image_column not in features:
        raise RecipeError(f"image_column: no column {image_column!r} among {', '.join(features)}")
    if label_column == "auto":
        classes = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
        label_column = "label" if "label" in features else next(iter(classes), None)
    elif label_column is not None and label_column not in features:
        raise RecipeError(f"label_column: no column {label_column!r} among {', '.join(features)}")

    names: list[str] | None = None
    columns = {image_column: "image"}
    if label_column is not None:
        columns[label_column] = "label"
    dataset = dataset.with_format(None).select_columns(list(columns))
    if label_column is not None:
        kind = features[label_column]
        if isinstance(kind, datasets.Value) and kind.dtype in ("string", "large_string"):
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


_STORED = ("binary", "large_binary", "string", "large_string")  # encoded images, or paths of their files


def stored_image(value: Any) -> bytes | str | None:
    """The bytes of an undecoded image, or the path of its file; None in a row without an image."""
    if isinstance(value, dict):
        value = value["path"] if value["bytes"] is None else value["bytes"]
    return value


def image_name(value: Any, source: Any) -> str | None:
    """What to call an undecoded image: its file, relative to `source` where that is the folder it lies in; None where
    the dataset holds bytes without a name."""
    path = value["path"] if isinstance(value, dict) else value
    if not isinstance(path, str):
        return None
    if isinstance(source, str | os.PathLike) and os.path.isabs(path):
        inside = os.path.relpath(path, source)
        return path if inside.startswith(os.pardir) else inside
    return path
