"""Mode raw: the pixels themselves, red, green and blue, row by row."""

from PIL import Image

from dailymae_hf.data.modes.storage_mode import StorageMode


class RawMode(StorageMode):
    name = "raw"
    number = 1
    field_magic = None

    def from_pixels(self, rgb: Image.Image, quality: int) -> bytes:
        return rgb.tobytes()

    def from_jpeg(self, jpeg: bytes) -> None:
        return None

    def to_jpeg(self, data: bytes) -> None:
        return None
