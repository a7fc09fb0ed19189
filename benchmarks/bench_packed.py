"""What packed samples cost: their size beside the JPEG's, and processor time per crop at every instruction set.

    python benchmarks/bench_packed.py [--count 100] [--folder MY_PHOTOS] [--out benchmarks/results/packed.json]

One thread. A crop is a random resized crop (scale .2 to 1) of a photograph, from packed bytes to YCbCr planes; each is
timed by the thread's own clock and the fastest of several tries counts, so that other work on the machine hardly
shows. Decoding to 1/8 takes the means alone (and 2x2 of subsampled chroma): nearly the price of unpacking.
"""

import argparse
import ctypes
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from environment import environment
from photos import write_photos

from dailymae_hf import _native
from dailymae_hf._native import codec

QUALITIES = (90, 95)
TRIES = 5


def microseconds(function: Callable[..., Any], *arguments: Any) -> float:
    """Processor time of one call, the fastest of `TRIES`."""
    best = float("inf")
    for _ in range(TRIES):
        start = time.thread_time_ns()
        function(*arguments)
        best = min(best, time.thread_time_ns() - start)
    return best / 1000


def mean(values: list[float]) -> float:
    return round(sum(values) / len(values), 1)


def crop_regions(headers: list[codec.JpegHeader]) -> list[tuple[int, int, int, int]]:
    """The whole-pixel box of each photograph's crop as (x0, y0, x1, y1)."""
    params = _native.crop_params(seed=0)
    boxes = [_native.random_resized_crop(params, i, h.height, h.width)[0] for i, h in enumerate(headers)]
    return [(int(x), int(y), int(x + width), int(y + height)) for x, y, width, height in boxes]


def measure_crops(samples: list[bytes], headers: list[codec.JpegHeader], scale: int, simd: str) -> float:
    """Microseconds per crop from packed bytes to planes in the kernel's scratch memory."""
    read, planes = codec._library().dmae_packed_read_planes, ctypes.byref(codec._Planes())
    level, times = _native.SIMD_LEVELS[simd], []
    for data, header, region in zip(samples, headers, crop_regions(headers), strict=True):
        arguments = data, len(data), header.height, header.width, (ctypes.c_int32 * 4)(*region), scale, level, planes
        assert read(*arguments) == _native.OK
        times.append(microseconds(read, *arguments))
    return mean(times)


def measure(jpegs: list[bytes]) -> dict[str, Any]:
    headers = [codec.jpeg_header(jpeg) for jpeg in jpegs]
    samples = [codec.pack_jpeg(jpeg) for jpeg in jpegs]
    total = sum(map(len, jpegs))
    levels = [name for name in ("scalar", "v128", "avx2", "avx512") if _native.simd_level(name) == name]
    conversions: dict[str, Callable[..., Any]] = {
        function.__name__: function for function in (codec.jpeg_header, codec.restart_jpeg, codec.pack_jpeg)
    }
    times = {name: mean([microseconds(f, j) for j in jpegs]) for name, f in conversions.items()}
    times["unpack_to_jpeg"] = mean([microseconds(codec.unpack_to_jpeg, s) for s in samples])
    return {
        "jpeg_bytes": round(total / len(jpegs)),
        "packed_ratio": round(sum(map(len, samples)) / total, 3),
        "restart_ratio": round(sum(len(codec.restart_jpeg(jpeg)) for jpeg in jpegs) / total, 4),
        "microseconds_per_image": times,
        "microseconds_per_crop": {
            name: {f"{scale}/8": measure_crops(samples, headers, scale, name) for scale in (8, 4, 2, 1)}
            for name in levels
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--data", type=Path, default=Path("outputs/bench"), help="where the photographs are or go")
    parser.add_argument("--folder", type=Path, help="JPEG photographs of yours instead of the packages'")
    parser.add_argument("--out", type=Path, help="a JSON file for the result")
    args = parser.parse_args()
    result: dict[str, Any] = {"environment": environment(), "count": args.count, "quality": {}}
    for quality in QUALITIES:
        out = args.data / f"packed-q{quality}"
        paths = write_photos(out, count=args.count, quality=quality, folder=args.folder)
        result["quality"][str(quality)] = measure([path.read_bytes() for path in paths])
    text = json.dumps(result, indent=2)
    print(text)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
