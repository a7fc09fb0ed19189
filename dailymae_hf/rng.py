"""Every random draw that decides what is trained on, as a function of (seed, epoch, sample index) and a counter.

No draw reads or moves a random state, so threads, ranks, batches and a resume cannot matter. Three generators, each a
hash or seeded by one; a library's default generator may change with its version, these may not:

- SplitMix64's finaliser (Steele, Lea and Flood 2014) gives 64 bits: the order of an epoch, crops and flips. The kernel
  has the same function in C for crops and flips; `crop_draw` is its definition in Python.
- A 32-bit mixer gives noise on any device: masks, augmentation, mixing.
- NumPy's generator, seeded by the three numbers: crops of images that come with a mask of classes.
"""

from typing import TypeVar

import numpy as np
import torch

_MASK64 = 0xFFFFFFFFFFFFFFFF
_GOLDEN = 0x9E3779B97F4A7C15
_MASK32 = 0xFFFFFFFF
# A bijective 32-bit integer mixer (xorshift-multiply, constants of C. Wellons' hash-prospector search). Both factors
# are below 2**31: the products fit in int64, so CPU and GPU agree to the bit without relying on overflow.
_FACTORS = (0x21F0AAAD, 0x735A2D97)

# What the noise is for. Each use has numbers of its own, so that a mask and a blur of one sample are not correlated.
MASK_STREAM = 0
AUGMENT_STREAM = 0xA06_0000_0000
MIXING_STREAM = 0x313_0000_0000


def epoch_order(num_samples: int, seed: int, epoch: int) -> np.ndarray:
    """A permutation of the samples, uint64 (num_samples,): they are sorted by a hash of (seed, epoch, sample)."""
    key = _mix64(np.array([(seed * _GOLDEN + epoch) & _MASK64], dtype=np.uint64))
    hashes = _mix64(np.arange(num_samples, dtype=np.uint64) * np.uint64(_GOLDEN) + key)
    return np.argsort(hashes, kind="stable").astype(np.uint64)


def crop_draw(seed: int, epoch: int, index: int, counter: int) -> float:
    """Draw number `counter` of a sample's crop, uniform in [0, 1) with 53 bits.

    Counters 2t and 2t + 1 are area and aspect ratio of try t (0 to 9), 20 and 21 the place, 22 the flip.
    """
    key = 0
    for word in (seed, epoch, index, counter):
        mixed = _mix64(np.array([(key + _GOLDEN * (word + 1)) & _MASK64], dtype=np.uint64))
        key = int(mixed[0])
    return (key >> 11) * 2.0**-53


def sample_noise(
    seed: int,
    epoch: int,
    index: torch.Tensor,
    count: int,
    device: torch.device | str | None = None,
    *,
    stream: int = MASK_STREAM,
) -> torch.Tensor:
    """Uniform noise of each sample: (B, count) float32 in [0, 1), multiples of 2**-24, the same bits on every device.

    Args:
        seed, epoch: any integers; the lowest 64 bits of the seed and 32 of the epoch count.
        index: (B,) int64, the samples' numbers in the data set.
        count: numbers for each sample; the first ones do not depend on how many there are.
        device: of the result; by default that of `index`.
        stream: what the numbers are for.
    """
    index = index.to(device=device, dtype=torch.int64, non_blocking=True)
    seed ^= stream
    key = 0x9E3779B9
    for word in (seed & _MASK32, (seed >> 32) & _MASK32, epoch & _MASK32):
        key = _mix32(key ^ word)
    keys = _mix32(_mix32((index & _MASK32) ^ key) ^ ((index >> 32) & _MASK32))
    # Two keys per sample, one before and one after a mix: with one alone, samples whose keys lie close together would
    # get shifted copies of the same noise.
    second = _mix32(keys ^ 0x5BD1E995)
    counters = _mix32(torch.arange(1, count + 1, dtype=torch.int64, device=index.device))
    bits = _mix32(_mix32(keys.unsqueeze(1) ^ counters) ^ second.unsqueeze(1))
    return (bits >> 8).to(torch.float32) * 2.0**-24


def sample_generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """A generator of NumPy's that belongs to one sample in one epoch."""
    return np.random.default_rng([seed, epoch, index])


T = TypeVar("T", int, torch.Tensor)


def _mix32(x: T) -> T:
    x = x ^ (x >> 16)
    x = (x * _FACTORS[0]) & _MASK32
    x = x ^ (x >> 15)
    x = (x * _FACTORS[1]) & _MASK32
    return x ^ (x >> 15)


def _mix64(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
