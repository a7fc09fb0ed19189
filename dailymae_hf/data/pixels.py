"""The pixels of one RGB image, as Pillow holds them or as the kernel does; each is made of the other when asked for."""

from functools import cached_property

import numpy as np
from PIL import Image


class Pixels:
    """An upright image of 8-bit RGB, from a Pillow image or from an array as `array` is."""

    def __init__(self, source: Image.Image | np.ndarray) -> None:
        if isinstance(source, np.ndarray):
            self.array = source
            self.width, self.height = source.shape[1], source.shape[0]
        else:
            self.image = source
            self.width, self.height = source.size

    @cached_property
    def image(self) -> Image.Image:
        """Mode RGB."""
        return Image.frombytes("RGB", (self.width, self.height), self.array.data.cast("B"), "raw", "RGBX")

    @cached_property
    def array(self) -> np.ndarray:
        """uint8 (height, width, 4): red, green, blue, padding."""
        return np.frombuffer(self.image.tobytes("raw", "RGBX"), np.uint8).reshape(self.height, self.width, 4)
