"""libjpeg as an independent witness, and JPEGs of every chroma layout."""

import ctypes
import io
import shutil
import subprocess
import tempfile
from functools import cache, lru_cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

LAYOUTS = ("gray", "4:4:4", "4:2:2", "4:2:0", "4:4:0", "4:1:1")


@cache
def _library() -> ctypes.CDLL:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "libjpeg_reference.so"
        source = Path(__file__).with_suffix(".c")
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", source, "-o", library, "-ljpeg"], check=True)
        return ctypes.CDLL(str(library))


def _call(function, data: bytes, *arguments) -> int:
    return function(
        data,
        ctypes.c_long(len(data)),
        *(a.ctypes.data_as(ctypes.c_void_p) if isinstance(a, np.ndarray) else a for a in arguments),
    )


def read_coefficients(data: bytes) -> list[tuple[np.ndarray, np.ndarray]]:
    """Per component: quantised coefficients, int16 (blocks high, blocks wide, 8, 8); its table, uint16 (8, 8)."""
    shape, quant, out = np.zeros(8, np.int32), np.zeros((4, 8, 8), np.uint16), np.zeros(2**22, np.int16)
    found, at = [], 0
    for c in range(_call(_library().reference_coefficients, data, shape, quant, out)):
        high, wide = shape[2 * c : 2 * c + 2]
        found.append((out[at : at + high * wide * 64].reshape(high, wide, 8, 8).copy(), quant[c].copy()))
        at += high * wide * 64
    return found


@lru_cache(64)
def read_planes(data: bytes, scale: int = 8) -> list[np.ndarray]:
    """Per component: samples before upsampling and colour conversion, uint8 (height, width), at `scale` / 8."""
    shape, out = np.zeros(8, np.int32), np.zeros(2**22, np.uint8)
    found, at = [], 0
    for c in range(_call(_library().reference_planes, data, scale, shape, out)):
        high, wide = shape[2 * c : 2 * c + 2]
        found.append(out[at : at + high * wide].reshape(high, wide).copy())
        at += high * wide
    return found


def same_coefficients(a: bytes, b: bytes) -> bool:
    """Whether two JPEGs hold the same components with the same coefficients and tables."""
    one, two = read_coefficients(a), read_coefficients(b)
    return len(one) == len(two) and all(
        np.array_equal(x, y) for left, right in zip(one, two, strict=True) for x, y in zip(left, right, strict=True)
    )


def arithmetic_coded(data: bytes) -> bytes:
    """The same coefficients as an arithmetic-coded JPEG."""
    out = np.zeros(2 * len(data) + 4096, np.uint8)
    function = _library().reference_arithmetic
    function.restype = ctypes.c_long
    return out[: _call(function, data, out, ctypes.c_long(len(out)))].tobytes()


def encode_jpeg(image: Image.Image, layout: str = "4:2:0", *, quality: int = 90, progressive: bool = False) -> bytes:
    """A JPEG with one of `LAYOUTS`."""
    if layout == "gray":
        buffer = io.BytesIO()
        image.convert("L").save(buffer, "JPEG", quality=quality, progressive=progressive)
        return buffer.getvalue()
    factor = getattr(cv2, "IMWRITE_JPEG_SAMPLING_FACTOR_" + layout.replace(":", ""))
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor]
    options += [cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)]
    return cv2.imencode(".jpg", np.asarray(image.convert("RGB"))[..., ::-1], options)[1].tobytes()
