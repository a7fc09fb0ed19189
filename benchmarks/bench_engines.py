"""The loader's two engines beside each other: whole epochs, the first batch of a new process, memory.

    python benchmarks/bench_engines.py [--rounds 7] [--out benchmarks/results/engines.json]

Epochs of BetonLoader on one file in memory, at five sizes, with one thread and with two; the four take turns, and the
least of all rounds counts, in wall-clock and in processor microseconds per image (all threads of the process together:
what other work does to the machine hardly shows there). First batch and memory are measured in new processes.
"""

import argparse
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from betons import write_ours
from environment import environment
from photos import write_photos

ENGINES = ("ffcv", "native")
SIDES = (224, 192, 160, 128, 96)
IMAGES = {"dct": 3000, "jpg": 400}  # per epoch
MANY = 60  # loaders made and closed in one process


def make_loader(beton: Path, engine: str, batch: int, side: int, threads: int) -> Any:
    from dailymae_hf.data import BetonLoader

    return BetonLoader(beton, batch, resolution=side, num_workers=threads, seed=0, engine=engine)


def epoch(loader: Any, number: int) -> tuple[float, float]:
    """Wall-clock and processor microseconds per image of a whole epoch."""
    loader.set_epoch(number)
    images, start, used = 0, time.perf_counter(), time.process_time()
    for batch in loader:
        images += len(batch["pixel_values"])
    return (time.perf_counter() - start) * 1e6 / images, (time.process_time() - used) * 1e6 / images


def measure_epochs(beton: Path, side: int, rounds: int) -> dict[str, Any]:
    kinds = [(engine, threads) for engine in ENGINES for threads in (1, 2)]
    loaders = [make_loader(beton, engine, 64, side, threads) for engine, threads in kinds]
    for loader in loaders:
        epoch(loader, 0)
    seen = np.array([[epoch(loader, number) for loader in loaders] for number in range(1, rounds + 1)])
    least = seen.min(axis=0).round(1).tolist()
    result: dict[str, Any] = {}
    for (engine, threads), (wall, used) in zip(kinds, least, strict=True):
        result.setdefault(engine, {})[f"{threads} threads"] = {"wall": wall, "processor": used}
    for engine in ENGINES:
        one, two = (result[engine][f"{threads} threads"]["wall"] for threads in (1, 2))
        result[engine]["two threads over one"] = round(one / two, 2)
    return result


def resident() -> float:
    """Megabytes of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def child(engine: str, beton: Path) -> dict[str, float]:
    """What only a new process shows: the first batch, the memory of a loader, and what many loaders leave behind."""
    import torch  # noqa: F401

    import dailymae_hf.data.loader

    if engine == "ffcv":
        import dailymae_hf.data.engines.ffcv  # noqa: F401
    imports = resident()
    started, used = time.perf_counter(), time.process_time()
    loader = make_loader(beton, engine, 256, 224, os.cpu_count() or 1)
    batches = iter(loader)
    next(batches)
    result = {
        "first_batch_seconds": time.perf_counter() - started,
        "first_batch_processor_seconds": time.process_time() - used,
    }
    for _ in itertools.islice(batches, 10):
        pass
    result |= {"imports_mb": imports, "loader_mb": resident() - imports}
    del loader, batches
    early = 0.0
    for number in range(MANY):
        loader = make_loader(beton, engine, 32, 96, 2)
        next(iter(loader))
        loader.close()
        del loader
        early = resident() if number == MANY // 4 else early
    return result | {"kept_mb_per_loader": (resident() - early) / (MANY - 1 - MANY // 4)}


def run_child(engine: str, beton: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", engine, "--data", str(beton)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{engine} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("outputs/bench/engines"))
    parser.add_argument("--count", type=int, default=200, help="photographs")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--note", default="", help="what else the machine was doing")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", choices=ENGINES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(child(args.child, args.data)))
        return
    paths = write_photos(args.data / "photos", count=args.count)
    result: dict[str, Any] = {"environment": environment(), "note": args.note, "rounds": args.rounds}
    for mode, images in IMAGES.items():
        beton = args.data / f"{mode}.beton"
        if not beton.exists():
            write_ours((paths * -(-images // len(paths)))[:images], beton, mode)
        result[f"{mode}_microseconds_per_image"] = {}
        for side in SIDES:
            result[f"{mode}_microseconds_per_image"][str(side)] = found = measure_epochs(beton, side, args.rounds)
            print(mode, side, json.dumps(found), flush=True)
    children: dict[str, list[dict[str, float]]] = {engine: [] for engine in ENGINES}
    for _ in range(max(3, args.rounds // 2)):
        for engine in ENGINES:
            children[engine].append(run_child(engine, args.data / "dct.beton"))
    result["new_process"] = {
        engine: {key: round(statistics.median(one[key] for one in found), 3) for key in found[0]}
        for engine, found in children.items()
    }
    print(json.dumps(result["new_process"], indent=1))
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
