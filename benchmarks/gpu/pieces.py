"""The pieces, in the order in which they are worth having; each a function of (scale, device, folder) -> result."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from gpu import correctness, loading, profile, real, steps
from gpu.scale import Scale

Piece = Callable[[Scale, str, Path], dict[str, Any]]


def pieces(scale: Scale) -> dict[str, Piece]:
    """By name. None takes more than nine minutes on an H100."""
    found: dict[str, Piece] = {
        "correctness: CPU and GPU": correctness.same_on_both,
        "correctness: back to the CPU": correctness.back_to_the_cpu,
        "correctness: compilations": correctness.compilations,
        "correctness: resume, deterministic": partial(correctness.resume, deterministic=True),
        "correctness: resume": partial(correctness.resume, deterministic=False),
        "correctness: float8": correctness.float8,
    }
    for mode in ("eager", "compiled", "graphs"):
        for model in scale.models:
            for ratio in scale.mask_ratios:
                # Three models are compiled at each resolution: two resolutions fit into nine minutes.
                groups = [scale.resolutions] if mode == "eager" else _pairs(scale.resolutions)
                for group in groups:
                    name = f"step: {model}, {mode}, mask {ratio:g}, {' '.join(map(str, group))} px"
                    found[name] = partial(steps.measure, model=model, mode=mode, ratio=ratio, resolutions=group)
        if mode == "eager":
            found["loader: threads"] = loading.threads
            for model in scale.models:
                found[f"training: {model}"] = partial(loading.training, model=model)
                found[f"profile: {model}"] = partial(profile.measure, model=model)
    for number in range(1, 5):
        found[f"real: part {number}"] = real.part
    found["real: scores"] = real.scores
    return found


def _pairs(values: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [values[i : i + 2] for i in range(0, len(values), 2)]
