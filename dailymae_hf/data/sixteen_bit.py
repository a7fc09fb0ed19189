"""16 bits per channel to 8, rounded: round(sample * 255 / 65535). Pillow alone keeps the upper byte of a colour sample.

Its unpackers know both byte orders, and each takes the byte that is the upper one in its order. So a second reading in
the other order gives the lower bytes. That works for PNG and TIFF; of 16-bit colours in other formats (JPEG 2000, SGI)
the upper byte is all there is: 60000 becomes 234 there, where 60000 * 255 / 65535 is 233.
"""

import io
import sys

import numpy as np
from PIL import Image, ImageFile

# The unpacker of a file's upper bytes -> the one that takes the lower ones. N is this machine's own order.
_LOWER_BYTES: dict[str | None, str] = {
    f"{channels};16{order}": f"{channels};16{other}"
    for channels in ("RGB", "RGBX", "RGBA", "CMYK")
    for order, other in (("B", "L"), ("L", "B"), ("N", "B" if sys.byteorder == "little" else "L"))
}
_GRAY_ALPHA = "LA;16B"  # there in one order only: taken apart into four bytes, both of L and both of A
_LOWER_BYTES |= {_GRAY_ALPHA: "RGBA"}


def load_rounded(image: ImageFile.ImageFile, data: bytes) -> None:
    """`image.load()` for an image just opened from `data`, its 16-bit colours rounded to 8 bits.

    Pixels of the one colour that a PNG may declare transparent become white: 8 bits no longer tell which they are.
    """
    unpackers = {_unpacker(tile.args) for tile in image.tile}
    image.load()
    if not unpackers or not unpackers <= _LOWER_BYTES.keys():
        return
    second = Image.open(io.BytesIO(data))
    second.tile = [tile._replace(args=_for_lower_bytes(tile.args)) for tile in second.tile]
    second.load()
    lower = np.asarray(second)
    if _GRAY_ALPHA in unpackers:
        lower = lower[..., [1, 1, 1, 3]]
    samples = np.asarray(image).astype(np.uint16) << 8 | lower
    rounded = to_eight_bits(samples)
    transparent = image.info.pop("transparency", None)
    if transparent is not None:
        rounded[(samples == transparent).all(axis=-1)] = 255
    image.paste(Image.frombytes(image.mode, image.size, rounded.tobytes()))


def to_eight_bits(samples: np.ndarray) -> np.ndarray:
    """Integers 0 to 65535 of any type -> uint8 of the same shape. Raises ValueError for values outside that range."""
    low, high = samples.min(), samples.max()
    if low < 0 or high > 65535:
        raise ValueError(f"an integer image with values {low} to {high}, outside 16 bits")
    return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)  # 65535 / 255 is 257


def _unpacker(args: tuple | str | None) -> str | None:
    return args[0] if isinstance(args, tuple) and args else args if isinstance(args, str) else None


def _for_lower_bytes(args: tuple | str | None) -> tuple | str:
    lower = _LOWER_BYTES[_unpacker(args)]
    return (lower, *args[1:]) if isinstance(args, tuple) else lower
