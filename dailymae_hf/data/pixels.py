"""Pillow's images as arrays."""

import numpy as np
from PIL import Image


def four_byte_pixels(rgb: Image.Image) -> np.ndarray:
    """uint8 (height, width, 4) of an RGB image: as Pillow keeps it in memory, the fourth byte is padding."""
    return np.frombuffer(rgb.tobytes("raw", "RGBX"), np.uint8).reshape(rgb.height, rgb.width, 4)
