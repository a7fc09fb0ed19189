"""The quick way to read a PNG: Pillow's pixels, or no answer, so that Pillow is asked."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from dailymae_hf._native import pixels
from dailymae_hf.data.png import read_png
from dailymae_hf.errors import DailyMAEError

MOST = 1 << 26
SIZES = ((1, 1), (2, 3), (31, 17), (203, 149))


def png(image: Image.Image, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def filtered(samples: np.ndarray, filters: list[int]) -> bytes:
    """The file with these filters (PNG specification, section 9), by row in turn."""
    values, rows = samples.astype(int), b""
    height, width = samples.shape[:2]
    zero = np.zeros(3, int)
    for y in range(height):
        kind, row = filters[y % len(filters)], []
        for x in range(width):
            left = values[y, x - 1] if x else zero
            upper = values[y - 1, x] if y else zero
            corner = values[y - 1, x - 1] if x and y else zero
            guess = left + upper - corner
            distance = [abs(guess - left), abs(guess - upper), abs(guess - corner)]
            nearest = np.argmin(distance, axis=0)
            paeth = np.choose(nearest, [left, upper, corner])
            row.append((values[y, x] - [zero, left, upper, (left + upper) // 2, paeth][kind]) % 256)
        rows += bytes([kind]) + np.array(row, np.uint8).tobytes()
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n"
    return start + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_pixels_are_pillows(photographs) -> None:
    for size in SIZES:
        image = photographs[0][1].convert("RGB").resize(size)
        for options in ({}, {"compress_level": 1}, {"optimize": True}, {"dpi": (72, 72)}):
            found = read_png(png(image, **options), MOST)
            assert found is not None
            np.testing.assert_array_equal(found[..., :3], np.asarray(image))


@pytest.mark.parametrize("filters", [[0], [1], [2], [3], [4], [4, 3, 2, 1, 0]])
def test_every_filter(filters: list[int], photographs) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (13, 9, 3), dtype=np.uint8)
    for samples in (noise, np.asarray(photographs[0][1].convert("RGB").resize((19, 12))), noise // 128 * 255):
        data = filtered(samples, filters)
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), samples)
        np.testing.assert_array_equal(read_png(data, MOST)[..., :3], samples)


def test_files_of_another_kind_are_left_to_pillow(photographs) -> None:
    image = photographs[0][1].convert("RGB").resize((31, 17))
    exif = Image.Exif()
    exif[0x0112] = 6
    sixteen = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0))
    for other in (
        png(image.convert("L")),
        png(image.convert("P")),
        png(image.convert("RGBA")),
        png(image, exif=exif),
        png(image, transparency=(0, 0, 0)),
        b"\x89PNG\r\n\x1a\n" + sixteen,
    ):
        assert read_png(other, MOST) is None
    assert read_png(png(image), 31 * 17 - 1) is None


def test_damaged_files_are_left_to_pillow(photographs) -> None:
    data = png(photographs[0][1].convert("RGB").resize((31, 17)))
    idat = data.index(b"IDAT")
    damaged = [data[:length] for length in range(0, len(data), 7)]
    damaged += [data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :] for at in range(8, idat + 40)]
    short = filtered(np.zeros((4, 4, 3), np.uint8), [0]).replace(struct.pack(">II", 4, 4), struct.pack(">II", 4, 5))
    damaged += [short, filtered(np.zeros((4, 4, 3), np.uint8), [0]).replace(b"IEND", b"tEXt")]
    for each in damaged:
        assert read_png(each, MOST) is None


def test_a_filter_that_there_is_not() -> None:
    rows = b"\x05" + bytes(6)
    assert pixels.png_pixels(rows, (2, 1)) is None
    with pytest.raises(DailyMAEError, match="rows of RGB"):
        pixels.png_pixels(rows, (3, 1))
