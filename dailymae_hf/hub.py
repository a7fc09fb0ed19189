"""What leaves a run: the image processor, the model card with measured facts only, the folder that others load."""

import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from jinja2 import Environment, StrictUndefined
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from . import __version__
from .callbacks import OnlineProbeCallback, PalindromeCallback, ThroughputCallback
from .data.shards import BetonSource, is_beton_source, name_of
from .recipe import RECIPE_NAME, Recipe

if TYPE_CHECKING:
    from .trainer import DailyMAETrainer

TEMPLATE = Path(__file__).with_name("model_card.md")
BICUBIC = 3  # PIL's number of the filter that MAE resizes with


def image_processor(size: int, mean: tuple[float, ...], std: tuple[float, ...]) -> ViTImageProcessorPil:
    """The processor saved with a checkpoint: resize to (size, size), bicubic, to 0-1, then (x - mean) / std.

    Its `preprocessor_config.json` is read by `AutoImageProcessor` of transformers 4 and 5, with or without torchvision.
    """
    return ViTImageProcessorPil(
        size={"height": size, "width": size}, resample=BICUBIC, image_mean=list(mean), image_std=list(std)
    )


def release(trainer: "DailyMAETrainer", recipe: Recipe) -> Path:
    """Write model, processor, resolved recipe and model card to the output folder, on the first rank; returns it."""
    folder = Path(trainer.args.output_dir)
    trainer.save_model(str(folder))
    if trainer.is_world_process_zero():
        recipe.save(folder / RECIPE_NAME)
        trainer.create_model_card()
    return folder


def write_model_card(trainer: "DailyMAETrainer") -> Path:
    """Render the card of the run as it stands and write it to `README.md` of the output folder."""
    path = Path(trainer.args.output_dir) / "README.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(model_card(trainer))
    return path


def model_card(trainer: "DailyMAETrainer") -> str:
    """The card's Markdown with its YAML head. A fact that the run did not measure has no line."""
    facts = _facts(trainer)
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    body = environment.from_string(TEMPLATE.read_text()).render(**facts)
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag="image-feature-extraction",
        tags=["vit_mae", "masked-autoencoder", "dailymae_hf"],
        model_name=facts["name"],
        eval_results=facts["results"] or None,
    )
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{body}"))


@dataclass(frozen=True)
class StageSummary:
    """Consecutive epochs of one resolution and mask ratio."""

    epochs: int
    resolution: int
    mask_ratio: float


def stages(trainer: "DailyMAETrainer") -> list[StageSummary]:
    """The stages that the epochs of this run go through, in order; one where there is no schedule."""
    config, epochs = trainer.core_model.config, max(1, trainer.state.num_train_epochs)
    callback = _find(trainer, PalindromeCallback)
    if callback is None:
        return [StageSummary(epochs, config.image_size, config.mask_ratio)]
    per_epoch = [callback.schedule.stage(epoch) for epoch in range(epochs)]
    return [
        StageSummary(len(list(group)), resolution, mask_ratio)
        for (_, resolution, mask_ratio), group in groupby(per_epoch, lambda s: (s.index, s.resolution, s.mask_ratio))
    ]


def _find(trainer: "DailyMAETrainer", kind: type) -> Any:
    return next((c for c in trainer.callback_handler.callbacks if isinstance(c, kind)), None)


def _facts(trainer: "DailyMAETrainer") -> dict[str, Any]:
    args, state, config = trainer.args, trainer.state, trainer.core_model.config
    throughput, probe = _find(trainer, ThroughputCallback), _find(trainer, OnlineProbeCallback)
    classes = probe.num_classes if probe is not None else 0
    accuracies = {key: _last(state.log_history, key) for key in ("probe_accuracy", "knn_accuracy")}
    name = args.hub_model_id.split("/")[-1] if args.hub_model_id else Path(args.output_dir).absolute().name
    return {
        "name": name,
        "source": args.hub_model_id or ".",
        "config": config,
        "parameters": sum(p.numel() for p in trainer.core_model.vit.parameters()),
        "data": [_file_facts(kind, path) for kind, path in _files(trainer)],
        "stages": stages(trainer),
        "args": args,
        "epochs": state.epoch,
        "steps": state.global_step,
        "global_batch": args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size,
        "peak_learning_rate": args.learning_rate,
        "precision": "bf16" if args.bf16 else "fp16" if args.fp16 else "float32",
        "devices": f"{args.world_size} x {_device_name(args.device)}",
        "totals": throughput.totals if throughput is not None and throughput.totals.images else None,
        "rates": throughput.totals.rates() if throughput is not None else {},
        "total_flops": state.total_flos,
        "train_loss": _last(state.log_history, "loss"),
        "eval_loss": _last(state.log_history, "eval_loss"),
        "chance": 1 / classes if classes else None,
        "classes": classes,
        **accuracies,
        "results": [
            EvalResult(
                task_type="image-classification",
                task_name="Image classification on frozen features",
                dataset_type="beton",
                dataset_name=name_of(trainer.eval_beton),
                metric_type="accuracy",
                metric_name=f"{label}, accuracy",
                metric_value=round(score, 4),
            )
            for key, label in (("probe_accuracy", "online linear probe"), ("knn_accuracy", "20 nearest neighbours"))
            if (score := accuracies[key]) is not None
        ],
        "versions": {name: _version(name) for name in ("transformers", "torch", "accelerate", "ffcv")}
        | {"dailymae_hf": __version__, "python": platform.python_version()},
    }


def _last(history: list[dict[str, float]], key: str) -> float | None:
    return next((entry[key] for entry in reversed(history) if key in entry), None)


def _files(trainer: "DailyMAETrainer") -> list[tuple[str, BetonSource]]:
    given = (("training", trainer.train_beton), ("validation", trainer.eval_beton))
    return [(kind, source) for kind, source in given if is_beton_source(source)]


def _file_facts(kind: str, source: BetonSource) -> dict[str, Any]:
    from .data import inspect_beton

    return {"kind": kind, "name": name_of(source), **inspect_beton(source)}


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
