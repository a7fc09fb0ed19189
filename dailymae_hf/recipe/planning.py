"""A recipe as the planner sees it: the schedules to compare, the run, and the fit to a budget."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dailymae_hf.model.flops import TRAINING_FACTOR, mae_flops
from dailymae_hf.plan.estimate import Conditions, Machines, Run
from dailymae_hf.plan.fit import FittedSchedule, fit_schedule, low_resolutions
from dailymae_hf.plan.speeds import StepFlops, Throughput
from dailymae_hf.schedule import ResolutionSchedule, Stage, is_fit

if TYPE_CHECKING:
    from transformers import ViTMAEConfig

_MASK_KEYS = ("mask_ratio", "keep_visible")


def training_flops(config: "ViTMAEConfig", decoder_keep: float = 1.0) -> StepFlops:
    """(resolution, mask ratio) -> FLOPs of one image's training step."""
    return lambda resolution, mask_ratio: (
        TRAINING_FACTOR * mae_flops(config, resolution, mask_ratio, decoder_keep=decoder_keep)
    )


def stages_of(spec: Mapping[str, Any] | None, epochs: int, config: "ViTMAEConfig") -> list[Stage]:
    """The stage of each epoch under a recipe's `resolution_schedule`."""
    schedule = ResolutionSchedule.from_dict(
        spec,
        epochs=epochs,
        patch_size=config.patch_size,
        resolution=config.image_size,
        mask_ratio=config.mask_ratio,
    )
    return [schedule.stage(epoch) for epoch in range(epochs)]


def usual_schedules(spec: Mapping[str, Any] | None, epochs: int, config: "ViTMAEConfig") -> dict[str, list[Stage]]:
    """Name -> stages of the recipe's own schedule and of the paper's kinds: constant, palindrome, rising, falling.

    The paper goes from 224 to 192 and 160, six and five sevenths; other models get the nearest multiple of their patch.
    """
    full, patch = config.image_size, config.patch_size
    sizes = sorted({round(full * sevenths / 7 / patch) * patch for sevenths in (5, 6, 7)} - {0})
    specs: dict[str, Mapping[str, Any] | None] = {f"constant {full}": None}
    if len(sizes) > 1:
        low = sizes[-2]
        specs[f"palindrome {full}-{low}-{full}"] = {"kind": "palindrome", "resolutions": [full, low, full]}
        specs["increasing " + "-".join(map(str, sizes))] = {"kind": "increasing", "resolutions": sizes}
        specs["decreasing " + "-".join(map(str, sizes[::-1]))] = {"kind": "decreasing", "resolutions": sizes[::-1]}
    if not is_fit(spec) and spec is not None:
        specs = {"this recipe": spec, **specs}
    return {name: stages_of(given, epochs, config) for name, given in specs.items()}


def sizes_to_measure(spec: Mapping[str, Any] | None, epochs: int, config: "ViTMAEConfig") -> list[int]:
    """Full size first, then the lowest that a fit may choose and the sizes of the recipe's own schedule."""
    full, floor = config.image_size, spec.get("low") if spec is not None and is_fit(spec) else None
    wanted = set(low_resolutions(full, config.patch_size, floor)[-1:])
    if not is_fit(spec):
        wanted |= {stage.resolution for stage in stages_of(spec, epochs, config)}
    return [full, *sorted(wanted - {full}, reverse=True)]


def fit_recipe_schedule(
    budget_seconds: float,
    spec: Mapping[str, Any] | None,
    epochs: int,
    config: "ViTMAEConfig",
    conditions: Conditions,
) -> FittedSchedule:
    """`fit_schedule` with the model's sizes, and floor and mask ratio from `spec` where it is {fit: ...}."""
    given: Mapping[str, Any] = spec if spec is not None and is_fit(spec) else {}
    masks = {key: given[key] for key in _MASK_KEYS if key in given}

    def mask_ratio(size: int) -> float:
        return stages_of({"kind": "constant", "resolution": size, **masks}, 1, config)[0].mask_ratio

    return fit_schedule(
        budget_seconds,
        epochs,
        resolution=config.image_size,
        patch_size=config.patch_size,
        mask_ratio=mask_ratio,
        conditions=conditions,
        floor=given.get("low"),
    )


def conditions_of(
    config: "ViTMAEConfig",
    *,
    images: int,
    global_batch: int,
    machines: Machines,
    throughput: Throughput,
    decoder_keep: float = 1.0,
) -> Conditions:
    """What the estimates take: run, machines, speeds, and the model's FLOPs."""
    return Conditions(Run(images, global_batch), machines, throughput, training_flops(config, decoder_keep))
