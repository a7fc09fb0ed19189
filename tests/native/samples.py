"""JPEG and raw samples of a photograph, and damaged ones, for the kernel's tests and its fuzz corpus."""

import io

import numpy as np
from PIL import Image


def jpeg(image: Image.Image, **options) -> bytes:
    """`image` as a JPEG; options as Pillow's (quality 90 unless given)."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **{"quality": 90, **options})
    return buffer.getvalue()


def decode(data: bytes) -> Image.Image:
    """The whole image by Pillow, RGB."""
    return Image.open(io.BytesIO(data)).convert("RGB")


def pillow_crop(image: Image.Image, box: tuple, size: tuple[int, int], flip: bool = False) -> np.ndarray:
    """Pillow's antialiased bilinear resize of `box` = (left, top, width, height), in floating point: (3, H, W)."""
    left, top, width, height = box
    planes = [
        np.asarray(
            band.convert("F").resize(size[::-1], Image.Resampling.BILINEAR, (left, top, left + width, top + height))
        )
        for band in image.split()
    ]
    crop = np.stack(planes)
    return crop[:, :, ::-1] if flip else crop


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, peak 255."""
    return float(10 * np.log10(255**2 / max(np.mean((a.astype(float) - b) ** 2), 1e-12)))


def segment_offset(data: bytes, marker: int) -> int:
    """Offset of the 0xFF of the first header segment with this marker."""
    at = 2
    while data[at + 1] != marker:
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at


def scan_offset(data: bytes) -> int:
    """Offset of the first entropy-coded byte."""
    at = segment_offset(data, 0xDA)
    return at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")


def with_frame(
    data: bytes, *, marker: int | None = None, precision: int | None = None, size: tuple | None = None
) -> bytes:
    """A baseline JPEG whose frame header claims another kind, precision or (height, width)."""
    out = bytearray(data)
    at = segment_offset(data, 0xC0)
    if marker is not None:
        out[at + 1] = marker
    if precision is not None:
        out[at + 4] = precision
    if size is not None:
        out[at + 5 : at + 9] = size[0].to_bytes(2, "big") + size[1].to_bytes(2, "big")
    return bytes(out)


def restart_offsets(data: bytes) -> list[int]:
    """Offsets of the scan's restart markers."""
    start = scan_offset(data)
    return [i for i in range(start, len(data) - 1) if data[i] == 0xFF and 0xD0 <= data[i + 1] <= 0xD7]
