"""bench_loader.py over aspect ratios of the photographs and over crop scales, as one table.

    python benchmarks/bench_shapes.py [--out benchmarks/results/shapes.json]

Aspect ratios 1:1 to 8:1 with crops of (.2, 1) of the area, then 4:3 photographs with crops of (.08, 1), (.2, 1) and
(.5, 1): our two modes beside stock ffcv in its default layout. Photographs have 500 pixels on their longer side.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from environment import environment

ASPECTS = ("1:1", "3:2", "2:1", "4:1", "8:1")
SCALES = (0.08, 0.2, 0.5)
LOADERS = ("ours, dct", "ours, jpg", "ours, file of stock ffcv", "ffcv")


def measure(args: argparse.Namespace, aspect: str, scale: float) -> dict[str, Any]:
    """One run of bench_loader.py."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "loader.json"
        command = [sys.executable, str(Path(__file__).with_name("bench_loader.py")), "--only", *LOADERS]
        command += ["--aspect", aspect, "--scale", str(scale), "--data", str(args.data), "--count", str(args.count)]
        command += ["--rounds", str(args.rounds), "--seconds", str(args.seconds), "--out", str(out)]
        command += ["--resolutions", *map(str, args.resolutions)]
        subprocess.run(command, check=True)
        result = json.loads(out.read_text())
    return {key: result[key] for key in ("aspect", "crop_scale", "bytes_per_image", "results")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("outputs/bench"))
    parser.add_argument("--count", type=int, default=300, help="photographs of each shape")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.6)
    parser.add_argument("--resolutions", type=int, nargs="+", default=[224, 128])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    shapes = [(aspect, 0.2) for aspect in ASPECTS] + [("4:3", scale) for scale in SCALES]
    rows = []
    for aspect, scale in shapes:
        rows.append(measure(args, aspect, scale))
        if args.out:  # after each: a run that is cut short keeps what it has
            args.out.parent.mkdir(parents=True, exist_ok=True)
            result = {"environment": environment(), "rounds": args.rounds, "count": args.count, "rows": rows}
            args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
