"""PNG files as most tools write them, read in a part of the time that Pillow takes: its filters, not the inflation, are
what costs most there."""

import zlib

import numpy as np

from dailymae_hf._native import pixels

_START = b"\x89PNG\r\n\x1a\n"
_CHUNK = 12  # bytes of a chunk beside its body: length, type, checksum
# 8 bits, RGB, the only compression and set of filters, not interlaced
_PLAIN = b"\x08\x02\x00\x00\x00"
# What changes no pixel of ours: gamma, chromaticities, rendering intent, colour profile, resolution, time, significant
# bits, background. Text may hold an orientation, and tRNS makes a colour transparent: Pillow knows.
_INDIFFERENT = (b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"pHYs", b"tIME", b"sBIT", b"bKGD")


def read_png(data: bytes, most_pixels: int) -> np.ndarray | None:
    """The pixels of a PNG of 8-bit RGB, uint8 (height, width, 4) (`_native.pixels`).

    None where the file is of another kind, has more than `most_pixels`, or anything is wrong with it: Pillow then
    has the word.
    """
    if not data.startswith(_START) or data[12:16] != b"IHDR" or data[24:29] != _PLAIN:
        return None
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if not 0 < width * height <= most_pixels:
        return None
    body = _image_data(data)
    if body is None:
        return None
    inflate, size = zlib.decompressobj(), height * (1 + 3 * width)
    try:
        rows = inflate.decompress(body, size + 1)
    except zlib.error:
        return None
    if len(rows) != size or not inflate.eof:
        return None
    return pixels.png_pixels(rows, (width, height))


def _image_data(data: bytes) -> bytes | None:
    """The bodies of all IDAT chunks; None where any chunk but an indifferent one lies beside them, or is damaged."""
    at, parts = len(_START), []
    while at + _CHUNK <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        body, end = data[at + 8 : at + 8 + length], at + _CHUNK + length
        if end > len(data):
            return None
        if kind == b"IDAT":  # zlib has a checksum of its own
            parts.append(body)
        elif zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            return None
        elif kind == b"IEND":
            return b"".join(parts)
        elif kind not in (b"IHDR", *_INDIFFERENT):
            return None
        at = end
    return None
