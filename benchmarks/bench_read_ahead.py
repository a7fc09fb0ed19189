"""A .beton three times as large as the memory for it: images per second with and without reading ahead.

    sudo python benchmarks/bench_read_ahead.py [--data FOLDER ...] [--out benchmarks/results/read_ahead.json]

Each contender is a process of its own, which joins a memory control group (cgroup v1, needs root) once it has imported
everything and opened the file, so that the limit of a third of the file holds for the file's pages and the batches. The
file is dropped from the system's cache before. Contenders: the native engine, the same with reading ahead switched off,
the ffcv engine, and stock `ffcv.Loader` with our decoder in its QUASI_RANDOM order, which reads whole 8 MiB pages;
0 images per second says that it was killed for taking more than the limit.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from betons import write_ours
from environment import environment
from photos import write_photos

CONTENDERS = ("native", "native, not ahead", "ffcv", "stock ffcv.Loader, QUASI_RANDOM")
BATCH, SIDE, SEED = 16, 224, 0  # stock holds twice as many pages of 8 MiB as a batch has images


def batches(name: str, beton: Path, threads: int) -> Iterator[Any]:
    """One epoch of a contender. The first `next` opens nothing more."""
    if name.startswith("stock"):
        from ffcv.fields.basics import IntDecoder
        from ffcv.loader import Loader, OrderOption
        from ffcv.transforms import ToTensor

        from dailymae_hf.data import CropDecodeRandomResizedCrop, PackedDCTField

        loader = Loader(
            str(beton), batch_size=BATCH, num_workers=threads, order=OrderOption.QUASI_RANDOM, os_cache=False,
            seed=SEED, drop_last=True, custom_fields={"image": PackedDCTField},
            pipelines={
                "image": [CropDecodeRandomResizedCrop(SIDE, seed=SEED), ToTensor()],
                "label": [IntDecoder(), ToTensor()],
            },
        )  # fmt: skip
        return ({"pixel_values": images} for images, _ in loader)
    from dailymae_hf.data import BetonLoader
    from dailymae_hf.data.engines import native

    if name == "native, not ahead":
        native._PATIENCE = 0
    engine = "ffcv" if name == "ffcv" else "native"
    return iter(BetonLoader(beton, BATCH, resolution=SIDE, num_workers=threads, seed=SEED, engine=engine))


def warm(name: str, small: Path, threads: int) -> None:
    """Import and compile everything with another file."""
    for _ in batches(name, small, threads):
        pass


def drop_from_cache(path: Path) -> None:
    with path.open("rb") as stream:
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def bytes_read() -> int:
    """Bytes that the disk gave to this process."""
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["read_bytes"])


def child(name: str, data: Path, group: Path, limit: int, seconds: float) -> dict[str, float]:
    threads = os.cpu_count() or 1
    warm(name, data / "small.beton", threads)
    epoch = batches(name, data / "large.beton", threads) if name.startswith("stock") else None
    drop_from_cache(data / "large.beton")
    group.mkdir(exist_ok=True)
    (group / "memory.limit_in_bytes").write_text(str(limit))
    (group / "cgroup.procs").write_text(str(os.getpid()))
    epoch = epoch or batches(name, data / "large.beton", threads)
    next(epoch)
    images, read, used, started = 0, bytes_read(), time.process_time(), time.perf_counter()
    for batch in epoch:
        images += len(batch["pixel_values"])
        if time.perf_counter() - started > seconds:
            break
    elapsed = time.perf_counter() - started
    return {
        "images_per_second": images / elapsed,
        "processor_fraction": (time.process_time() - used) / elapsed / threads,
        "read_kb_per_image": (bytes_read() - read) / images / 1024,
    }


def memory_group() -> Path:
    """A control group below this process's own."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return Path("/sys/fs/cgroup/memory") / path.lstrip("/") / "read_ahead"
    raise SystemExit("no memory controller of cgroup v1 here")


def run_child(name: str, data: Path, limit: int, seconds: float) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", name, "--data", str(data)]
    command += ["--limit", str(limit), "--seconds", str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == -signal.SIGKILL:  # the control group's answer to too much memory
        return {"images_per_second": 0.0, "processor_fraction": 0.0, "read_kb_per_image": 0.0}
    if done.returncode:
        raise SystemExit(f"{name} failed with {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def disk_read_ahead(path: Path) -> int:
    """Kilobytes that the system reads around a page that a memory-mapped file lacks."""
    device = os.stat(path).st_dev
    place = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve()
    queue = place / "queue" if (place / "queue").exists() else place.parent / "queue"
    return int((queue / "read_ahead_kb").read_text())


def measure_disk(data: Path, args: argparse.Namespace) -> dict[str, Any]:
    data.mkdir(parents=True, exist_ok=True)
    large = data / "large.beton"
    if not large.exists():
        paths = write_photos(data / "photos", count=60)
        write_ours(paths * 4, data / "small.beton", "dct")
        write_ours((paths * -(-args.images // len(paths)))[: args.images], large, "dct")
    size = large.stat().st_size
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    for _ in range(args.rounds):
        for name in CONTENDERS:
            found[name].append(run_child(name, data, size // 3, args.seconds))
            print(name, json.dumps(found[name][-1]), flush=True)
    return {
        "file_mb": round(size / 2**20),
        "limit_mb": round(size / 3 / 2**20),
        "disk_read_ahead_kb": disk_read_ahead(large),
        "contenders": {
            name: {key: round(statistics.median(one[key] for one in rounds), 2) for key in rounds[0]}
            for name, rounds in found.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, nargs="+", default=[Path("outputs/bench/ahead")], help="one a disk")
    parser.add_argument("--images", type=int, default=18000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10, help="of one measurement, at most an epoch")
    parser.add_argument("--note", default="", help="what else the machine was doing")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--limit", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(child(args.child, args.data[0], memory_group(), args.limit, args.seconds)))
        return
    result: dict[str, Any] = {"environment": environment(), "note": args.note}
    result["disks"] = [measure_disk(folder, args) for folder in args.data]
    print(json.dumps(result, indent=1))
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
