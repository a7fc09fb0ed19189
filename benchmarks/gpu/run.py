"""Runs the pieces that have no result yet, each in a process of its own, and writes the page."""

import argparse
import json
import os
import subprocess
import sys
import time
import traceback
import zipfile
from pathlib import Path
from typing import Any

import torch
from environment import environment

from gpu import page
from gpu.scale import SCALES

ROOT = Path(__file__).parents[2]
PIECE_SECONDS = 540.0


def arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description="Measure and check all on a GPU.")
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "gpu", help="results and scratch files")
    parser.add_argument("--scale", choices=SCALES, default="full" if torch.cuda.is_available() else "small")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seconds", type=float, default=PIECE_SECONDS, help="start no piece after so many seconds")
    parser.add_argument("--only", nargs="+", default=[""], metavar="NAME", help="pieces whose names begin so")
    parser.add_argument("--again", action="store_true", help="also those that failed")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--piece", help=argparse.SUPPRESS)
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> int:
    """0: everything asked for has a result; 3: pieces are left, run it again; 1: a piece failed."""
    args = arguments(words)
    args.out.mkdir(parents=True, exist_ok=True)
    find_kernel()
    from gpu.pieces import pieces  # the pieces import the package, whose kernel is there now

    known = pieces(SCALES[args.scale])
    if args.piece:
        return run_piece(args, known[args.piece])
    wanted = [name for name in known if name.startswith(tuple(args.only))]
    results = read(args.out)
    if args.list:
        print("\n".join(f"{results.get(name, {}).get('status', 'not run'):8} {name}" for name in wanted))
        return 0
    return run_all(args, wanted)


def run_all(args: argparse.Namespace, wanted: list[str]) -> int:
    start = time.monotonic()
    done = ("done", "skipped", *(() if args.again else ("failed",)))
    left = [name for name in wanted if read(args.out).get(name, {}).get("status") not in done]
    while left and time.monotonic() - start < args.seconds:
        name = left.pop(0)
        print(f"==> {name}", flush=True)
        record(args.out, name, start_piece(args, name, max(30.0, args.seconds - (time.monotonic() - start))))
    results = read(args.out)
    page.write(args.out, results)
    print(f"{len(left)} pieces are left" if left else f"all is in {args.out / 'gpu.json'} and gpu.md")
    failed = [name for name in wanted if results.get(name, {}).get("status") == "failed"]
    for name in failed:
        print(f"failed: {name}: {results[name]['error'].strip().splitlines()[-1]}")
    return 3 if left else 1 if failed else 0


def start_piece(args: argparse.Namespace, name: str, seconds: float) -> dict[str, Any]:
    """The piece's own process: its result, or how it failed. One that is cut off by the call's end is run again."""
    answer = args.out / "piece.json"
    answer.unlink(missing_ok=True)
    command = [sys.executable, "-m", "benchmarks.gpu", "--piece", name, "--out", str(args.out.resolve())]
    command += ["--scale", args.scale, "--device", args.device]
    began = time.monotonic()
    try:
        code = subprocess.run(command, cwd=ROOT, timeout=seconds, check=False).returncode
    except subprocess.TimeoutExpired:
        whole = seconds >= PIECE_SECONDS - 30
        status = "failed" if whole else "cut off"
        return {"status": status, "error": f"not done within {seconds:.0f} s"}
    if not answer.exists():
        return {"status": "failed", "error": f"the process ended with {code}"}
    return json.loads(answer.read_text()) | {"seconds": round(time.monotonic() - began, 1)}


def run_piece(args: argparse.Namespace, piece: Any) -> int:
    """In the piece's process: run it and leave its answer."""
    try:
        result = piece(SCALES[args.scale], args.device, args.out)
        answer = {"status": "skipped" if "skipped" in result else "done", "result": result}
    except (Exception, SystemExit):
        answer = {"status": "failed", "error": traceback.format_exc()}
    (args.out / "piece.json").write_text(json.dumps(answer))
    return 0


def read(out: Path) -> dict[str, Any]:
    path = out / "gpu.json"
    return json.loads(path.read_text())["pieces"] if path.is_file() else {}


def record(out: Path, name: str, answer: dict[str, Any]) -> None:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    answer |= {"device": device, "environment": environment()}
    content = {"pieces": read(out) | {name: answer}}
    fresh = out / "gpu.json.new"
    fresh.write_text(json.dumps(content, indent=1) + "\n")
    fresh.replace(out / "gpu.json")


def find_kernel() -> None:
    """Take the kernel out of a wheel in dist/ where the tree has none, and is what will be imported."""
    kernel = ROOT / "dailymae_hf" / "_native" / "_kernel.so"
    wheels = sorted((ROOT / "dist").glob(f"*_{os.uname().machine}.whl"))
    if not kernel.exists() and wheels:
        with zipfile.ZipFile(wheels[-1]) as wheel:
            kernel.write_bytes(wheel.read("dailymae_hf/_native/_kernel.so"))
