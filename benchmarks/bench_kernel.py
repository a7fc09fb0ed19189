"""Where a crop's microseconds go: unpacking, inverse DCT, resizing, and the rest of the call, on one thread.

    python benchmarks/bench_kernel.py [--count 200] [--folder MY_PHOTOS] [--out benchmarks/results/kernel.json]

The kernel is compiled once more with a stop-watch around its pieces (kernel_pieces.c; needs a C compiler), and decodes
random resized crops (scale .2 to 1) of photographs in each form of storage. Times are the thread's own processor time,
the least of several rounds; the clock itself costs well under a microsecond per crop. What a JPEG costs to read is one
number: libjpeg decodes and transforms it a row at a time. With `--loader`, whole epochs of
BetonLoader with one and with two threads are timed, too: what is left over is FFCV's engine and PyTorch.
"""

import argparse
import ctypes
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from environment import environment
from photos import write_photos

from dailymae_hf import _native
from dailymae_hf._native import codec

ROUNDS = 7
LOADER_IMAGES = 6000  # an epoch has to be long beside what it costs to begin one
SIDES = (224, 192, 160, 128, 96)
KERNEL = Path(_native.__file__).parent
# How a photograph is stored: the kernel's mode, and what makes its bytes from a JPEG's.
STORAGE: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "dct": (_native.MODES["dct"], codec.pack_jpeg),
    "jpg": (_native.MODES["jpg"], codec.restart_jpeg),
    "jpg of stock ffcv": (_native.MODES["jpg"], lambda jpeg: jpeg),
}


def build(folder: Path) -> ctypes.CDLL:
    """The kernel with its stop-watch, compiled as setup.py compiles it."""
    included = {KERNEL / "crop_decode.c", KERNEL / "jpeg" / "planes.c", KERNEL / "packed" / "planes.c"}
    sources = [str(path) for path in sorted(KERNEL.rglob("*.c")) if path not in included]
    library = folder / "kernel_pieces.so"
    flags = ["-std=c11", "-O3", "-ffp-contract=off", "-fPIC", "-shared", "-fvisibility=hidden", f"-I{KERNEL}"]
    driver = str(Path(__file__).with_name("kernel_pieces.c"))
    subprocess.run(["cc", *flags, driver, *sources, "-ljpeg", "-lm", "-o", str(library)], check=True)
    return ctypes.CDLL(str(library))


class Samples:
    """Stored photographs as the kernel takes them."""

    def __init__(self, stored: list[bytes], sizes: list[tuple[int, int]], mode: int) -> None:
        self.arrays = [np.frombuffer(data, np.uint8) for data in stored]
        self.pointers = (ctypes.c_void_p * len(stored))(*[array.ctypes.data for array in self.arrays])
        self.bytes = np.array([array.size for array in self.arrays], np.uint64)
        self.heights, self.widths = (np.array(column, np.uint32) for column in zip(*sizes, strict=True))
        self.mode = mode


def split(library: ctypes.CDLL, samples: Samples, side: int, simd: str) -> dict[str, float]:
    """Microseconds per crop by piece, the least of ROUNDS rounds over other crops each."""
    params = _native.crop_params(simd=simd)
    out = np.empty((3, side, side), np.uint8)
    count = len(samples.arrays)

    def run(index: int, transform: bool) -> np.ndarray:
        seconds = np.zeros(3)
        failed = library.dmae_time_pieces(
            ctypes.c_void_p(params.ctypes.data), count, samples.pointers, ctypes.c_void_p(samples.bytes.ctypes.data),
            samples.mode, ctypes.c_void_p(samples.heights.ctypes.data), ctypes.c_void_p(samples.widths.ctypes.data),
            ctypes.c_uint64(index), ctypes.c_void_p(out.ctypes.data), side, int(transform),
            ctypes.c_void_p(seconds.ctypes.data),
        )  # fmt: skip
        assert failed == 0
        return seconds * 1e6 / count

    run(0, True)
    whole, read, resample = np.min([run(0, True) for _ in range(ROUNDS)], axis=0)
    pieces = {"read": read}  # libjpeg decodes and transforms a row at a time
    if samples.mode == _native.MODES["dct"]:
        unpack = min(run(0, False)[1] for _ in range(ROUNDS))
        pieces = {"unpack": unpack, "dct": read - unpack}
    pieces |= {"resample": resample, "rest": whole - read - resample}
    return {name: round(float(value), 1) for name, value in {**pieces, "total": whole}.items()}


def epoch_microseconds(loader: Any, epoch: int) -> float:
    """Wall-clock microseconds per image of a whole epoch."""
    loader.set_epoch(epoch)
    start, images = time.perf_counter(), 0
    for batch in loader:
        images += len(batch["pixel_values"])
    return (time.perf_counter() - start) * 1e6 / images


def measure_loader(paths: list[Path], folder: Path) -> dict[str, Any]:
    """Epochs with one thread and with two by turns, the least of each; the file is in memory by then."""
    from betons import write_ours

    from dailymae_hf.data import BetonLoader

    beton = folder / "dct.beton"
    write_ours(paths * -(-LOADER_IMAGES // len(paths)), beton, "dct")
    result = {}
    for side in SIDES:
        loaders = [BetonLoader(beton, 64, resolution=side, num_workers=threads, seed=0) for threads in (1, 2)]
        rounds = [[epoch_microseconds(loader, epoch) for loader in loaders] for epoch in range(2 * ROUNDS + 1)]
        one, two = (round(least, 1) for least in np.min(rounds[1:], axis=0))
        for loader in loaders:
            loader.close()
        result[str(side)] = {"1 thread": one, "2 threads": two, "speed-up": round(one / two, 2)}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--data", type=Path, default=Path("outputs/bench"), help="where the photographs are or go")
    parser.add_argument("--folder", type=Path, help="JPEG photographs of yours instead of the packages'")
    parser.add_argument("--loader", action="store_true", help="time whole epochs of the loader, too")
    parser.add_argument("--out", type=Path, help="a JSON file for the result")
    args = parser.parse_args()
    paths = write_photos(args.data / "kernel", count=args.count, folder=args.folder)
    jpegs = [path.read_bytes() for path in paths]
    sizes = [(header.height, header.width) for header in map(codec.jpeg_header, jpegs)]
    levels = [name for name in ("avx512", "avx2", "v128", "scalar") if _native.simd_level(name) == name]
    result: dict[str, Any] = {"environment": environment(), "count": args.count, "microseconds_per_crop": {}}
    with tempfile.TemporaryDirectory() as folder:
        library = build(Path(folder))
        for name, (mode, convert) in STORAGE.items():
            samples = Samples([convert(jpeg) for jpeg in jpegs], sizes, mode)
            result["microseconds_per_crop"][name] = {
                level: {str(side): split(library, samples, side, level) for side in SIDES}
                for level in (levels if name == "dct" else levels[:1])
            }
        if args.loader:
            result["loader_microseconds_per_image"] = measure_loader(paths, Path(folder))
    text = json.dumps(result, indent=2)
    print(text)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
