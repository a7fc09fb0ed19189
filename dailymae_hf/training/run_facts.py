"""What a run measured, as JSON: `run_facts.json`, which the model card is rendered from, now or on a later push."""

import json
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dailymae_hf import __version__
from dailymae_hf.data.shards import BetonSource, is_beton_source, name_of
from dailymae_hf.run_files import FACTS_NAME
from dailymae_hf.training.callbacks import OnlineProbeCallback, PalindromeCallback, ThroughputCallback

if TYPE_CHECKING:
    from dailymae_hf.training.mae_trainer import DailyMAETrainer

_WRITER_FACTS = ("mode", "quality", "max_resolution", "carried_over", "written_by")


@dataclass(frozen=True)
class StageSummary:
    """Consecutive epochs of one resolution and mask ratio."""

    epochs: int
    resolution: int
    mask_ratio: float | None  # None: nothing is masked


def stages(trainer: "DailyMAETrainer") -> list[StageSummary]:
    """The stages that the epochs of this run go through, in order; one where there is no schedule."""
    config, epochs = trainer.core_model.config, max(1, trainer.state.num_train_epochs)
    callback = _find(trainer, PalindromeCallback)
    if callback is None:
        return [StageSummary(epochs, config.image_size, config.mask_ratio if trainer.is_mae else None)]
    per_epoch = [callback.schedule.stage(epoch) for epoch in range(epochs)]
    return [
        StageSummary(len(list(group)), resolution, mask_ratio if trainer.is_mae else None)
        for (_, resolution, mask_ratio), group in groupby(per_epoch, lambda s: (s.index, s.resolution, s.mask_ratio))
    ]


def write_facts(trainer: "DailyMAETrainer", folder: Path) -> Path:
    """Write `run_facts(trainer)` to `run_facts.json` in `folder`; returns its path."""
    path = folder / FACTS_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(run_facts(trainer), indent=2) + "\n")
    return path


def run_facts(trainer: "DailyMAETrainer") -> dict[str, Any]:
    """What the run is and what it measured so far, ready for JSON; None for what it did not measure."""
    args, state, model = trainer.args, trainer.state, trainer.core_model
    config, history = model.config, state.log_history
    throughput, probe = _find(trainer, ThroughputCallback), _find(trainer, OnlineProbeCallback)
    measured = throughput is not None and throughput.totals.images > 0
    body = model.vit if trainer.is_mae else model
    return {
        "kind": trainer.card_kind,
        "name": Path(args.output_dir).absolute().name,
        "license": args.hub_license,
        "repository": trainer.hub_model_id if args.push_to_hub else None,
        **trainer.provenance,
        "model": {name: getattr(config, name) for name in ("image_size", "patch_size", "hidden_size")},
        "parameters": sum(p.numel() for p in body.parameters()),
        "num_labels": None if trainer.is_mae else config.num_labels,
        "data": [_file_facts(kind, path) for kind, path in _files(trainer)],
        "stages": [asdict(stage) for stage in stages(trainer)],
        "epochs": state.epoch,
        "steps": state.global_step,
        "global_batch": args.effective_batch_size,
        "optimizer": {
            "name": "LARS" if hasattr(args, "lars_momentum") else "AdamW",
            "betas": [args.adam_beta1, args.adam_beta2],
            "weight_decay": args.weight_decay,
            "learning_rate": args.learning_rate,
            "warmup_epochs": args.warmup_epochs,
        },
        "layer_decay": getattr(args, "layer_decay", None),
        "seed": args.seed,
        "precision": "bf16" if args.bf16 else "fp16" if args.fp16 else "float32",
        "devices": f"{args.world_size} x {_device_name(args.device)}",
        "totals": asdict(throughput.totals) if measured else None,
        "rates": throughput.totals.rates() if measured else None,
        "mfu": throughput.mfu(throughput.totals) if measured else None,
        "total_flops": state.total_flos or None,
        "train_loss": _last(history, "loss"),
        "eval_loss": _last(history, "eval_loss"),
        "eval_accuracy": _last(history, "eval_accuracy"),
        "probe_accuracy": _last(history, "probe_accuracy"),
        "knn_accuracy": _last(history, "knn_accuracy"),
        "classes": probe.num_classes if probe is not None else None,
        "versions": {name: _version(name) for name in ("transformers", "torch", "accelerate", "ffcv")}
        | {"dailymae_hf": __version__, "python": platform.python_version()},
    }


def _find(trainer: "DailyMAETrainer", kind: type) -> Any:
    return next((c for c in trainer.callback_handler.callbacks if isinstance(c, kind)), None)


def _last(history: list[dict[str, float]], key: str) -> float | None:
    return next((entry[key] for entry in reversed(history) if key in entry), None)


def _files(trainer: "DailyMAETrainer") -> list[tuple[str, BetonSource]]:
    given = (("training", trainer.train_beton), ("validation", trainer.eval_beton))
    return [(kind, source) for kind, source in given if is_beton_source(source)]


def _file_facts(kind: str, source: BetonSource) -> dict[str, Any]:
    from dailymae_hf.data import inspect_beton

    info = inspect_beton(source)
    written = info["facts"]
    return {
        "kind": kind,
        "name": name_of(source),
        **{name: info.get(name) for name in ("num_samples", "num_classes", "modes", "bytes_per_image")},
        "width": info["width"],
        "height": info["height"],
        "written": {name: written[name] for name in _WRITER_FACTS if name in written},
    }


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
