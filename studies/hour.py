"""What the one-hour recipes take on 8 H100, counted: `python -m studies.hour` writes `studies/results/hour.md`.

Nothing here was timed on a GPU. Arithmetic comes from the recipes, utilisation is stated, and the loader's speed per
core is the one that benchmarks/results/loader.json holds for another processor.
"""

import json
from pathlib import Path
from typing import Any

from transformers import ViTMAEConfig

from dailymae_hf.model.flops import TRAINING_FACTOR, encode_flops, mae_flops
from dailymae_hf.model.modeling import mae_config
from dailymae_hf.schedule import ResolutionSchedule, Stage
from studies.study import HERE, read_mapping

CONFIGS = HERE.parent / "recipes" / "configs"
PRETRAIN = CONFIGS / "mae_base_in1k_hour.yaml"
FINETUNE = CONFIGS / "downstream" / "finetune_base_in1k_hour.yaml"
LOADER = HERE.parent / "benchmarks" / "results" / "loader.json"
IMAGES = 1_281_167
GPUS = 8
PEAK = 989e12  # an H100's dense bf16 FLOPs per second
UTILISATIONS = (0.25, 0.40, 0.55)
FORMATS = {"dct": "ours, dct", "jpg": "ours, jpg", "ffcv": "ffcv"}
NEWTON_SCHULZ_STEPS = 5


def stages(recipe: dict[str, Any], config: ViTMAEConfig) -> list[tuple[Stage, int]]:
    """The recipe's stages with the epochs of each."""
    epochs = int(recipe["num_train_epochs"])
    schedule = ResolutionSchedule.from_dict(
        recipe.get("resolution_schedule"),
        epochs=epochs,
        patch_size=config.patch_size,
        resolution=config.image_size,
        mask_ratio=config.mask_ratio,
    )
    of_epoch = [schedule.stage(epoch) for epoch in range(epochs)]
    return [(stage, of_epoch.count(stage)) for stage in schedule.stages]


def muon_flops(config: ViTMAEConfig) -> int:
    """FLOPs of Muon's orthogonalisation in one optimizer step, the same on every GPU.

    A Newton-Schulz step of a matrix with sides a <= b takes three products: a^2 b, a^3 and a^2 b multiply-adds.
    """
    total = 0
    for layers, width, inner in (
        (config.num_hidden_layers, config.hidden_size, config.intermediate_size),
        (config.decoder_num_hidden_layers, config.decoder_hidden_size, config.decoder_intermediate_size),
    ):
        for count, a, b in ((4, width, width), (2, min(width, inner), max(width, inner))):
            total += layers * count * NEWTON_SCHULZ_STEPS * 2 * (2 * a * a * b + a**3)
    return total


def minutes(flops_per_image: float, flops_per_step: float, epochs: int, batch: int, utilisation: float) -> float:
    """Minutes of so many epochs; `flops_per_step` is what each GPU does once a step whatever the batch."""
    steps = epochs * (IMAGES // batch)
    return steps * (batch * flops_per_image / GPUS + flops_per_step) / (PEAK * utilisation) / 60


def loader_speeds() -> dict[str, dict[int, float]]:
    """Images per second and core by format and resolution."""
    measured = json.loads(LOADER.read_text())
    return {
        name: {
            int(size): entry["images_per_second"] / measured["workers"]
            for size, entry in measured["results"][key].items()
        }
        for name, key in FORMATS.items()
    }


def rows() -> list[list[str]]:
    """One row a stage: minutes at each utilisation, and the cores that feed it at 40 %."""
    recipe, finetune = read_mapping(PRETRAIN), read_mapping(FINETUNE)
    config = mae_config(
        recipe["model_size"],
        image_size=recipe["image_size"],
        mask_ratio=recipe["mask_ratio"],
        **recipe["model_overrides"],
    )
    table, totals = [], [0.0] * len(UTILISATIONS)
    plan = [
        ("pretraining", recipe, GPUS * recipe["per_device_train_batch_size"], muon_flops(config)),
        ("fine-tuning", finetune, GPUS * finetune["per_device_train_batch_size"], 0),
    ]
    for kind, keys, batch, per_step in plan:
        for stage, epochs in stages(keys, config):
            size = stage.resolution
            forward = mae_flops(config, size, stage.mask_ratio) if per_step else encode_flops(config, size)
            times = [minutes(TRAINING_FACTOR * forward, per_step, epochs, batch, share) for share in UTILISATIONS]
            totals = [total + time for total, time in zip(totals, times, strict=True)]
            rate = epochs * IMAGES / (60 * times[1])
            cores = [f"{rate / speeds[size]:.0f}" for speeds in loader_speeds().values()]
            table.append([kind, str(size), str(epochs), *(f"{time:.1f}" for time in times), f"{rate:,.0f}", *cores])
    table.append(["all", "", "", *(f"**{total:.0f}**" for total in totals), "", *[""] * len(FORMATS)])
    return table


def page() -> str:
    """The table and what it leaves out."""
    heads = ["", "resolution", "epochs", *(f"min at {share:.0%} MFU" for share in UTILISATIONS), "images/s at 40 %"]
    heads += [f"{name}: cores at 40 %" for name in FORMATS]
    lines = ["| " + " | ".join(row) + " |" for row in [heads, ["---"] * len(heads), *rows()]]
    return f"""# The hour, counted

Minutes on {GPUS} H100 ({PEAK / 1e12:.0f} TFLOP/s in bf16 each) by arithmetic: nothing of it was timed on a GPU. Muon's
orthogonalisation, which every GPU does for itself, is in. Cores are those of all {GPUS} GPUs together, at the speed per
core of [loader.json](../../benchmarks/results/loader.json).

{chr(10).join(lines)}

Not in: start and compilation (about a minute per resolution), the online probe (under 5 %), validation, checkpoints and
communication. At 40 % the hour has nine minutes for them; at 25 % it holds the pretraining alone. At 128 px a step of
512 images per GPU lasts 12 ms at most, which a host keeps up with only in compiled graphs: expect the lower utilisation
there. Only packed DCT files (`--mode dct`) feed it from the cores that a machine with 8 GPUs has.
"""


def main() -> None:
    """Write and print the page."""
    path: Path = HERE / "results" / "hour.md"
    path.write_text(page())
    print(path.read_text())


if __name__ == "__main__":
    main()
