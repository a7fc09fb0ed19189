"""Images with class masks, from any Hugging Face data set that has both."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset
from tqdm import tqdm

from dailymae_hf.data.encode import to_rgb
from dailymae_hf.errors import MaskError, RecipeError, extra
from dailymae_hf.rng import sample_generator

with extra("downstream", "images with masks"):
    import datasets

IGNORED = 255  # a pixel without a class


class MaskedImages(Dataset):
    """One split as `pixel_values` uint8 (3, S, S) and `labels` int64: (S, S) in training, else the whole mask (H, W).

    In training an image and its mask go through the same random resized crop and flip, a function of (seed, epoch,
    index), masks by nearest neighbour. Otherwise the image is resized to (S, S), and the mask stays as it is, so that
    scores are of the pixels that somebody labelled. Images are resized with Pillow's bicubic filter. Rows are made
    into batches by `masked_batch`.

    Args:
        dataset: a `datasets.Dataset`.
        size: S.
        image_column, mask_column: names of the columns; the first two image columns if not given.
        crop_scale: fraction of the area that a training crop has; None for scoring.
        reduce_labels: class 0 of the file means "none" and the others move down by one (ADE20K).
        seed: of the crops.

    `classes`, where it is set, is the number of classes that a mask may hold.

    Raises:
        RecipeError: a column is missing.
        MaskError: by a row: a file is missing, a mask has another size than its image, channels, or a class too many.
    """

    classes: int | None = None

    def __init__(
        self,
        dataset: Any,
        size: int,
        *,
        image_column: str | None = None,
        mask_column: str | None = None,
        crop_scale: tuple[float, float] | None = None,
        reduce_labels: bool = False,
        seed: int = 0,
    ) -> None:
        pictures = [name for name, kind in dataset.features.items() if isinstance(kind, datasets.Image)]
        columns = []
        for role, name in (("image_column", image_column), ("mask_column", mask_column)):
            free = [picture for picture in pictures if picture not in columns]
            if (name not in dataset.features) if name else not free:
                missing = f"no column {name!r}" if name else "no image column"
                raise RecipeError(
                    f"{role}: {missing} among {', '.join(dataset.features)}; a folder says in each split's "
                    "metadata.jsonl which mask is of which image"
                )
            columns.append(name or free[0])
        self.image_column, self.mask_column = columns
        self.dataset, self.size, self.crop_scale = dataset, size, crop_scale
        self.reduce_labels, self.seed, self.epoch = reduce_labels, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Take the crops of `epoch` from now on; accelerate's loaders call it."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        image, mask = self._row(number)
        box: tuple[float, float, float, float] = (0, 0, *image.size)
        flip = False
        if self.crop_scale is not None:
            rng = sample_generator(self.seed, self.epoch, number)
            box, flip = random_crop(image.size, self.crop_scale, rng), rng.random() < 0.5
        pixels = np.asarray(image.resize((self.size, self.size), Image.Resampling.BICUBIC, box=box))
        if self.crop_scale is not None:
            mask = mask.resize((self.size, self.size), Image.Resampling.NEAREST, box=box)
        classes = np.asarray(mask)
        if flip:
            pixels, classes = pixels[:, ::-1], classes[:, ::-1]
        return {
            "pixel_values": torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))),
            "labels": torch.from_numpy(self._labels(classes, number)),
        }

    def _row(self, number: int) -> tuple[Image.Image, Image.Image]:
        """Image (RGB) and mask of a row, of one size."""
        try:
            row = self.dataset[number]
            image, mask = to_rgb(row[self.image_column]), row[self.mask_column]
        except OSError as error:
            reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            raise MaskError(f"image {number} or its mask cannot be read: {reason}") from error
        if mask.size != image.size:
            sides = " and ".join(" x ".join(map(str, picture.size)) for picture in (image, mask))
            raise MaskError(f"image and {self._name(number)} differ in size, {sides} pixels: a mask is as large as its "
                            "image")  # fmt: skip
        return image, mask

    def _name(self, number: int) -> str:
        """`mask 3 (masks/3.png)`: with the file's name, where the data set has one."""
        stored = self.dataset.cast_column(self.mask_column, datasets.Image(decode=False))[number][self.mask_column]
        return f"mask {number} ({stored['path']})" if stored["path"] else f"mask {number}"

    def _labels(self, classes: np.ndarray, number: int) -> np.ndarray:
        if classes.ndim != 2:
            raise MaskError(f"{self._name(number)} has {classes.shape[-1]} channels; a mask holds one class number a "
                            "pixel: save the numbers themselves, not colours, as a PNG of one channel")  # fmt: skip
        labels = classes.astype(np.int64)
        if self.reduce_labels:
            labels = np.where(labels == 0, IGNORED, labels - 1)
            labels[labels == IGNORED - 1] = IGNORED  # what was "none" already
        largest = int(labels[labels != IGNORED].max(initial=-1))
        if self.classes is not None and largest >= self.classes:
            raise MaskError(f"class_names: there are {self.classes} classes, 0 to {self.classes - 1}, and "
                            f"{self._name(number)} holds class {largest}; {IGNORED} stands for none")  # fmt: skip
        return labels

    def statistics(self, count: int = 256) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation per channel of pixels in 0-1, over `count` images spread through the split."""
        numbers = np.linspace(0, len(self) - 1, min(count, len(self))).astype(int)
        pixels = np.concatenate(
            [np.asarray(to_rgb(self.dataset[int(n)][self.image_column])).reshape(-1, 3) for n in numbers]
        )
        return tuple((pixels.mean(axis=0) / 255).tolist()), tuple((pixels.std(axis=0) / 255).tolist())

    def count_classes(self) -> int:
        """One more than the largest class in any mask; reads them all."""
        largest = 0
        for number in tqdm(range(len(self)), desc="count classes", unit=" masks"):
            labels = self._labels(np.asarray(self._row(number)[1]), number)
            largest = max(largest, int(labels[labels != IGNORED].max(initial=0)))
        return largest + 1


def masked_batch(rows: Sequence[dict[str, torch.Tensor]]) -> dict[str, Any]:
    """Rows of `MaskedImages` as a batch: `pixel_values` (B, 3, S, S), `labels` a list of B masks of their own sizes."""
    return {
        "pixel_values": torch.stack([row["pixel_values"] for row in rows]),
        "labels": [row["labels"] for row in rows],
    }


def random_crop(
    size: tuple[int, int],
    scale: tuple[float, float],
    rng: np.random.Generator,
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> tuple[float, float, float, float]:
    """The box (left, top, right, bottom) of a random resized crop: area and aspect ratio drawn, ten tries, else all."""
    width, height = size
    for _ in range(10):
        area = width * height * rng.uniform(scale[0], scale[1])
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        crop_width, crop_height = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if 0 < crop_width <= width and 0 < crop_height <= height:
            left = int(rng.integers(0, width - crop_width, endpoint=True))
            top = int(rng.integers(0, height - crop_height, endpoint=True))
            return left, top, left + crop_width, top + crop_height
    return 0, 0, width, height
