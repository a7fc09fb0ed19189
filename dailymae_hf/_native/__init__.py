"""The crop-decode kernel, opened with ctypes: plain C behind a handful of functions (see kernel.h).

Needs numpy only. Importing this package does not open the kernel; `load` does, once.
"""

import ctypes
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dailymae_hf.errors import CorruptSampleError, DailyMAEError, MissingDependencyError

OK, TRUNCATED, CORRUPT, UNSUPPORTED, SIZE_MISMATCH, OUT_OF_MEMORY, BAD_ARGUMENT, NO_SPACE, UNREADABLE = range(9)

MODES = {"jpg": 0, "raw": 1, "dct": 2}
SIMD_LEVELS = {"auto": -1, "scalar": 0, "v128": 1, "avx2": 2, "avx512": 3}
RANDOM_RESIZED_CROP, CENTER_CROP = 0, 1
NO_ERROR = np.uint64(2**64 - 1)  # value of PARAMS_DTYPE's first_error while nothing has failed

# struct dmae_params of kernel.h
PARAMS_DTYPE = np.dtype(
    [
        ("seed", "<u8"),
        ("epoch", "<u8"),
        ("scale", "<f8", (2,)),
        ("ratio", "<f8", (2,)),
        ("hflip", "<f8"),
        ("center_ratio", "<f8"),
        ("kind", "<i4"),
        ("simd", "<i4"),
        ("error_count", "<u8"),
        ("first_error", "<u8"),
    ]
)

_MESSAGES = {
    OK: "no error",
    TRUNCATED: "the data ends too early",
    CORRUPT: "the data is damaged",
    UNSUPPORTED: "the data is of a kind that this kernel does not read",
    SIZE_MISMATCH: "the sample's own size is not the one that the file's table gives",
    OUT_OF_MEMORY: "out of memory",
    BAD_ARGUMENT: "an argument is out of range",
    NO_SPACE: "the result does not fit into its buffer",
    UNREADABLE: "its bytes are no longer there: the file was cut or overwritten while it was read, or its disk failed",
}


class _Box(ctypes.Structure):
    _fields_ = [(name, ctypes.c_double) for name in ("left", "top", "width", "height")]


_U32, _U64, _I32, _POINTER = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_int32, ctypes.c_void_p
_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "dmae_decode_sample": (_I32, [_POINTER, _POINTER, _U64, _U32, _U32, _U32, _U64, _POINTER, _U32, _U32]),
    "dmae_crop_decode": (_I32, [_POINTER, _U64, _U32, _U32, _U32, _POINTER, _I32, _I32, _POINTER, _U32, _U32]),
    "dmae_random_resized_crop": (None, [_POINTER, _U64, _U32, _U32, _POINTER, _POINTER]),
    "dmae_center_crop": (None, [_POINTER, _U32, _U32, _U32, _U32, _POINTER]),
    "dmae_simd_level": (_I32, [_I32]),
    "dmae_guard_install": (_I32, []),
}


@cache
def load() -> ctypes.CDLL:
    """The kernel's shared library with its functions' signatures declared.

    Raises:
        MissingDependencyError: the kernel was not built, or its libjpeg is missing.
    """
    path = Path(__file__).with_name("_kernel.so")
    if not path.exists():
        raise MissingDependencyError(
            ".beton files and images are read by a kernel that this installation lacks: there was neither a wheel for "
            "this machine nor a C compiler with libjpeg's headers. Install those (Debian: gcc libc6-dev libjpeg-dev), "
            "then `pip install --force-reinstall --no-deps --no-cache-dir dailymae-hf`, or in a source tree "
            "`python setup.py build_ext --inplace`"
        )
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise MissingDependencyError(f"the crop-decode kernel {path} does not load: {error}") from error
    declare(library, _SIGNATURES)
    return library


def declare(library: ctypes.CDLL, signatures: dict[str, tuple[Any, list[Any]]]) -> None:
    """Tell ctypes the results and arguments of the kernel's functions.

    Raises MissingDependencyError where one is not there: the kernel was built from other sources than these.
    """
    for name, (result, arguments) in signatures.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            raise MissingDependencyError(
                f"the crop-decode kernel {library._name} was built from older sources: build it again with "
                "`pip install -e .` or `python setup.py build_ext --inplace --force`"
            ) from None
        function.restype, function.argtypes = result, arguments


def status_message(code: int) -> str:
    """What a status code of the kernel means, as half a sentence."""
    return _MESSAGES.get(int(code), f"unknown status {int(code)}")


def check_status(code: int, what: str) -> None:
    """Raise for a status other than OK; `what` names the sample.

    Raises:
        CorruptSampleError: the sample's data is at fault.
        MemoryError: out of memory.
        DailyMAEError: the call is at fault.
    """
    if code == OK:
        return
    message = f"{what}: {status_message(code)}"
    if code == OUT_OF_MEMORY:
        raise MemoryError(message)
    raise (DailyMAEError if code == BAD_ARGUMENT else CorruptSampleError)(message)


def simd_level(cap: str = "auto") -> str:
    """Name of the instruction set that the kernel uses here when capped at `cap`."""
    names = {level: name for name, level in SIMD_LEVELS.items()}
    return names[load().dmae_simd_level(SIMD_LEVELS[cap])]


def crop_decode(
    data: bytes | np.ndarray,
    box: tuple[float, float, float, float],
    size: tuple[int, int],
    *,
    height: int,
    width: int,
    flip: bool = False,
    mode: Literal["jpg", "raw", "dct"] = "jpg",
    simd: str = "auto",
) -> np.ndarray:
    """Decode the part `box` of one sample and resize it, antialiased, to `size`.

    Equals `PIL.Image.resize((size[1], size[0]), BILINEAR, box=...)` of the decoded image to within rounding and the
    order of chroma upsampling and resizing.

    Args:
        data: the sample's bytes (any contiguous uint8 array).
        box: (left, top, width, height) in pixels of the image; fractions allowed.
        size: (height, width) of the result.
        height, width: of the whole image, as the file's table says.
        flip: mirror the result left to right.
        mode: how `data` is stored.
        simd: the most of "scalar", "v128", "avx2", "avx512" that may be used; all give the same bytes.

    Returns:
        uint8 (3, size[0], size[1]), contiguous, RGB.

    Raises:
        CorruptSampleError: `data` is damaged, of another size, or of a kind that is not read.
        DailyMAEError: the box does not lie inside the image, or the output size is not positive.
    """
    source = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else np.ascontiguousarray(data, np.uint8)
    if min(size) < 1 or min(height, width) < 0:
        raise DailyMAEError(f"sizes must be positive: output {size}, image {height} x {width}")
    out = np.empty((3, *size), np.uint8)
    status = load().dmae_crop_decode(
        source.ctypes.data,
        source.size,
        MODES[mode],
        height,
        width,
        ctypes.byref(_Box(*box)),
        int(flip),
        SIMD_LEVELS[simd],
        out.ctypes.data,
        *size,
    )
    check_status(status, f"{mode} sample of {source.size} bytes, {width} x {height} pixels, box {tuple(box)}")
    return out


def crop_params(
    *,
    kind: int = RANDOM_RESIZED_CROP,
    seed: int = 0,
    epoch: int = 0,
    scale: tuple[float, float] = (0.2, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    hflip: float = 0.5,
    center_ratio: float = 1.0,
    simd: str = "auto",
) -> np.ndarray:
    """A PARAMS_DTYPE array of one element, errors cleared. Whoever hands its address to the kernel keeps it alive."""
    params = np.zeros(1, PARAMS_DTYPE)
    params["seed"], params["epoch"] = seed, epoch
    params["scale"], params["ratio"] = scale, ratio
    params["hflip"], params["center_ratio"] = hflip, center_ratio
    params["kind"], params["simd"] = kind, SIMD_LEVELS[simd]
    params["first_error"] = NO_ERROR
    return params


def random_resized_crop(params: np.ndarray, sample_index: int, height: int, width: int) -> tuple[tuple, bool]:
    """The box (left, top, width, height), whole pixels, and the flip that the kernel takes for a sample."""
    box, flip = _Box(), _I32()
    load().dmae_random_resized_crop(
        params.ctypes.data, sample_index, height, width, ctypes.byref(box), ctypes.byref(flip)
    )
    return (box.left, box.top, box.width, box.height), bool(flip.value)


def center_crop(params: np.ndarray, height: int, width: int, size: tuple[int, int]) -> tuple:
    """The evaluation box (left, top, width, height), fractional, for an output of `size` = (height, width)."""
    box = _Box()
    load().dmae_center_crop(params.ctypes.data, height, width, *size, ctypes.byref(box))
    return box.left, box.top, box.width, box.height
