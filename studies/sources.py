"""The images of a study: whatever `dailymae write` takes, as a .beton to train on and as parquet to judge on."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, Image

from dailymae_hf.data import write_beton
from dailymae_hf.data.sources.image_source import SourceOptions, read_image
from dailymae_hf.data.sources.open_source import open_images
from dailymae_hf.errors import RecipeError


class Sources:
    """Training and validation images, prepared once in `folder`.

    Args:
        train, validation: image folder, parquet file or folder, saved dataset, or a name on the Hub.
        folder: where the prepared files lie; named by the source, so that several sources share it.
        train_split, validation_split: where a source has several splits.
        masks: training and validation images with class masks, as parquet files, for the segmentation judge.
    """

    def __init__(
        self,
        train: str,
        validation: str,
        folder: Path,
        train_split: str | None = None,
        validation_split: str | None = None,
        *,
        masks: tuple[Path | None, Path | None] = (None, None),
    ) -> None:
        self.masks = masks
        self.train_name = Path(train).name if Path(train).exists() else train
        self._train, self._train_split = train, train_split
        self._folder = folder / hashlib.sha256(f"{train}|{train_split}".encode()).hexdigest()[:12]
        self._folder.mkdir(parents=True, exist_ok=True)
        self.train_parquet = self._parquet(self._folder / "train.parquet", train, train_split)
        name = hashlib.sha256(f"{validation}|{validation_split}".encode()).hexdigest()[:12]
        self.validation_parquet = self._parquet(folder / f"{name}.parquet", validation, validation_split)

    def train_beton(self, images: int | None, options: Mapping[str, Any] | None = None) -> Path:
        """The training file with so many evenly spaced images, all of them if None.

        `options` are those of `write_beton`; without any the images are carried over as they are.
        """
        options = {"mode": "dct", **(options or {})}
        named = "".join(f"-{name}-{value}" for name, value in options.items() if (name, value) != ("mode", "dct"))
        path = self._folder / f"train-{images or 'all'}{named}.beton"
        if not path.is_file():
            write_some(self.train_parquet, images, path, options)
        return path

    @staticmethod
    def _parquet(path: Path, source: str, split: str | None) -> Path:
        """The source's images, encoded as they are, and its labels."""
        if path.is_file():
            return path
        rows = []
        for image, label, name in open_images(source, SourceOptions(split)).rows(0, None):
            if image is None:
                raise RecipeError(f"{source}: a row without an image ({name})")
            rows.append({"image": {"bytes": read_image(image)}, "label": label})
        partial = path.with_suffix(".partial")
        pq.write_table(pa.Table.from_pylist(rows), partial)
        partial.rename(path)
        return path


def write_some(parquet: Path, images: int | None, path: Path, options: Mapping[str, Any]) -> None:
    """Write so many evenly spaced rows of a parquet file, all of them if None, with options of `write_beton`."""
    dataset = Dataset.from_parquet(str(parquet), keep_in_memory=True)
    assert isinstance(dataset, Dataset)
    if images is not None and images < len(dataset):
        dataset = dataset.select([row * len(dataset) // images for row in range(images)])
    write_beton(dataset.cast_column("image", Image(decode=False)), path, **options, progress=False)
