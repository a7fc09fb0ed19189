"""What writers call: lossless conversions between JPEG and packed samples. What pixels go through is in pixels.py.

Conversions carry coefficients over bit for bit: none decodes to pixels and compresses again. The packed format is
specified in docs/packed-dct.md.
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from dailymae_hf._native import NO_SPACE, SIMD_LEVELS, check_status, declare, load

_COLORS = {1: "gray", 2: "ycc", 3: "rgb", 4: "cmyk", 5: "ycck"}
_FIRST_SIDEWAYS = 5  # EXIF orientations 5 to 8 swap width and height


class _Facts(ctypes.Structure):  # struct dmae_jpeg_facts of kernel.h
    _fields_ = [
        ("width", ctypes.c_int32),
        ("height", ctypes.c_int32),
        ("components", ctypes.c_int32),
        ("color", ctypes.c_int32),
        ("h", ctypes.c_int32 * 4),
        ("v", ctypes.c_int32 * 4),
        ("precision", ctypes.c_int32),
        ("progressive", ctypes.c_int32),
        ("arithmetic", ctypes.c_int32),
        ("orientation", ctypes.c_int32),
        ("restart_interval", ctypes.c_int32),
        ("lossless", ctypes.c_int32),
    ]


class _Plane(ctypes.Structure):  # struct dmae_plane of internal.h
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("stride", ctypes.c_ssize_t),
        ("x0", ctypes.c_int32),
        ("y0", ctypes.c_int32),
        ("width", ctypes.c_int32),
        ("height", ctypes.c_int32),
        ("scale_x", ctypes.c_double),
        ("scale_y", ctypes.c_double),
    ]


class _Planes(ctypes.Structure):  # struct dmae_planes of internal.h
    _fields_ = [("count", ctypes.c_int32), ("color", ctypes.c_int32), ("plane", _Plane * 4)]


@dataclass(frozen=True)
class JpegHeader:
    """What a JPEG's header says. `width` and `height` are as stored, before the EXIF orientation is applied."""

    width: int
    height: int
    components: int
    color: str  # "gray", "ycc", "rgb", "cmyk", "ycck" or "other"
    sampling: tuple[tuple[int, int], ...]  # (horizontal, vertical) factor per component
    precision: int  # bits per sample
    progressive: bool
    arithmetic: bool
    orientation: int  # 1..8 as in EXIF
    restart_interval: int  # MCUs, 0: no restart markers
    can_carry_over: bool  # whether restart_jpeg and pack_jpeg can keep its coefficients, orientation included

    @property
    def upright_size(self) -> tuple[int, int]:
        """(width, height) once the orientation is applied."""
        return (self.height, self.width) if self.orientation >= _FIRST_SIDEWAYS else (self.width, self.height)


@dataclass(frozen=True)
class Plane:
    """One decoded component, cut to the blocks that a region touches (struct dmae_plane of internal.h)."""

    samples: np.ndarray  # uint8 (height, width)
    origin: tuple[int, int]  # (x, y) of samples[0, 0] in the whole component, in its samples
    scale: tuple[float, float]  # samples per image pixel along x and y


@cache
def _library() -> ctypes.CDLL:
    library = load()
    pointer, u64, u32, i32 = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_int32
    signatures: dict[str, list[Any]] = {
        "dmae_jpeg_read_facts": [pointer, u64, pointer],
        "dmae_transcode_jpeg": [pointer, u64, i32, pointer, pointer, u64, pointer],
        "dmae_pack_jpeg": [pointer, u64, pointer, pointer, u64, pointer],
        "dmae_unpack_to_jpeg": [pointer, u64, i32, pointer, u64, pointer],
        "dmae_packed_read_planes": [pointer, u64, u32, u32, pointer, i32, i32, pointer],
    }
    declare(library, {name: (i32, arguments) for name, arguments in signatures.items()})
    return library


def grown(function: Callable[..., int], arguments: tuple[Any, ...], capacity: int, what: str) -> bytes:
    """What a function of the kernel writes, given `capacity` bytes for it, and where these are too few as many as it
    then asks for. `what` names the sample in errors (`check_status`)."""
    written = ctypes.c_uint64()
    while True:
        out = np.empty(capacity, np.uint8)
        status = function(*arguments, out.ctypes.data, capacity, ctypes.byref(written))
        if status != NO_SPACE:
            check_status(status, what)
            return out[: written.value].tobytes()
        capacity = written.value


def _convert(function: Callable[..., int], data: bytes, options: tuple[Any, ...], capacity: int, what: str) -> bytes:
    return grown(function, (data, len(data), *options), capacity, f"{what} of {len(data)} bytes")


def jpeg_header(data: bytes) -> JpegHeader:
    """Read a JPEG's header only.

    Raises:
        CorruptSampleError: not a JPEG, of a kind that libjpeg does not read (12-bit, lossless), or damaged before its
            first scan.
    """
    facts = _Facts()
    check_status(_library().dmae_jpeg_read_facts(data, len(data), ctypes.byref(facts)), f"JPEG of {len(data)} bytes")
    return JpegHeader(
        width=facts.width,
        height=facts.height,
        components=facts.components,
        color=_COLORS.get(facts.color, "other"),
        sampling=tuple(zip(facts.h[: facts.components], facts.v[: facts.components], strict=True)),
        precision=facts.precision,
        progressive=bool(facts.progressive),
        arithmetic=bool(facts.arithmetic),
        orientation=facts.orientation,
        restart_interval=facts.restart_interval,
        can_carry_over=facts.lossless == 0,
    )


def new_sums() -> Any:
    """Room for the sums of pixels' red, green and blue values, then of their squares: six unsigned 64-bit numbers."""
    return (ctypes.c_uint64 * 6)()


def restart_jpeg(data: bytes, interval: int = 0, sums: Any = None) -> bytes:
    """The same coefficients as a baseline JPEG with restart markers, upright, without EXIF, ICC and comments.

    Quantisation tables and colour meaning (JFIF or Adobe marker) stay; Huffman tables are made for the image.

    Args:
        data: a JPEG, baseline or progressive, of one or three components.
        interval: MCUs between restart markers, up to 65535; 0 chooses about twelve blocks (2 MCUs of 4:2:0).
        sums: `new_sums()` to set to those of the decoded image, or None.

    Raises:
        CorruptSampleError: damaged, or of a kind that cannot be carried over (see `JpegHeader.can_carry_over`).
        DailyMAEError: `interval` is out of range.
    """
    return _convert(_library().dmae_transcode_jpeg, data, (interval, sums), len(data) + len(data) // 4 + 4096, "JPEG")


def pack_jpeg(data: bytes, sums: Any = None) -> bytes:
    """The coefficients of a JPEG as a packed sample (docs/packed-dct.md), upright. Measures and raises as
    `restart_jpeg` does."""
    return _convert(_library().dmae_pack_jpeg, data, (sums,), 2 * len(data) + 4096, "JPEG")


def unpack_to_jpeg(data: bytes, interval: int = 0) -> bytes:
    """The coefficients of a packed sample as the JPEG that `restart_jpeg` would have written of it.

    Raises:
        CorruptSampleError: not a packed sample of a version known here, or damaged.
        DailyMAEError: `interval` is out of range.
    """
    return _convert(_library().dmae_unpack_to_jpeg, data, (interval,), len(data) + 4096, "packed sample")


def packed_planes(
    data: bytes, size: tuple[int, int], region: tuple[int, int, int, int], scale: int = 8, simd: str = "auto"
) -> list[Plane]:
    """Decode the part of a packed sample that a crop needs, as the kernel does before it resamples.

    Args:
        data: a packed sample.
        size: (height, width) of the image.
        region: (x0, y0, x1, y1) in pixels, end exclusive.
        scale: side of a block after the inverse DCT: 8 (full size), 4, 2 or 1. A subsampled component is reduced less,
            by libjpeg's rule.
        simd: the most of "scalar", "v128", "avx2", "avx512" that may be used; all give the same bytes.

    Raises:
        CorruptSampleError: damaged, or of another size.
        DailyMAEError: the region does not lie inside the image, or the scale is not one of the four.
    """
    planes = _Planes()
    corners = (ctypes.c_int32 * 4)(*region)
    status = _library().dmae_packed_read_planes(
        data, len(data), *size, corners, scale, SIMD_LEVELS[simd], ctypes.byref(planes)
    )
    check_status(status, f"packed sample of {len(data)} bytes, region {tuple(region)}")
    return [_copy(plane) for plane in planes.plane[: planes.count]]


def _copy(plane: _Plane) -> Plane:
    rows = (ctypes.c_uint8 * (plane.stride * plane.height)).from_address(plane.data)
    samples = np.frombuffer(rows, np.uint8).reshape(plane.height, plane.stride)[:, : plane.width].copy()
    return Plane(samples, (plane.x0, plane.y0), (plane.scale_x, plane.scale_y))
