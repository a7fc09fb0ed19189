"""The loaders that bench_loader.py compares, one function each, run in a process of their own.

    python benchmarks/contenders.py NAME DATA_FOLDER WORKERS BATCH SCALE_LOW   (started by bench_loader.py)

reads one JSON request a line from standard input, {"resolution": 224, "seconds": 1.5}, and answers each with the
images it delivered and the seconds that took, of the clock and of the processor (all its processes). A contender yields
batches of uint8 (batch, 3, resolution, resolution) with a random resized crop, antialiased where its library can, and a
horizontal flip. The files lie in DATA_FOLDER: photos/*.jpg, stock.beton (written by stock ffcv),
jpg.beton and dct.beton (written by us).
"""

import itertools
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

RATIO = (3 / 4, 4 / 3)
WARM_BATCHES = 8  # longer than any contender's queue, so that nothing made before the clock started is counted


class Job(NamedTuple):
    """What every contender is told: where the files are and what a batch is."""

    data: Path
    workers: int
    batch: int
    scale: tuple[float, float]
    resolution: int


def ours(job: Job, beton: str, simd: str = "auto", engine: str = "ffcv") -> Iterator[Any]:
    from dailymae_hf._native import SIMD_LEVELS
    from dailymae_hf.data import BetonLoader

    loader = BetonLoader(
        job.data / beton,
        job.batch,
        resolution=job.resolution,
        num_workers=job.workers,
        seed=0,
        scale=job.scale,
        ratio=RATIO,
        engine=engine,
    )
    loader._engine.crop["simd"] = SIMD_LEVELS[simd]  # no user needs less than the machine has: not an argument
    for epoch in itertools.count():
        loader.set_epoch(epoch)
        yield from loader


def stock_ffcv(job: Job, channels_last: bool) -> Iterator[Any]:
    from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import RandomHorizontalFlip, ToTensor, ToTorchImage

    size = (job.resolution, job.resolution)
    image = [
        RandomResizedCropRGBImageDecoder(size, scale=job.scale, ratio=RATIO),
        RandomHorizontalFlip(),
        ToTensor(),
        ToTorchImage(channels_last=channels_last),
    ]
    loader = Loader(
        str(job.data / "stock.beton"),
        batch_size=job.batch,
        num_workers=job.workers,
        order=OrderOption.RANDOM,
        os_cache=True,
        pipelines={"image": image},
    )
    while True:
        yield from loader


def random_crop_box(width: int, height: int, scale: tuple[float, float], rng: random.Random) -> tuple[int, ...]:
    """Standard random resized crop: (left, top, right, bottom) in pixels."""
    for _ in range(10):
        area, ratio = width * height * rng.uniform(*scale), rng.uniform(*RATIO)
        w, h = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
        if 0 < w <= width and 0 < h <= height:
            left, top = rng.randint(0, width - w), rng.randint(0, height - h)
            return left, top, left + w, top + h
    return 0, 0, width, height


class PillowPhotos:
    """A torch dataset of the JPEG files, decoded and cropped with whichever Pillow is on the path."""

    def __init__(self, job: Job) -> None:
        self.paths = sorted((job.data / "photos").glob("*.jpg"))
        self.job = job

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> Any:
        import numpy as np
        import torch
        from PIL import Image

        image = Image.open(self.paths[i]).convert("RGB")
        box = random_crop_box(image.width, image.height, self.job.scale, random.Random())
        size = (self.job.resolution, self.job.resolution)
        image = image.resize(size, Image.Resampling.BILINEAR, box=box)  # type: ignore[arg-type]
        if random.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return torch.from_numpy(np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1)))


def pillow(job: Job) -> Iterator[Any]:
    from torch.utils.data import DataLoader

    loader: DataLoader[Any] = DataLoader(
        PillowPhotos(job),  # type: ignore[arg-type]  # has what a map-style dataset needs
        job.batch,
        shuffle=True,
        num_workers=job.workers,
        drop_last=True,
        persistent_workers=True,
    )
    while True:
        yield from loader


def dali(job: Job) -> Iterator[Any]:
    from nvidia.dali import fn, pipeline_def, types

    files = [str(path) for path in sorted((job.data / "photos").glob("*.jpg"))]

    @pipeline_def(batch_size=job.batch, num_threads=job.workers, device_id=None, exec_dynamic=True)
    def photographs() -> Any:
        jpegs, _ = fn.readers.file(files=files, random_shuffle=True)
        images = fn.decoders.image_random_crop(
            jpegs, device="cpu", random_area=list(job.scale), random_aspect_ratio=list(RATIO)
        )
        images = fn.resize(
            images, resize_x=job.resolution, resize_y=job.resolution, interp_type=types.INTERP_LINEAR, antialias=True
        )
        return fn.crop_mirror_normalize(
            images,
            dtype=types.UINT8,
            output_layout="CHW",
            mirror=fn.random.coin_flip(),
            mean=[0.0] * 3,
            std=[1.0] * 3,
        )

    pipeline = photographs()
    pipeline.build()
    while True:
        yield pipeline.run()


def spdl(job: Job) -> Iterator[Any]:
    import spdl.io

    paths = [str(path) for path in sorted((job.data / "photos").glob("*.jpg"))]

    def load(path: str) -> Any:
        rng = random.Random()
        packets = spdl.io.demux_image(path)
        left, top, right, bottom = random_crop_box(packets.width, packets.height, job.scale, rng)
        flip = "hflip," if rng.random() < 0.5 else ""
        graph = (
            f"crop={right - left}:{bottom - top}:{left}:{top},"
            f"scale={job.resolution}:{job.resolution}:flags=bilinear,{flip}format=pix_fmts=rgb24"
        )
        return spdl.io.decode_packets(packets, filter_desc=graph)

    with ThreadPoolExecutor(job.workers) as pool:
        while True:
            order = random.sample(paths, len(paths))
            for start in range(0, len(order) - job.batch + 1, job.batch):
                frames = list(pool.map(load, order[start : start + job.batch]))
                yield spdl.io.to_numpy(spdl.io.convert_frames(frames))


def kornia(job: Job) -> Iterator[Any]:
    import numpy as np
    from kornia_rs.image import Image

    paths = sorted((job.data / "photos").glob("*.jpg"))

    def load(path: Path) -> Any:
        rng = random.Random()
        image = Image.decode(path.read_bytes())
        left, top, right, bottom = random_crop_box(image.width, image.height, job.scale, rng)
        image = image.crop(left, top, right - left, bottom - top).resize(job.resolution, job.resolution, "bilinear")
        image = image.flip_horizontal() if rng.random() < 0.5 else image
        return image.numpy().transpose(2, 0, 1)

    with ThreadPoolExecutor(job.workers) as pool:
        while True:
            order = random.sample(paths, len(paths))
            for start in range(0, len(order) - job.batch + 1, job.batch):
                yield np.stack(list(pool.map(load, order[start : start + job.batch])))


CONTENDERS: dict[str, Callable[[Job], Iterator[Any]]] = {
    "ours, dct": partial(ours, beton="dct.beton"),
    "ours, dct, plain C": partial(ours, beton="dct.beton", simd="scalar"),
    "ours, dct, 128-bit vectors": partial(ours, beton="dct.beton", simd="v128"),
    "ours, jpg": partial(ours, beton="jpg.beton"),
    "ours, dct, native": partial(ours, beton="dct.beton", engine="native"),
    "ours, jpg, native": partial(ours, beton="jpg.beton", engine="native"),
    "ours, file of stock ffcv": partial(ours, beton="stock.beton"),
    "ours, dct, AVX2": partial(ours, beton="dct.beton", simd="avx2", engine="native"),
    "ours, jpg, AVX2": partial(ours, beton="jpg.beton", simd="avx2", engine="native"),
    "ours, dct, at stock's bytes": partial(ours, beton="dct-small.beton", engine="native"),
    "ours, file of stock ffcv, native": partial(ours, beton="stock.beton", engine="native"),
    "ffcv": partial(stock_ffcv, channels_last=True),
    "ffcv, contiguous": partial(stock_ffcv, channels_last=False),
    "DataLoader + Pillow": pillow,
    "DALI": dali,
    "SPDL": spdl,
    "kornia-rs": kornia,
}


def processor_seconds() -> float:
    """Of this process and its children so far, as Linux counts them."""
    used = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, _, rest = stat.read_text().partition(" (")
        except OSError:  # it has ended
            continue
        fields = rest.rpartition(") ")[2].split()
        if os.getpid() in (int(pid), int(fields[1])):
            used += int(fields[11]) + int(fields[12])
    return used / os.sysconf("SC_CLK_TCK")


def serve(name: str, data: Path, workers: int, batch: int, scale_low: float) -> None:
    """Answer timing requests on standard input until it ends."""
    # Libraries may print; the answers keep the real standard output for themselves.
    answers, sys.stdout = sys.stdout, sys.stderr
    batches: Iterator[Any] | None = None
    current = None
    for line in sys.stdin:
        request = json.loads(line)
        if request["resolution"] != current:
            current = request["resolution"]
            batches = None  # lets go of the last one's threads before the next one starts its own
            batches = CONTENDERS[name](Job(data, workers, batch, (scale_low, 1.0), current))
        assert batches is not None
        for _ in range(WARM_BATCHES):
            next(batches)
        images, used, started = 0, processor_seconds(), time.perf_counter()
        while (elapsed := time.perf_counter() - started) < request["seconds"]:
            next(batches)
            images += batch
        answer = {"images": images, "seconds": elapsed, "processor_seconds": processor_seconds() - used}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
