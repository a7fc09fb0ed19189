"""Where a step's time goes, by kind of kernel, and how much of it the device has nothing to do."""

import time
from pathlib import Path
from typing import Any

import bench_step
import torch
from torch.profiler import DeviceType, ProfilerActivity

from gpu.scale import Scale
from gpu.steps import step_arguments

# The first kind whose words a kernel's name contains; on a CPU the operators' names are looked at.
KINDS = {
    "attention": ("flash", "fmha", "attention", "softmax"),
    "matrix products": ("gemm", "cutlass", "xmma", "nvjet", "mm", "linear", "cublas"),
    "optimizer": ("adam", "multi_tensor", "fused_adam"),
    "copies": ("memcpy", "memset", "copy", "cat", "gather", "index", "scatter", "sort"),
    "norms and elementwise": ("norm", "elementwise", "triton", "gelu", "reduce", "add", "mul", "sum"),
}


def kind_of(name: str) -> str:
    lower = name.lower()
    return next((kind for kind, words in KINDS.items() if any(word in lower for word in words)), "other")


def intervals(profile: Any, wanted: Any) -> list[tuple[float, float]]:
    """(start, end) in microseconds of the device's events whose name `wanted` accepts, in order."""
    events = [e for e in profile.events() if e.device_type == DeviceType.CUDA and wanted(e.name)]
    return sorted((e.time_range.start, e.time_range.end) for e in events)


def union(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Sorted spans, overlapping ones joined."""
    joined: list[tuple[float, float]] = []
    for start, end in spans:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def covered(spans: list[tuple[float, float]], by: list[tuple[float, float]]) -> float:
    """The fraction of the time of `spans` during which something of `by` runs; 1.0 where there are none."""
    total = sum(end - start for start, end in spans)
    both = sum(max(0.0, min(end, e) - max(start, s)) for start, end in spans for s, e in union(by))
    return both / total if total else 1.0


def measure(scale: Scale, device: str, work: Path, *, model: str, steps: int = 5) -> dict[str, Any]:
    """Eager and compiled steps of ours at the native resolution, as fractions of the wall time."""
    modes = ("eager",) if scale.compiler == "eager" else ("eager", "compiled")
    return {mode: _profiled(scale, device, model, mode, steps) for mode in modes}


def _profiled(scale: Scale, device: str, model: str, mode: str, steps: int) -> dict[str, Any]:
    torch._dynamo.reset()
    args = step_arguments(scale, device, model, scale.resolutions[:1], scale.mask_ratios[0])
    contender = bench_step.Contender("ours", args, "bfloat16" if device == "cuda" else "float32", mode)
    batch = bench_step.make_batch(args, scale.resolutions[0])
    contender.steps(batch, 3)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    bench_step.synchronize(device)
    with torch.profiler.profile(activities=activities) as profile:
        start = time.perf_counter()
        contender.steps(batch, steps)
        bench_step.synchronize(device)
        wall = (time.perf_counter() - start) * 1e6
    spent: dict[str, float] = {}
    for event in profile.key_averages():
        micros = event.self_device_time_total if device == "cuda" else event.self_cpu_time_total
        if device != "cuda" or event.device_type == DeviceType.CUDA:
            spent[kind_of(event.key)] = spent.get(kind_of(event.key), 0.0) + micros
    busy = sum(end - start for start, end in union(intervals(profile, lambda name: True))) if device == "cuda" else None
    fractions = {kind: round(micros / wall, 3) for kind, micros in sorted(spent.items(), key=lambda item: -item[1])}
    slowest = sorted(profile.key_averages(), key=lambda e: -getattr(e, f"self_{_unit(device)}_time_total"))[:12]
    return {
        "step_ms": round(wall / steps / 1000, 2),
        "fraction_of_wall": fractions,
        "idle": None if busy is None else round(1 - busy / wall, 3),
        "longest": [e.key[:100] for e in slowest],
    }


def _unit(device: str) -> str:
    return "device" if device == "cuda" else "cpu"
