"""Which patches are hidden: a function of (seed, epoch, sample index), so ranks, threads and resume cannot matter."""

import math
from typing import TypeVar

import torch

from dailymae_hf.errors import RecipeError

_WORD = 0xFFFFFFFF
# A bijective 32-bit integer mixer (xorshift-multiply, constants of C. Wellons' hash-prospector search). Both factors
# are below 2**31: the products fit in int64, so CPU and GPU agree to the bit without relying on overflow.
_FACTORS = (0x21F0AAAD, 0x735A2D97)


def num_visible(num_patches: int, mask_ratio: float) -> int:
    """Patches the encoder sees, rounded down as MAE does: `int(num_patches * (1 - mask_ratio))`.

    Raises `RecipeError` when nothing would be hidden, or nothing shown.
    """
    visible = int(num_patches * (1 - mask_ratio))
    if not 0 < visible < num_patches:
        raise RecipeError(
            f"mask_ratio: {mask_ratio} shows {visible} of {num_patches} patches; it must show and hide some"
        )
    return visible


def num_predicted(num_patches: int, visible: int, decoder_keep: float) -> int:
    """Hidden patches the decoder reconstructs: the share `decoder_keep` of them, at least one."""
    return max(1, round((num_patches - visible) * decoder_keep))


def mask_ratio_for(num_patches: int, visible: int) -> float:
    """The mask ratio for which `num_visible(num_patches, ratio)` is exactly `visible`."""
    ratio = 1 - visible / num_patches
    while int(num_patches * (1 - ratio)) < visible:  # floating point left the product a hair below the integer
        ratio = math.nextafter(ratio, 0.0)
    return ratio


T = TypeVar("T", int, torch.Tensor)


def _mix(x: T) -> T:
    x = x ^ (x >> 16)
    x = (x * _FACTORS[0]) & _WORD
    x = x ^ (x >> 15)
    x = (x * _FACTORS[1]) & _WORD
    return x ^ (x >> 15)


def masking_noise(
    seed: int, epoch: int, index: torch.Tensor, num_patches: int, device: torch.device | str | None = None
) -> torch.Tensor:
    """Uniform noise whose order decides the mask: (B, num_patches) float32 in [0, 1), multiples of 2**-24.

    A counter-based hash of (seed, epoch, sample index, patch): the same bits on every device, whatever the batch,
    and no torch random state is read or moved. `index` is (B,) int64, the samples' numbers in the dataset.
    """
    index = index.to(device=device, dtype=torch.int64, non_blocking=True)
    key = 0x9E3779B9
    for word in (seed & _WORD, (seed >> 32) & _WORD, epoch & _WORD):
        key = _mix(key ^ word)
    keys = _mix(_mix((index & _WORD) ^ key) ^ ((index >> 32) & _WORD))
    # Two keys per sample, one before and one after a mix: with one alone, samples whose keys lie close together would
    # get shifted copies of the same noise.
    second = _mix(keys ^ 0x5BD1E995)
    patches = _mix(torch.arange(1, num_patches + 1, dtype=torch.int64, device=index.device))
    bits = _mix(_mix(keys.unsqueeze(1) ^ patches) ^ second.unsqueeze(1))
    return (bits >> 8).to(torch.float32) * 2.0**-24
