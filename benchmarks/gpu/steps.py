"""Training steps alone: ours, stock and plain torch, as bench_step.py measures them."""

import argparse
from pathlib import Path
from typing import Any

import bench_step
import torch

from gpu.scale import Scale


def step_arguments(scale: Scale, device: str, model: str, resolutions: tuple[int, ...], ratio: float) -> Any:
    return argparse.Namespace(
        device=device,
        size=model,
        batch=scale.batch[model],
        resolutions=list(resolutions),
        mask_ratio=ratio,
        contenders=list(bench_step.CONTENDERS),
        rounds=scale.rounds,
        seconds=scale.seconds,
        peak=None,
        checkpointing=False,
        memory=device == "cuda",
    )


def measure(
    scale: Scale, device: str, work: Path, *, model: str, mode: str, ratio: float, resolutions: tuple[int, ...]
) -> dict[str, Any]:
    """Images/s, MFU, peak memory and losses per resolution and contender, bfloat16 on a GPU."""
    args = step_arguments(scale, device, model, resolutions, ratio)
    dtype = "bfloat16" if device == "cuda" else "float32"
    rows = {}
    for resolution in resolutions:
        torch._dynamo.reset()
        rows[str(resolution)] = bench_step.measure(args, dtype, mode, resolution)
    return {"dtype": dtype, "batch": args.batch, "resolutions": rows}
