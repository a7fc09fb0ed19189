"""Images per second of our loader beside FFCV, torch + Pillow, DALI and SPDL, interleaved in one run.

    python benchmarks/bench_loader.py [--out benchmarks/results/loader.json] [--apart .bench]

Each contender runs in a process of its own and waits while the others are measured; a round visits every resolution
and every contender once, so that a slow minute of the machine hits all alike. Reported are medians over the rounds,
their spread, and the ratio to stock ffcv in its faster layout, taken round by round. Pillow-SIMD, DALI and SPDL are
measured where `make bench` has installed them (in --apart); what is missing is said, not guessed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from betons import ensure_betons
from environment import environment
from photos import write_photos

HERE = Path(__file__).parent
OURS = ("ours, dct", "ours, dct, plain C", "ours, dct, 128-bit vectors", "ours, jpg", "ours, file of stock ffcv")
BASELINE = ("ffcv", "ffcv, contiguous")


class Contender:
    """A child process that times one loader on request."""

    def __init__(self, name: str, loader: str, python: str, environment: dict[str, str], arguments: list[str]) -> None:
        self.name = name
        command = [python, str(HERE / "contenders.py"), loader, *arguments]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
        )

    def measure(self, resolution: int, seconds: float) -> float | None:
        """Images per second, or None if the contender's process has died."""
        answer = self.ask(resolution, seconds)
        return None if answer is None else answer["images"] / answer["seconds"]

    def ask(self, resolution: int, seconds: float) -> dict[str, Any] | None:
        """What it delivered and took, or None if its process has died."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps({"resolution": resolution, "seconds": seconds}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return None
        answer = self.process.stdout.readline()
        return json.loads(answer) if answer else None

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=30)


def contenders(args: argparse.Namespace, data: Path) -> list[Contender]:
    """Every contender whose parts are there, started."""
    here = {"PYTHONPATH": f"{HERE.parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    arguments = [str(data), str(args.workers), str(args.batch), str(args.scale)]
    plan = [(name, name, sys.executable, here) for name in OURS]
    plan += [(name, name, sys.executable, here) for name in (*BASELINE, "DataLoader + Pillow")]
    for name, loader, folder, python in (
        ("DataLoader + Pillow-SIMD", "DataLoader + Pillow", "pillow-simd", sys.executable),
        ("DALI", "DALI", "dali", str(args.apart / "dali" / "bin" / "python")),
        ("SPDL", "SPDL", "spdl", sys.executable),
    ):
        if (args.apart / folder).exists():
            path = {} if loader == "DALI" else {"PYTHONPATH": str((args.apart / folder).resolve())}
            plan.append((name, loader, python, path))
        else:
            print(f"{name}: not in {args.apart}, left out", file=sys.stderr)
    chosen = [entry for entry in plan if not args.only or entry[0] in args.only]
    return [Contender(name, loader, python, path, arguments) for name, loader, python, path in chosen]


def summarise(rounds: dict[str, dict[int, list[float]]], resolutions: list[int]) -> dict[str, Any]:
    """Per contender and resolution: ratio to the faster ffcv of the same round, then median and extremes."""
    table: dict[str, Any] = {}
    for name, per_resolution in rounds.items():
        table[name] = {}
        for resolution in resolutions:
            speeds = per_resolution[resolution]
            baseline = [rounds[b][resolution] for b in BASELINE if b in rounds]
            ratios = [s / max(b) for s, *b in zip(speeds, *baseline, strict=True)] if baseline else []
            table[name][resolution] = {
                "ratio_to_ffcv": round(statistics.median(ratios), 2) if ratios else None,
                "images_per_second": round(statistics.median(speeds)),
                "lowest": round(min(speeds)),
                "highest": round(max(speeds)),
            }
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("outputs/bench"), help="where photographs and files go")
    parser.add_argument("--apart", type=Path, default=Path(".bench"), help="where other libraries are installed")
    parser.add_argument("--folder", type=Path, help="JPEG photographs of yours")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--resolutions", type=int, nargs="+", default=[224, 192, 160, 128, 96])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="measured time per round, contender and resolution")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--count", type=int, default=1000, help="photographs")
    parser.add_argument("--aspect", default="4:3", help="width:height of the photographs")
    parser.add_argument("--scale", type=float, default=0.2, help="smallest crop, as a fraction of the area")
    parser.add_argument("--only", nargs="+", help="measure only these contenders")
    args = parser.parse_args()

    data = args.data / args.aspect.replace(":", "x")
    width, height = (float(side) for side in args.aspect.split(":"))
    sizes = ensure_betons(
        data, write_photos(data / "photos", count=args.count, aspect=width / height, folder=args.folder)
    )
    running = contenders(args, data)
    rounds: dict[str, dict[int, list[float]]] = {c.name: {r: [] for r in args.resolutions} for c in running}
    for number in range(args.rounds + 1):  # the first round compiles and fills the page cache; it is not counted
        for resolution in args.resolutions:
            for contender in list(running):
                speed = contender.measure(resolution, args.seconds if number else 0.1)
                if speed is None:
                    print(f"{contender.name}: died, left out", file=sys.stderr)
                    running.remove(contender)
                    del rounds[contender.name]
                elif number:
                    rounds[contender.name][resolution].append(speed)
        print(f"round {number} of {args.rounds} done", file=sys.stderr)
    for contender in running:
        contender.close()

    result = {
        "environment": environment(),
        "workers": args.workers,
        "batch": args.batch,
        "crop_scale": [args.scale, 1.0],
        "aspect": args.aspect,
        "rounds": args.rounds,
        "bytes_per_image": {name: round(size) for name, size in sizes.items()},
        "results": summarise(rounds, args.resolutions),
    }
    for name, per_resolution in result["results"].items():
        cells = [f"{v['ratio_to_ffcv'] or 0:6.2f}x {v['images_per_second']:6d}/s" for v in per_resolution.values()]
        print(f"{name:26s} " + "  ".join(cells))
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
