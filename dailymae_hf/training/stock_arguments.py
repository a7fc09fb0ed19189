"""The values that transformers' own training arguments may have, where its checks let others through."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from dailymae_hf.errors import MissingDependencyError, RecipeError, extra
from dailymae_hf.keys import Allowed
from dailymae_hf.training.hf_compat import (
    AcceleratorConfig,
    HubStrategy,
    IntervalStrategy,
    OptimizerNames,
    SaveStrategy,
)

_COUNT = Allowed(at_least=1)
_FROM_0 = Allowed(at_least=0)
_ABOVE_0 = Allowed(above=0)
_SEED = Allowed(at_least=0, at_most=2**32 - 1)  # numpy takes no other
_LEVELS = Allowed(choices=("debug", "info", "warning", "error", "critical", "passive", "detail"))
_STRATEGY = Allowed(choices=tuple(kind.value for kind in IntervalStrategy))

STOCK_VALUES = {
    "per_device_train_batch_size": _COUNT,
    "per_device_eval_batch_size": _COUNT,
    "gradient_accumulation_steps": _COUNT,
    "num_train_epochs": _ABOVE_0,
    "max_steps": Allowed(at_least=1, otherwise=-1),
    "learning_rate": _ABOVE_0,
    "weight_decay": _FROM_0,
    "adam_beta1": Allowed(above=0, below=1),
    "adam_beta2": Allowed(above=0, below=1),
    "adam_epsilon": _ABOVE_0,
    "max_grad_norm": _FROM_0,
    "label_smoothing_factor": Allowed(at_least=0, below=1),
    "optim": Allowed(choices=tuple(kind.value for kind in OptimizerNames)),
    "torch_compile_mode": Allowed(choices=("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")),
    "torch_empty_cache_steps": _COUNT,
    "logging_strategy": _STRATEGY,
    "eval_strategy": _STRATEGY,
    "save_strategy": Allowed(choices=tuple(kind.value for kind in SaveStrategy)),
    "hub_strategy": Allowed(choices=tuple(kind.value for kind in HubStrategy)),
    # Below 1 they are a fraction of the run.
    "logging_steps": _ABOVE_0,
    "eval_steps": _ABOVE_0,
    "save_steps": _ABOVE_0,
    "eval_delay": _FROM_0,
    "eval_accumulation_steps": _COUNT,
    "save_total_limit": _COUNT,
    "seed": _SEED,
    "data_seed": _SEED,
    "dataloader_num_workers": _FROM_0,
    "dataloader_prefetch_factor": _COUNT,
    "dataloader_multiprocessing_context": Allowed(choices=("fork", "spawn", "forkserver")),
    "train_sampling_strategy": Allowed(choices=("random", "sequential", "group_by_length", "batch_rebalance")),
    "ddp_bucket_cap_mb": _COUNT,
    "ddp_timeout": _COUNT,
    "ddp_backend": Allowed(choices=("nccl", "gloo", "mpi", "xccl", "hccl", "cncl", "mccl")),
    "log_level": _LEVELS,
    "log_level_replica": _LEVELS,
    "neftune_noise_alpha": _FROM_0,
}


def check_trackers(report_to: str | Sequence[str] | None) -> None:
    """Refuse a tracker that transformers does not know or that is not installed, before the run begins.

    Raises:
        RecipeError: there is no such tracker.
        MissingDependencyError: its package is not installed.
    """
    wanted = [report_to] if isinstance(report_to, str) else list(report_to or [])
    named = [name for name in wanted if name not in ("all", "none")]
    if not named:
        return
    from dailymae_hf.training.hf_compat import unavailable_trackers  # with the Trainer, which a tracker asks for

    try:
        missing = unavailable_trackers(named)
    except ValueError as error:
        raise RecipeError(f"report_to: {error}") from error
    if "tensorboard" in missing:
        with extra("tensorboard", "report_to"):
            import_module("tensorboard")
    if missing:
        raise MissingDependencyError(f"report_to: {missing[0]} is not installed (pip install {missing[0]})")


def check_accelerator_config(value: Any) -> None:
    """Refuse a mapping with other keys than accelerate's settings have, or a JSON file that is missing or damaged."""
    try:
        if isinstance(value, Mapping):
            AcceleratorConfig(**value)
        elif isinstance(value, str):
            AcceleratorConfig.from_json_file(value)
    except (TypeError, ValueError, OSError) as error:
        raise RecipeError(f"accelerator_config: {error}") from error


def check_compile_backend(backend: str | None) -> None:
    """Refuse a backend of torch.compile that there is not, which would show at the first step only."""
    if backend is None:
        return
    import torch

    known = torch.compiler.list_backends(exclude_tags=())
    if backend not in known:
        raise RecipeError(f"torch_compile_backend: {backend!r} is not one of {', '.join(known)}")
