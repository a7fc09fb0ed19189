"""What the machine computes with: whether a GPU was asked for, and whether the CPU has bfloat16 instructions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dailymae_hf.training.hf_compat import logging

logger = logging.get_logger(__name__)

# As Linux names them. AMX and AVX-512 BF16 are x86's; "bf16" is ARM's.
_BF16_INSTRUCTIONS = {"amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16", "bf16": "ARM BF16"}
_HALF = ("bf16", "fp16", "fp8")


def bf16_instructions(cpuinfo: Path = Path("/proc/cpuinfo")) -> str | None:
    """The CPU's bfloat16 matrix instructions, the fastest of them; None where it has none, or does not say."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:  # not Linux
        return None
    line = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    flags = line.partition(":")[2].split()
    return next((told for flag, told in _BF16_INSTRUCTIONS.items() if flag in flags), None)


def tell_cpu_precision(args: Any) -> None:
    """One line where a run computes in bfloat16 on a CPU, which not everybody expects of it."""
    if not args.bf16 or args.device.type != "cpu":
        return
    instructions = bf16_instructions()
    if instructions is None:
        logger.warning("bf16: this CPU has no instructions for bfloat16, float32 (bf16: false) would be faster")
    else:
        logger.warning("bf16: computing in bfloat16 on this CPU (%s); bf16: false is float32", instructions)


def what_asks_for_gpus(args: Any, environment: Mapping[str, str]) -> str | None:
    """What of the training arguments or the launcher's settings can only mean GPUs; None where nothing does.

    Several processes alone do not: accelerate does not hand `use_cpu: true` of its configuration on to them.
    """
    if environment.get("ACCELERATE_USE_CPU", "").lower() == "true":
        return None
    visible = environment.get("CUDA_VISIBLE_DEVICES", "").strip()
    precision = environment.get("ACCELERATE_MIXED_PRECISION")  # only `accelerate launch` sets it
    signs = (
        (visible not in ("", "-1"), f"CUDA_VISIBLE_DEVICES={visible}"),
        (args.float8, "float8"),
        (args.ddp_backend == "nccl", "ddp_backend: nccl"),
        (precision in _HALF, f"accelerate's configuration (mixed_precision: {precision})"),
    )
    return next((sign for found, sign in signs if found), None)
