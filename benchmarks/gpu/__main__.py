"""Measure and check everything on the GPU of this machine, piece by piece, into one JSON and one page.

    python -m benchmarks.gpu                       all pieces that have no result yet, for at most 9 minutes
    python -m benchmarks.gpu                       again, until it says that nothing is left
    python -m benchmarks.gpu --only correctness    the pieces whose names begin so
    python -m benchmarks.gpu --list                their names, and which are done

Needs this tree, torch and transformers; no network, no ffcv, no compiler: where the kernel is not built it is taken out
of a wheel in dist/. Each piece is a process of its own, so that one that fails or runs out of memory spoils no other.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the benchmarks import each other by bare name

from gpu.run import main

if __name__ == "__main__":
    sys.exit(main())
