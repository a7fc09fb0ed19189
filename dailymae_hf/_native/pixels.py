"""What writers do with pixels: read from JPEG and PNG, measured, scaled down, packed.

Pixels are uint8 (height, width, 4): red, green, blue and a byte that is ignored, as Pillow keeps RGB images (its raw
mode "RGBX").
"""

import ctypes
from functools import cache
from typing import Any

import numpy as np

from dailymae_hf._native import CORRUPT, SIMD_LEVELS, UNSUPPORTED, check_status, declare, load
from dailymae_hf._native.codec import grown, new_sums
from dailymae_hf.errors import DailyMAEError


@cache
def _library() -> ctypes.CDLL:
    library = load()
    pointer, u64, i32 = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int32
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "dmae_pack_pixels": (i32, [pointer, i32, i32, i32, i32, pointer, u64, pointer]),
        "dmae_resize_bicubic": (i32, [pointer, i32, i32, pointer, i32, i32]),
        "dmae_jpeg_pixels": (i32, [pointer, u64, i32, pointer, i32, i32]),
        "dmae_png_pixels": (i32, [pointer, i32, i32, pointer]),
        "dmae_pixel_sums": (None, [pointer, u64, pointer]),
    }
    declare(library, signatures)
    return library


def _four_bytes(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 4:
        raise DailyMAEError(f"pixels: {pixels.dtype} {pixels.shape} is not uint8 (height, width, 4)")
    return np.ascontiguousarray(pixels)


def pack_pixels(pixels: np.ndarray, quality: int, simd: str = "auto") -> bytes:
    """Pixels as a packed sample with the coefficients that libjpeg's compressor gives them, without making a JPEG.

    Args:
        pixels: see above.
        quality: 1 to 100, libjpeg's scale. Chroma is 4:2:0.
        simd: the most of "scalar", "v128", "avx2", "avx512" that may be used; all give the same bytes.

    Raises:
        CorruptSampleError: more than 2^26 pixels.
        DailyMAEError: `quality` or a side (1 to 65500) is out of range, or the array is of another kind.
    """
    pixels = _four_bytes(pixels)
    height, width = pixels.shape[:2]
    arguments = pixels.ctypes.data, height, width, quality, SIMD_LEVELS[simd]
    what = f"{width} x {height} pixels at quality {quality}"
    return grown(_library().dmae_pack_pixels, arguments, pixels.size // 6 + 4096, what)


def resize_bicubic(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """What Pillow's `resize((width, height), BICUBIC)` gives, byte for byte, in a fraction of its time.

    Where the two sides are scaled very differently Pillow may take columns first, and bytes then differ by rounding.

    Args:
        pixels: see above; any four channels.
        size: (width, height) of the result, as Pillow has it.

    Returns:
        uint8 (size[1], size[0], 4).

    Raises:
        DailyMAEError: a side is not positive, or the array is of another kind.
    """
    pixels = _four_bytes(pixels)
    height, width = pixels.shape[:2]
    out = np.empty((size[1], size[0], 4), np.uint8)
    status = _library().dmae_resize_bicubic(pixels.ctypes.data, height, width, out.ctypes.data, size[1], size[0])
    check_status(status, f"{width} x {height} pixels to {size[0]} x {size[1]}")
    return out


def jpeg_pixels(data: bytes, size: tuple[int, int], denominator: int = 1) -> np.ndarray | None:
    """A JPEG decoded, and where it is of another size resized in the same go: the pixels of Pillow's `draft` to
    1 / denominator of its size and of its `resize(size, BICUBIC)`.

    Args:
        data: a JPEG of gray or YCbCr.
        size: (width, height) of the result, as stored: the EXIF orientation is not applied.
        denominator: 1, 2, 4 or 8.

    Returns:
        The pixels; None where the JPEG is of another colour or anything is wrong with it, so that Pillow should be
        asked.

    Raises:
        DailyMAEError: a side is not positive, or the denominator is none of the four.
    """
    out = np.empty((size[1], size[0], 4), np.uint8)
    status = _library().dmae_jpeg_pixels(data, len(data), denominator, out.ctypes.data, size[1], size[0])
    if status == UNSUPPORTED:
        return None
    check_status(status, f"JPEG of {len(data)} bytes to {size[0]} x {size[1]} at 1/{denominator}")
    return out


def png_pixels(rows: bytes, size: tuple[int, int]) -> np.ndarray | None:
    """The pixels of a PNG's inflated rows, height * (1 + 3 * width) bytes of 8-bit RGB; None where a row has a filter
    that there is not. `size` is (width, height)."""
    width, height = size
    if len(rows) != height * (1 + 3 * width):
        raise DailyMAEError(f"{len(rows)} bytes are no {width} x {height} rows of RGB")
    out = np.empty((height, width, 4), np.uint8)
    status = _library().dmae_png_pixels(rows, height, width, out.ctypes.data)
    if status == CORRUPT:
        return None
    check_status(status, f"{width} x {height} rows of a PNG")
    return out


def pixel_sums(pixels: np.ndarray) -> Any:
    """Sums of the values of red, green and blue, then of their squares (`codec.new_sums`)."""
    pixels = _four_bytes(pixels)
    sums = new_sums()
    _library().dmae_pixel_sums(pixels.ctypes.data, pixels.size // 4, sums)
    return sums
