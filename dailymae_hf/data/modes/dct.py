"""Mode dct: a JPEG's coefficients, packed for fast reading (docs/packed-dct.md)."""

from typing import Any

from dailymae_hf._native import codec
from dailymae_hf._native.pixels import pack_pixels
from dailymae_hf.data.modes.storage_mode import StorageMode
from dailymae_hf.data.pixels import Pixels


class DctMode(StorageMode):
    name = "dct"
    number = 2
    field_magic = b"DMAEDCT"

    def from_pixels(self, pixels: Pixels, quality: int) -> bytes:
        """The coefficients of the JPEG that mode jpg would store, without making it."""
        return pack_pixels(pixels.array, quality)

    def from_jpeg(self, jpeg: bytes, sums: Any = None) -> bytes:
        return codec.pack_jpeg(jpeg, sums)

    def to_jpeg(self, data: bytes) -> bytes:
        return codec.unpack_to_jpeg(data)
