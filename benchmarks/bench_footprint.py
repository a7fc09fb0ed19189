"""What loading costs beside its speed: memory, the first batch, a change of resolution, opening a very large file.

    python benchmarks/bench_footprint.py [--out benchmarks/results/footprint.json]

Every measurement is a new process; ours and stock ffcv take turns; medians are reported. Memory is the highest
resident size of the process (pages of the mapped .beton included) while it loads at batch 256 and 224 pixels.
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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from betons import ensure_betons
from contenders import CONTENDERS, Job
from environment import environment
from photos import write_photos

OURS = {"ours, dct": "dct.beton", "ours, jpg": "jpg.beton"}
SIDE, BATCH = 224, 256
LARGE = 1_300_000


def first_batch(name: str, job: Job) -> dict[str, float]:
    """Seconds from after the imports to the first batch, of 256 images, in hand."""
    warm_imports(name)
    started = time.perf_counter()
    next(CONTENDERS[name](job))
    return {"seconds": time.perf_counter() - started}


def memory(name: str, job: Job) -> dict[str, float]:
    """Highest resident size in MB, after the imports and after 24 batches."""
    warm_imports(name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for _ in itertools.islice(CONTENDERS[name](job), 24):
        pass
    return {"imports_mb": before, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def resolution_change(name: str, job: Job) -> dict[str, float]:
    """Milliseconds that the first batch of an epoch takes longer after a change of resolution than without one."""
    from dailymae_hf.data import BetonLoader

    loader = BetonLoader(job.data / OURS[name], 64, resolution=SIDE, num_workers=job.workers, seed=0)

    def begin(epoch: int, resolution: int) -> float:
        loader.set_epoch(epoch)
        started = time.perf_counter()
        loader.set_resolution(resolution)
        batches = iter(loader)
        next(batches)
        elapsed = time.perf_counter() - started
        for _ in batches:
            pass
        return elapsed

    begin(0, SIDE)
    same, changed = [], []
    for epoch in range(1, 20, 2):
        same.append(begin(epoch, SIDE))
        changed.append(begin(epoch + 1, 160))
        begin(epoch + 1, SIDE)
    return {
        "first_batch_same_ms": 1000 * statistics.median(same),
        "first_batch_changed_ms": 1000 * statistics.median(changed),
    }


def opening(_: str, job: Job) -> dict[str, float]:
    """Seconds to open a file of 1.3 million samples, and to shuffle and have its first batch, of black images."""
    from dailymae_hf.data import BetonLoader

    warm_imports("ours, jpg")
    started = time.perf_counter()
    loader = BetonLoader(
        job.data / "large.beton", 64, resolution=SIDE, num_workers=job.workers, seed=0, on_error="zero"
    )
    opened = time.perf_counter()
    next(iter(loader))
    return {"open_seconds": opened - started, "first_batch_seconds": time.perf_counter() - opened}


def warm_imports(name: str) -> None:
    """Import what a contender imports, so that the clock starts after it."""
    import ffcv.loader  # noqa: F401
    import torch  # noqa: F401

    if name in OURS:
        import dailymae_hf.data.loader  # noqa: F401


MEASURES = {
    "first_batch": (first_batch, (*OURS, "ffcv")),
    "memory": (memory, (*OURS, "ffcv")),
    "resolution_change": (resolution_change, tuple(OURS)),
    "opening": (opening, ("ours, jpg",)),
}


def write_large(data: Path) -> None:
    """A sparse file with the tables of 1.3 million samples, shaped like those of jpg.beton, and no data."""
    path = data / "large.beton"
    if path.exists():
        return
    from dailymae_hf.data.beton import ALLOCATION_DTYPE, FIELD_DTYPE, HEADER_DTYPE, open_beton

    small = open_beton(data / "jpg.beton")
    with (data / "jpg.beton").open("rb") as stream, path.open("wb") as out:
        prefix = bytearray(stream.read(HEADER_DTYPE.itemsize + len(small.fields) * FIELD_DTYPE.itemsize))
        metadata = np.resize(small.metadata, LARGE)
        start = -(-(len(prefix) + metadata.nbytes) // small.page_size) * small.page_size
        spacing = int(small.sizes.max())
        table = np.zeros(LARGE, ALLOCATION_DTYPE)
        table["sample_id"] = np.arange(LARGE)
        table["ptr"] = start + np.arange(LARGE, dtype=np.uint64) * spacing
        table["size"] = np.resize(small.sizes, LARGE)
        metadata[small.image_field.column]["data_ptr"] = table["ptr"]
        header = np.frombuffer(prefix, HEADER_DTYPE, 1)
        header["num_samples"], header["table_ptr"] = LARGE, start + LARGE * spacing
        arguments = np.frombuffer(prefix, FIELD_DTYPE, len(small.fields), HEADER_DTYPE.itemsize)["arguments"]
        arguments[:] = 0  # the facts block lies elsewhere in this file: leave it out
        out.write(prefix)
        out.write(metadata.tobytes())
        out.seek(start + LARGE * spacing)
        out.write(table.tobytes())


def run_child(measure: str, name: str, args: argparse.Namespace) -> dict[str, float]:
    """Take one measurement in a new process."""
    command = [sys.executable, __file__, "--child", measure, name, "--data", str(args.data)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{measure} of {name} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def plan(rounds: int) -> Iterator[tuple[str, str]]:
    for _ in range(rounds):
        for measure, (_, names) in MEASURES.items():
            yield from ((measure, name) for name in names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("outputs/bench"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    data = args.data / "4x3"
    if args.child:
        measure, name = args.child
        job = Job(data, os.cpu_count() or 1, BATCH, (0.2, 1.0), SIDE)
        print(json.dumps(MEASURES[measure][0](name, job)))
        return

    ensure_betons(data, write_photos(data / "photos"))
    write_large(data)
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    for measure, name in plan(args.rounds):
        found.setdefault(measure, {}).setdefault(name, []).append(run_child(measure, name, args))
    result: dict[str, Any] = {"environment": environment(), "rounds": args.rounds}
    for measure, names in found.items():
        result[measure] = {
            name: {key: round(statistics.median(v[key] for v in values), 3) for key in values[0]}
            for name, values in names.items()
        }
        print(measure, json.dumps(result[measure], indent=1))
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
