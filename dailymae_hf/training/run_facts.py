"""What a run measured, as JSON: `run_facts.json`, which the model card is rendered from, now or on a later push.

Each part of a run tells its own facts; here is what belongs to none of them, and the file.
"""

import json
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerState

from dailymae_hf import __version__
from dailymae_hf.data.beton import Beton
from dailymae_hf.data.inspect import inspect_beton
from dailymae_hf.data.shards import name_of
from dailymae_hf.run_files import FACTS_NAME
from dailymae_hf.training.optim import optimizer_facts
from dailymae_hf.training.training_args import DailyMAETrainingArguments

# Every fact that a card may ask for and that a run need not have.
NOT_MEASURED: dict[str, Any] = dict.fromkeys(
    (
        "layer_decay", "totals", "rates", "mfu", "total_flops", "train_loss", "eval_loss", "eval_accuracy",
        "probe_accuracy", "knn_accuracy", "classes", "best_step", "pictures_of",
    )
)  # fmt: skip
_SCORES = ("eval_loss", "eval_accuracy", "probe_accuracy", "knn_accuracy")
_WRITER_FACTS = ("mode", "quality", "max_resolution", "carried_over", "written_by")


def run_facts(trainer: Any) -> dict[str, Any]:
    """What a `BetonTrainer`'s run is and what it measured so far, ready for JSON; None for what it did not measure."""
    args = trainer.args
    facts = NOT_MEASURED | {
        "kind": trainer.card_kind,
        "repository": trainer.hub_model_id if args.push_to_hub else None,
        "data": [_file_facts(kind, name, file) for kind, name, file in trainer.data.files],
        **trainer.provenance,
        **_argument_facts(args),
        **trainer.model_facts(),
        **_history_facts(trainer.state, best_is_kept=args.load_best_model_at_end),
    }
    facts["optimizer"] = optimizer_facts(trainer.optimizer, str(args.optim)) | {
        "weight_decay": args.weight_decay,
        "learning_rate": args.learning_rate,
        "warmup_epochs": trainer.warmup_epochs,
    }
    for callback in trainer.own_callbacks():
        facts |= callback.facts()
    return facts


def model_facts(model: Any, counted: Any, epochs: int) -> dict[str, Any]:
    """What a model is, the parameters of `counted` (it, or its encoder), and the stage of a run without a schedule."""
    config = model.config
    # An autoencoder has a mask ratio and no classes, even where its config inherits a number of them.
    mask_ratio = getattr(config, "mask_ratio", None)
    return {
        "model": {name: getattr(config, name) for name in ("image_size", "patch_size", "hidden_size")},
        "parameters": sum(parameter.numel() for parameter in counted.parameters()),
        "num_labels": config.num_labels if mask_ratio is None else None,
        "stages": [{"epochs": max(1, epochs), "resolution": config.image_size, "mask_ratio": mask_ratio}],
    }


def write_facts(facts: Mapping[str, Any], folder: Path) -> Path:
    """Write `run_facts.json` in `folder`; returns its path."""
    path = folder / FACTS_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(facts, indent=2) + "\n")
    return path


def _argument_facts(args: DailyMAETrainingArguments) -> dict[str, Any]:
    """What the arguments decide: batch, seed, precision, devices, the versions that run."""
    return {
        "name": Path(args.output_dir).absolute().name,
        "license": args.hub_license,
        "global_batch": args.effective_batch_size,
        "seed": args.seed,
        "precision": "bf16" if args.bf16 else "fp16" if args.fp16 else "float32",
        "devices": f"{args.world_size} x {_device_name(args.device)}",
        "versions": {name: _version(name) for name in ("transformers", "torch", "accelerate", "ffcv")}
        | {"dailymae_hf": __version__, "python": platform.python_version()},
    }


def _history_facts(state: TrainerState, *, best_is_kept: bool) -> dict[str, Any]:
    """Length of the run and its last losses and scores: those of the best checkpoint where that one is the model."""
    best = state.best_global_step if best_is_kept else None
    scored = [entry for entry in state.log_history if best is None or entry.get("step", 0) <= best]
    return {
        "epochs": state.epoch,
        "steps": state.global_step,
        "best_step": best,
        "total_flops": state.total_flos or None,
        # The mean over the run, which its end logs, where it was shorter than `logging_steps`.
        "train_loss": _last(scored, "loss", "train_loss"),
        **{name: _last(scored, name) for name in _SCORES},
    }


def _file_facts(kind: str, source: Any, beton: Beton) -> dict[str, Any]:
    """A file's line on the card; `source` is how the user named it, `kind` what it is for."""
    info = inspect_beton(beton)
    written = info["facts"]
    return {
        "kind": kind,
        "name": name_of(source),
        **{name: info.get(name) for name in ("num_samples", "num_classes", "modes", "bytes_per_image")},
        "width": info["width"],
        "height": info["height"],
        "written": {name: written[name] for name in _WRITER_FACTS if name in written},
    }


def _last(history: Iterable[Mapping[str, float]], *keys: str) -> float | None:
    """The last value of the first key that was logged at all."""
    newest = list(history)[::-1]
    return next((entry[key] for key in keys for entry in newest if key in entry), None)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
