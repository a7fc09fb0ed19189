"""How much is measured: `full` on a GPU, `small` to see on any machine that every piece runs."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from dailymae_hf.model.modeling import SIZES


@dataclass(frozen=True)
class Scale:
    """Sizes of the models, images and runs of all pieces. Resolutions in pixels, the native one first."""

    models: tuple[str, ...]
    batch: Mapping[str, int]
    resolutions: tuple[int, ...]
    mask_ratios: tuple[float, ...]
    rounds: int
    seconds: float  # per round and contender
    compiler: str  # torch.compile's backend in the checks; `eager` counts graphs without making any
    images: int  # written for the loader
    photo_side: int
    threads: tuple[int, ...]
    train_steps: int
    resume_steps: int
    real_seconds: float
    real_model: str


FULL = Scale(
    models=("base", "large"),
    batch={"base": 256, "large": 128},
    resolutions=(224, 192, 160, 128),
    mask_ratios=(0.75, 0.9),
    rounds=5,
    seconds=1.5,
    compiler="inductor",
    images=4096,
    photo_side=400,
    threads=tuple(n for n in (1, 2, 4, 8, 16) if n <= len(os.sched_getaffinity(0))),
    train_steps=200,
    resume_steps=40,
    real_seconds=1200,
    real_model="small",
)
SMALL = Scale(
    models=("tiny",),
    batch={"tiny": 4},
    resolutions=(64, 80),
    mask_ratios=(0.75, 0.9),
    rounds=1,
    seconds=0.01,
    compiler="eager",
    images=16,
    photo_side=64,
    threads=(1, 2),
    train_steps=4,
    resume_steps=2,
    real_seconds=1,
    real_model="tiny",
)
SCALES = {"full": FULL, "small": SMALL}
assert all(model in SIZES for scale in SCALES.values() for model in (*scale.models, scale.real_model))
