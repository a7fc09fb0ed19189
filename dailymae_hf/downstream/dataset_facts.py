"""What a run takes from its data and its checkpoint without being told: class names, mean and standard deviation."""

import os
from collections.abc import Sequence
from typing import Literal

import numpy as np

from dailymae_hf.data.beton import Beton, open_beton
from dailymae_hf.errors import BetonError, RecipeError
from dailymae_hf.hub.checkpoint_name import require_checkpoint


def class_names(path: str | os.PathLike[str], given: Sequence[str] | None = None) -> list[str]:
    """Names of the classes 0, 1, ... of a file: those given, those its writer noted, else the numbers themselves.

    Raises:
        BetonError: the file has no labels, or images without one.
        RecipeError: there are classes that no name was given for.
    """
    beton = open_beton(path)
    labels = _labels(beton)
    without = int((labels < 0).sum())
    if without:
        raise BetonError(f"{path}: {without} of {len(beton)} images have no label")
    count = int(labels.max()) + 1
    names = list(given) if given is not None else beton.class_names
    if names is None:
        return [str(number) for number in range(count)]
    if len(names) < count:
        raise RecipeError(f"class_names: {len(names)} names, and {path} has labels up to {count - 1}")
    return names


def check_classes(path: str | os.PathLike[str], names: Sequence[str]) -> None:
    """Make sure that a file has labels, and that they mean what a model's do, as far as the file names them.

    Raises:
        BetonError: the file has no labels.
        RecipeError: the file's classes are others, or in another order.
    """
    beton = open_beton(path)
    _labels(beton)
    own = beton.class_names
    if own is None or own == list(names):
        return
    place = next((n for n, pair in enumerate(zip(own, names, strict=False)) if pair[0] != pair[1]), None)
    if place is None:
        raise RecipeError(f"{path}: has {len(own)} classes, the model {len(names)}")
    raise RecipeError(f"{path}: class {place} is {own[place]!r}, the model's is {names[place]!r}")


def _labels(beton: Beton) -> np.ndarray:
    if beton.labels is None or (beton.labels < 0).all():
        raise BetonError(f"{beton.path}: has no labels; `dailymae write` takes them from folders or a column")
    return beton.labels


def image_statistics(
    checkpoint: str, path: str | os.PathLike[str] | None, source: Literal["data", "checkpoint"]
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Per-channel mean and standard deviation of pixels in 0-1 to normalise with, None where nothing says.

    "checkpoint": those of the image processor saved with the encoder, which its features were learned under; where
    there is none, and with "data", those that the training file's writer measured.

    Raises:
        CheckpointError: there is no such checkpoint.
    """
    from transformers import AutoImageProcessor

    if source == "checkpoint":
        require_checkpoint(checkpoint)
        try:
            processor = AutoImageProcessor.from_pretrained(checkpoint)
            return tuple(processor.image_mean), tuple(processor.image_std)
        except OSError:
            pass
    facts = open_beton(path).facts if path is not None else {}
    mean, std = facts.get("mean"), facts.get("std")
    return (tuple(mean), tuple(std)) if mean and std else (None, None)
