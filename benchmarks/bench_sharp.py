"""Our loader beside others on photographs of ImageNet's kind: sharp, JPEG quality 95, about 100 KB of 500x375 pixels.

    python benchmarks/bench_sharp.py ours [--out benchmarks/results/sharp.json]
    python benchmarks/bench_sharp.py others [--out benchmarks/results/sharp.json]

The photographs are photos.py's windows, sharpened by an unsharp mask of 150 %. All files have them at quality 95: stock
ffcv compresses them again, we carry their coefficients over. Beside these stands one of ours with as few bytes as
stock's, of a lower quality. "ours" measures these at five sizes; "others" measures libraries that read other files, at
224 pixels, and ffcv and ours again, by turns in the same run. Speeds are images per second of the clock, and of the
processor: all of a contender's processes together, in which other work on the machine hardly shows. Bytes per image are
those of the samples: a file has tables besides, and up to 8 MiB of padding, which a small file has as well.
"""

import argparse
import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
from bench_loader import HERE, Contender
from betons import write_ours, write_stock
from environment import environment
from photos import write_photos

from dailymae_hf.data.beton import open_beton

QUALITY, SHARPEN = 95, 150
SIDES = (224, 192, 160, 128, 96)
OURS = (
    "ours, dct, native",
    "ours, dct, AVX2",
    "ours, dct, at stock's bytes",
    "ours, jpg, native",
    "ours, jpg, AVX2",
    "ours, file of stock ffcv, native",
    "ffcv",
)
# The contender, and the folder with its library where that is not in .venv.
OTHERS = {
    "ours, dct, native": ("ours, dct, native", ""),
    "ours, jpg, native": ("ours, jpg, native", ""),
    "ffcv": ("ffcv", ""),
    "DataLoader + Pillow": ("DataLoader + Pillow", ""),
    "DataLoader + Pillow-SIMD": ("DataLoader + Pillow", "pillow-simd"),
    "DALI": ("DALI", "dali"),
    "SPDL": ("SPDL", "spdl"),
    "kornia-rs": ("kornia-rs", "kornia-rs"),
}


def sample_bytes(beton: Path) -> float:
    """Mean size of a file's images."""
    return float(np.mean(open_beton(beton).sizes))


def write_small(paths: list[Path], beton: Path, target: float) -> int:
    """Write the dct file whose images take at most `target` bytes at the highest quality that does; its quality."""
    low, high = 50, QUALITY
    while high - low > 1:
        quality = (low + high) // 2
        write_ours(paths, beton, "dct", quality=quality, transcode="never")
        low, high = (quality, high) if sample_bytes(beton) <= target else (low, quality)
    write_ours(paths, beton, "dct", quality=low, transcode="never")
    return low


def prepare(data: Path, count: int) -> dict[str, Any]:
    """Write what is missing; bytes per image of every file."""
    paths = write_photos(data / "photos", count=count, quality=QUALITY, sharpen=SHARPEN)
    facts_file = data / "facts.json"
    if facts_file.exists():
        return json.loads(facts_file.read_text())
    write_stock(paths, data / "stock.beton", quality=QUALITY)
    write_ours(paths, data / "jpg.beton", "jpg")
    write_ours(paths, data / "dct.beton", "dct")
    facts: dict[str, Any] = {"photos": round(statistics.mean(path.stat().st_size for path in paths))}
    facts["quality at stock's bytes"] = write_small(paths, data / "dct-small.beton", sample_bytes(data / "stock.beton"))
    for name in ("stock", "jpg", "dct", "dct-small"):
        facts[name] = round(sample_bytes(data / f"{name}.beton"))
    facts_file.write_text(json.dumps(facts))
    return facts


def start(names: dict[str, tuple[str, str]], apart: Path, arguments: list[str]) -> list[Contender]:
    running = []
    for name, (loader, folder) in names.items():
        if folder and not (apart / folder).exists():
            print(f"{name}: not in {apart}, left out", file=sys.stderr)
            continue
        ours = str(HERE.parent) + os.pathsep + os.environ.get("PYTHONPATH", "")
        path = str((apart / folder).resolve()) if folder else ours
        python = str(apart / "dali" / "bin" / "python") if folder == "dali" else sys.executable
        variables = {"PYTHONPATH": "" if folder == "dali" else path}
        running.append(Contender(name, loader, python, variables, arguments))
    return running


def summary(answers: list[dict[str, Any]], baseline: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the rounds of speeds and of their ratios to ffcv."""
    result: dict[str, Any] = {}
    for name, clock in (("second", "seconds"), ("processor_second", "processor_seconds")):
        speeds, stock = ([each["images"] / each[clock] for each in of] for of in (answers, baseline))
        result[f"images_per_{name}"] = round(statistics.median(speeds))
        ratios = [mine / theirs for mine, theirs in zip(speeds, stock, strict=True)]
        result[f"ratio_to_ffcv_per_{name}"] = round(statistics.median(ratios), 2)
        result[f"ratios_per_{name}"] = [round(ratio, 2) for ratio in ratios]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("piece", choices=("prepare", "ours", "others"))
    parser.add_argument("--data", type=Path, default=Path("outputs/bench/sharp"))
    parser.add_argument("--apart", type=Path, default=Path(".bench"), help="where other libraries are installed")
    parser.add_argument("--count", type=int, default=300, help="photographs")
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, help="a JSON file; what it has and is not measured now stays")
    args = parser.parse_args()
    facts = prepare(args.data, args.count)
    print(facts)
    if args.piece == "prepare":
        return
    names = {name: (name, "") for name in OURS} if args.piece == "ours" else OTHERS
    sides = args.sides if args.piece == "ours" else [224]
    running = start(names, args.apart, [str(args.data), str(args.workers), "64", "0.2"])
    table: dict[str, Any] = {}
    for side in sides:
        for contender in list(running):  # compiles, and fills the page cache
            if contender.ask(side, 0.1) is None:
                print(f"{contender.name}: died, left out", file=sys.stderr)
                running.remove(contender)
        rounds: dict[str, list[Any]] = {contender.name: [] for contender in running}
        for _ in range(args.rounds):
            for contender in running:
                rounds[contender.name].append(contender.ask(side, args.seconds))
        for name, answers in rounds.items():
            table.setdefault(name, {})[str(side)] = found = summary(answers, rounds["ffcv"])
            print(f"{side} {name:32s} {found}", flush=True)
    for contender in running:
        contender.close()
    if args.out:
        kept = json.loads(args.out.read_text()) if args.out.exists() else {}
        kept |= {"photographs": facts | {"quality": QUALITY, "sharpened by %": SHARPEN}, "workers": args.workers}
        kept[args.piece] = {"environment": environment(), "rounds": args.rounds, "results": table}
        args.out.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
