"""Which instruction set the kernel takes, against what the system says of the processor."""

import platform
from pathlib import Path

import pytest

from dailymae_hf._native import simd_level

NEEDS = {
    "avx512": "avx512f avx512bw avx512vl avx512dq avx512vbmi avx512_vbmi2 avx512_vnni bmi1 bmi2 popcnt",
    "avx2": "avx2 bmi1 bmi2 popcnt",
    "v128": "ssse3",
    "scalar": "",
}


def test_the_kernel_takes_the_best_that_the_processor_has():
    """zig's run-time library denies every feature: a kernel that asks the compiler's built-in function runs plain C."""
    if platform.machine() == "aarch64":
        assert simd_level() == "v128"  # NEON is part of the architecture
        return
    processors = Path("/proc/cpuinfo")
    if not processors.is_file() or "\nflags" not in processors.read_text():
        pytest.skip("the system does not list an x86 processor's features")
    flags = processors.read_text().split("\nflags", 1)[1].split(":", 1)[1].split("\n", 1)[0].split()
    best = next(level for level, needed in NEEDS.items() if set(needed.split()) <= set(flags))
    assert simd_level() == best
