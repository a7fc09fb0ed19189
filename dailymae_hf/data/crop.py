"""Which part of an image is taken: the kernel's parameters, checked, and the failures that it counts in them."""

from dataclasses import dataclass

import numpy as np

from dailymae_hf import _native
from dailymae_hf.errors import RecipeError


def random_resized_crop(
    scale: tuple[float, float], ratio: tuple[float, float], hflip: bool | float, seed: int
) -> np.ndarray:
    """Parameters of torchvision's random resized crop and a horizontal flip: `_native.PARAMS_DTYPE`, one element.

    Args:
        scale: fraction of the image's area, (low, high).
        ratio: width / height of the box, (low, high).
        hflip: mirror half of the samples, or the probability of it.
        seed: of boxes and flips.

    Raises RecipeError naming the argument that cannot be.
    """
    probability = 0.5 if hflip is True else float(hflip)
    if not 0 <= probability <= 1:
        raise RecipeError(f"hflip must be True, False or a probability, got {hflip}")
    return _native.crop_params(
        kind=_native.RANDOM_RESIZED_CROP,
        scale=_interval("scale", scale, 1.0),
        ratio=_interval("ratio", ratio, float("inf")),
        hflip=probability,
        seed=seed % 2**64,
    )


def center_crop(ratio: float) -> np.ndarray:
    """Parameters of the evaluation crop: the shorter side is resized to output side / `ratio`, and the middle is cut.

    Raises RecipeError unless `ratio` is in (0, 1].
    """
    return _native.crop_params(kind=_native.CENTER_CROP, center_ratio=_interval("ratio", (ratio, ratio), 1.0)[0])


def whole_image() -> np.ndarray:
    """Parameters of no crop at all."""
    return _native.crop_params(scale=(1.0, 1.0), hflip=0.0)


@dataclass(frozen=True)
class Failures:
    """Samples that could not be decoded: how many, the smallest index among them, and its status (`_native`)."""

    count: int
    index: int
    status: int


def failures_of(params: np.ndarray) -> Failures | None:
    """What the kernel has counted in `params`; None where all went well."""
    first = int(params["first_error"][0])
    if first == int(_native.NO_ERROR):
        return None
    return Failures(int(params["error_count"][0]), first >> 8, first & 0xFF)


def clear_failures(params: np.ndarray) -> None:
    """Forget what was counted."""
    params["error_count"] = 0
    params["first_error"] = _native.NO_ERROR


def _interval(name: str, value: tuple[float, float], upper: float) -> tuple[float, float]:
    low, high = map(float, value)
    if not 0 < low <= high <= upper:
        raise RecipeError(f"{name} must be (low, high) with 0 < low <= high <= {upper}, got {value}")
    return low, high
