"""Mean and standard deviation of a set of images, measured on all of a small one and on a hash's choice of a larger.

Images are chosen by a hash of their encoded bytes: the same images give the same figures in whatever order they come,
from a folder, from shards or from a stream whose length nobody knows.
"""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

_HASHES = 1 << 32
# A hash's choice is never exact: 4,480 expected images are over 4,096 but once in a billion sets.
_EXPECTED = 4480


class Moments(NamedTuple):
    """Of the pixels of one image: integers, so that any order of adding them gives the same sums."""

    content_hash: int
    pixels: int
    totals: tuple[int, ...]  # per channel, of values 0 to 255
    squares: tuple[int, ...]


def image_hash(data: bytes) -> int:
    """A number below 2^32 from an image's encoded bytes."""
    return zlib.crc32(data)


def image_moments(content_hash: int, pixels: int, sums: Sequence[int]) -> Moments:
    """The moments of an image of so many pixels with these sums (`_native.codec.new_sums`)."""
    return Moments(content_hash, pixels, tuple(sums[:3]), tuple(sums[3:]))


def hash_limit(images: int) -> int:
    """Images whose hash is below this are measured, of a set of so many: all of them below 8,960, else the limit is
    halved until 4,480 to 8,960 are expected."""
    halvings = max(0, (images // _EXPECTED).bit_length() - 1)
    return _HASHES >> halvings


@dataclass
class PixelStatistics:
    """Collects the moments of a set. `images` is its size; None for a stream, where the limit falls as images come, and
    those that it has left above it are dropped."""

    images: int | None
    seen: int = 0
    moments: list[Moments] = field(default_factory=list)

    def next_limit(self) -> int:
        """The hash limit for the next image."""
        self.seen += 1
        return self._limit()

    def _limit(self) -> int:
        return hash_limit(self.seen if self.images is None else self.images)

    def add(self, moments: Moments | None) -> None:
        if moments is not None:
            self.moments.append(moments)
        if self.images is None and len(self.moments) > 4 * _EXPECTED:
            self._drop()

    def _drop(self) -> None:
        limit = self._limit()
        self.moments = [moments for moments in self.moments if moments.content_hash < limit]

    def facts(self) -> dict[str, Any]:
        """Mean and standard deviation per channel of pixels in 0 to 1, and what they were measured on."""
        self._drop()
        if not self.moments:
            return {}
        _, pixels, totals, squares = zip(*self.moments, strict=True)
        sums = [[sum(of_channel) for of_channel in zip(*values, strict=True)] for values in (totals, squares)]
        return _facts(len(self.moments), sum(pixels), *sums)


def pooled(all_facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The facts of several parts of a set as those of the whole; parts of older writers hold no sums, only rounded
    figures."""
    pixels = [facts["measured_pixels"] for facts in all_facts]
    sums: list[list[float]] = []
    for power, name in enumerate(("totals", "squares"), 1):
        parts = [facts.get("measured_sums", {}).get(name) or _sums(facts, power) for facts in all_facts]
        sums.append([sum(of_channel) for of_channel in zip(*parts, strict=True)])
    return _facts(sum(facts["measured_images"] for facts in all_facts), sum(pixels), *sums)


def _sums(facts: Mapping[str, Any], power: int) -> list[float]:
    """Of values, or of their squares, from a rounded mean and standard deviation."""
    pixels = facts["measured_pixels"]
    if power == 1:
        return [255 * pixels * mean for mean in facts["mean"]]
    return [255**2 * pixels * (std**2 + mean**2) for mean, std in zip(facts["mean"], facts["std"], strict=True)]


def _facts(images: int, pixels: int, totals: Sequence[float], squares: Sequence[float]) -> dict[str, Any]:
    mean = [total / pixels / 255 for total in totals]
    variance = [square / pixels / 255**2 - m**2 for square, m in zip(squares, mean, strict=True)]
    return {
        "mean": [round(m, 4) for m in mean],
        "std": [round(math.sqrt(max(0.0, v)), 4) for v in variance],
        "measured_images": images,
        "measured_pixels": pixels,
        "measured_sums": {"totals": list(totals), "squares": list(squares)},
    }
