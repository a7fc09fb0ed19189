"""Mode jpg: a legal JPEG with restart markers, so that a crop decodes alone."""

import io
from typing import Any

from dailymae_hf._native import codec
from dailymae_hf.data.image_fault import images_fault
from dailymae_hf.data.modes.storage_mode import StorageMode
from dailymae_hf.data.pixels import Pixels

_RESTART_MCUS = 2  # 4:2:0 MCUs between restart markers, as codec.restart_jpeg puts them


class JpgMode(StorageMode):
    name = "jpg"
    number = 0
    field_magic = None

    def from_pixels(self, pixels: Pixels, quality: int) -> bytes:
        buffer = io.BytesIO()
        with images_fault():
            pixels.image.save(buffer, "JPEG", quality=quality, subsampling="4:2:0", restart_marker_blocks=_RESTART_MCUS)
        return buffer.getvalue()

    def from_jpeg(self, jpeg: bytes, sums: Any = None) -> bytes:
        return codec.restart_jpeg(jpeg, sums=sums)

    def to_jpeg(self, data: bytes) -> bytes:
        return data
