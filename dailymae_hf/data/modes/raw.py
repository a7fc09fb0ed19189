"""Mode raw: the pixels themselves, red, green and blue, row by row."""

from typing import Any

from dailymae_hf.data.modes.storage_mode import StorageMode
from dailymae_hf.data.pixels import Pixels


class RawMode(StorageMode):
    name = "raw"
    number = 1
    field_magic = None

    def from_pixels(self, pixels: Pixels, quality: int) -> bytes:
        return pixels.image.tobytes()

    def from_jpeg(self, jpeg: bytes, sums: Any = None) -> None:
        return None

    def to_jpeg(self, data: bytes) -> None:
        return None
