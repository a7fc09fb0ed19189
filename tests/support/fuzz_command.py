"""The command line of a fuzzer in Python: `python -m MODULE --count N --seed N`."""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path


def fuzz_command(about: str, fuzz: Callable[[int, int, Path], int]) -> None:
    """Run `fuzz(count, seed, folder)`, which returns the number of accepted inputs, and print what came of it."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        accepted = fuzz(args.count, args.seed, Path(folder))
    seconds = time.perf_counter() - started
    print(f"{args.count} inputs, seed {args.seed}: {accepted} accepted, the others refused; {seconds:.0f} s")
