"""Images per second of write_beton in both storage modes beside stock ffcv's DatasetWriter.

    python benchmarks/bench_write.py [--out benchmarks/results/write.json]

The same files, the same number of worker processes, JPEG quality 90, longest side 500; every measurement is a new
process, from the call to the finished file (processes started, file on the disk), and the writers take turns. Beside
that speed stands the processor time of all its processes, imports and all, in which other work on the machine hardly
shows. Sources:

- "jpeg, fits": 500x375 JPEG files. We carry their coefficients over; ffcv decodes them and compresses them again.
- "jpeg, compressed anew": the same files with `transcode="never"`, for how fast our compressor is.
- "jpeg, scaled down": 1000x750 JPEG files.
- "png": 500x375 PNG files.
"""

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from betons import write_ours, write_stock
from environment import environment
from photos import write_photos
from PIL import Image

SOURCES = ("jpeg, fits", "jpeg, compressed anew", "jpeg, scaled down", "png")
WRITERS = ("ffcv", "ours, jpg", "ours, dct")


def source_files(data: Path, source: str) -> list[Path]:
    """The files of a source; written where missing."""
    photos = write_photos(data / "photos")
    if source == "jpeg, scaled down":
        return write_photos(data / "large", count=200, longest=1000)
    if source != "png":
        return photos
    files = [data / "png" / f"{path.stem}.png" for path in photos[:200]]
    for photo, path in zip(photos, files, strict=False):
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            Image.open(photo).save(path)
    return files


def processor_seconds() -> float:
    """Of this process and of those of its own that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def write(writer: str, source: str, paths: list[Path], workers: int) -> tuple[float, float]:
    """Seconds that one writer takes, of the clock and of the processor."""
    with tempfile.TemporaryDirectory(dir=paths[0].parent.parent) as folder:
        out = Path(folder) / "written.beton"
        started, used = time.perf_counter(), processor_seconds()
        if writer == "ffcv":
            write_stock(paths, out, workers=workers)
        else:
            transcode = "never" if source == "jpeg, compressed anew" else "auto"
            write_ours(paths, out, writer.partition(", ")[2], workers=workers, quality=90, transcode=transcode)
        elapsed = time.perf_counter() - started
        for child in multiprocessing.active_children():  # ffcv does not wait for its own
            child.join()
        return elapsed, processor_seconds() - used


def warm_imports(writer: str) -> None:
    """Import what a writer imports, so that the clock starts after it."""
    if writer == "ffcv":
        import ffcv.writer  # noqa: F401
    else:
        import dailymae_hf.data.write  # noqa: F401


def run_child(writer: str, source: str, args: argparse.Namespace) -> tuple[float, float]:
    """One measurement in a new process: images per second of the clock and of the processor."""
    command = [sys.executable, __file__, "--child", writer, source]
    command += ["--data", str(args.data), "--count", str(args.count), "--workers", str(args.workers)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{writer} from {source} failed:\n{done.stderr}")
    wall, used = json.loads(done.stdout.splitlines()[-1])
    return args.count / wall, args.count / used


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("outputs/bench"))
    parser.add_argument("--count", type=int, default=3000, help="images per file written")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sources", nargs="+", choices=SOURCES, default=SOURCES, help="measure only these")
    parser.add_argument("--out", type=Path, help="a JSON file; sources that it has and that are not measured now stay")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    data = args.data / "4x3"
    if args.child:
        writer, source = args.child
        files = source_files(data, source)
        warm_imports(writer)
        print(json.dumps(write(writer, source, (files * (args.count // len(files) + 1))[: args.count], args.workers)))
        return

    for source in args.sources:
        source_files(data, source)
    speeds: dict[str, dict[str, list[tuple[float, float]]]] = {
        s: {writer: [] for writer in WRITERS} for s in args.sources
    }
    for _ in range(args.rounds):
        for source in args.sources:
            for writer in WRITERS:
                speeds.setdefault(source, {}).setdefault(writer, []).append(run_child(writer, source, args))
    table: dict[str, Any] = {}
    for source, of in speeds.items():
        for writer, measured in of.items():
            ratios = [
                [mine[clock] / stock[clock] for mine, stock in zip(measured, of["ffcv"], strict=True)]
                for clock in (0, 1)
            ]
            values = [wall for wall, _ in measured]
            table.setdefault(source, {})[writer] = {
                "images_per_second": round(statistics.median(values)),
                "ratio_to_ffcv": round(statistics.median(ratios[0]), 2),
                "lowest": round(min(values)),
                "highest": round(max(values)),
                "images_per_processor_second": round(statistics.median(used for _, used in measured)),
                "ratio_by_processor": round(statistics.median(ratios[1]), 2),
            }
            print(f"{source:24s} {writer:10s} {table[source][writer]}")
    if args.out:
        facts = {"environment": environment(), "workers": args.workers, "count": args.count, "rounds": args.rounds}
        kept = json.loads(args.out.read_text())["results"] if args.out.exists() else {}
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(facts | {"results": kept | table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
