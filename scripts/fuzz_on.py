"""Fuzzing in pieces that go on where the last one ended: each piece's kind, seed and count are kept as it is done.

    make fuzz-on      # builds the kernel's fuzzer as well; Ctrl-C at any time, and said again, it goes on

Of the inputs eight tenths go to the kernel, under sanitizers for addresses and undefined behaviour, one tenth to the
header, tables and facts of .beton files, one tenth to recipes. A piece that finds something ends all, with the command
that shows it again.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FUZZER = ROOT / "build" / "fuzz" / "fuzz"
RESULTS = ROOT / "benchmarks" / "results" / "fuzz.json"
# Tenths of all inputs, and inputs of a piece: some minutes of a processor that others use as well.
KINDS = {"kernel": (8, 50_000), "beton": (1, 20_000), "recipe": (1, 5_000)}


def command(kind: str, count: int, seed: int) -> list[str]:
    """What runs a piece; the same seed makes the same inputs."""
    if kind == "kernel":
        return [str(FUZZER), str(FUZZER.with_name("corpus")), str(count), str(seed)]
    module = {"beton": "tests.data.fuzz_beton", "recipe": "tests.recipe.fuzz_recipe"}[kind]
    return [sys.executable, "-m", module, "--count", str(count), "--seed", str(seed)]


def add(results: dict[str, Any], kind: str, count: int, seed: int, seconds: float) -> None:
    """One more piece: seeds of a kind are counted up, so that a range says them all."""
    entry = results["kinds"].setdefault(kind, {"inputs": 0, "pieces": []})
    entry["inputs"] += count
    last = entry["pieces"][-1] if entry["pieces"] else None
    if last and last["count"] == count and last["seeds"][1] == seed - 1 and last["commit"] == results["commit"]:
        last["seeds"][1] = seed
        last["seconds"] = round(last["seconds"] + seconds)
    else:
        piece = {"count": count, "seeds": [seed, seed], "seconds": round(seconds), "commit": results["commit"]}
        entry["pieces"].append(piece)
    results["date"] = date.today().isoformat()


def next_piece(results: dict[str, Any]) -> tuple[str, int]:
    """The kind that is furthest behind its tenths, and its next seed."""
    done = results["kinds"]
    kind = min(KINDS, key=lambda name: done.get(name, {"inputs": 0})["inputs"] / KINDS[name][0])
    seeds = [piece["seeds"][1] for piece in done.get(kind, {"pieces": []})["pieces"]]
    return kind, max(seeds, default=0) + 1


def total(results: dict[str, Any]) -> int:
    return sum(int(entry["inputs"]) for entry in results["kinds"].values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--until", type=int, default=10_000_000, help="inputs in all (default: ten millions)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="what was done so far, as JSON")
    args = parser.parse_args()
    results: dict[str, Any] = {"kinds": {}}
    if args.results.exists():
        results = json.loads(args.results.read_text())
    head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    results["commit"] = head.stdout.strip()
    if not FUZZER.exists():
        raise SystemExit("make fuzz FUZZ_RUNS=0 builds the kernel's fuzzer first")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    while total(results) < args.until:
        kind, seed = next_piece(results)
        words, start = command(kind, KINDS[kind][1], seed), time.monotonic()
        if subprocess.run(words, cwd=FUZZER.parent, env=environment, check=False).returncode != 0:
            raise SystemExit(f"found by: {' '.join(words)}")
        add(results, kind, KINDS[kind][1], seed, time.monotonic() - start)
        args.results.write_text(json.dumps(results, indent=1) + "\n")
    print(f"{total(results):,} inputs: nothing found")


if __name__ == "__main__":
    main()
