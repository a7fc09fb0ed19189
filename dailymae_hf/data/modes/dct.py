"""Mode dct: a JPEG's coefficients, packed for fast reading (docs/packed-dct.md)."""

from PIL import Image

from dailymae_hf._native import codec
from dailymae_hf.data.modes.storage_mode import StorageMode
from dailymae_hf.data.pixels import four_byte_pixels


class DctMode(StorageMode):
    name = "dct"
    number = 2
    field_magic = b"DMAEDCT"

    def from_pixels(self, rgb: Image.Image, quality: int) -> bytes:
        """The coefficients of the JPEG that mode jpg would store, without making it."""
        return codec.pack_pixels(four_byte_pixels(rgb), quality)

    def from_jpeg(self, jpeg: bytes) -> bytes:
        return codec.pack_jpeg(jpeg)

    def to_jpeg(self, data: bytes) -> bytes:
        return codec.unpack_to_jpeg(data)
