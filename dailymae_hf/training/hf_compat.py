"""Everything of transformers' Trainer and of accelerate that is private or undocumented and that we stand on.

An upgrade of either package breaks here, or in the model room, and nowhere else. `tests/compat/test_private_api.py`
asserts that each name exists with the signature that is used.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import transformers.trainer
from accelerate.utils import DistributedDataParallelKwargs
from torch import nn
from transformers import Trainer, TrainerCallback
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME, TRAINING_ARGS_NAME
from transformers.trainer_callback import ExportableState, ProgressCallback
from transformers.trainer_pt_utils import AcceleratorConfig, safe_globals
from transformers.trainer_utils import (
    PREFIX_CHECKPOINT_DIR,
    HubStrategy,
    IntervalStrategy,
    SaveStrategy,
    SchedulerType,
)
from transformers.training_args import OptimizerNames
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, logging

__all__ = [
    "OPTIMIZER_NAME",
    "PREFIX_CHECKPOINT_DIR",
    "SAFE_WEIGHTS_INDEX_NAME",
    "SAFE_WEIGHTS_NAME",
    "SCHEDULER_NAME",
    "TRAINER_METHODS",
    "TRAINER_STATE_NAME",
    "TRAINING_ARGS_NAME",
    "AcceleratorConfig",
    "DistributedDataParallelKwargs",
    "HubStrategy",
    "IntervalStrategy",
    "OptimizerNames",
    "ProgressCallback",
    "SaveStrategy",
    "SchedulerType",
    "continue_loss_log",
    "drop_path",
    "exported_callback_states",
    "logging",
    "loss_log",
    "losses_start_anew",
    "safe_globals",
    "save_optimizer_and_random_states",
    "skipping_by_the_loader",
    "tune_ddp",
    "unavailable_trackers",
    "without_progress_bars",
]

# Methods of the stock Trainer that ours overrides or calls, with the arguments it counts on. Few are documented.
TRAINER_METHODS: dict[str, tuple[str, ...]] = {
    "_build_accelerator_args": ("kwargs",),
    "_finish_current_push": (),
    "_get_learning_rate": (),
    "_get_output_dir": ("trial",),
    "_load_best_model": (),
    "_load_from_checkpoint": ("resume_from_checkpoint", "model"),
    "_maybe_log_save_evaluate": ("tr_loss", "grad_norm", "model", "trial"),
    "_prepare_for_training": ("max_steps", "train_dataloader", "resume_from_checkpoint"),
    "_prepare_inputs": ("inputs",),
    "_push_from_checkpoint": ("checkpoint_folder",),
    "_run_epoch": (
        "model", "epoch", "train_dataloader", "steps_in_epoch", "num_update_steps_per_epoch", "trial",
        "ignore_keys_for_eval", "start_time", "resume_from_checkpoint", "epochs_trained",
        "steps_trained_in_current_epoch",
    ),
    "_save": ("output_dir", "state_dict"),
    "_save_checkpoint": ("model", "trial"),
    "_save_optimizer_and_scheduler": ("output_dir",),
    "_save_rng_state": ("output_dir",),
    "_save_scaler": ("output_dir",),
    "autocast_smart_context_manager": ("cache_enabled",),
    "create_model_card": (),
    "create_optimizer": ("model",),
    "create_scheduler": ("num_training_steps", "optimizer"),
    "evaluation_loop": (
        "dataloader", "description", "prediction_loss_only", "ignore_keys", "metric_key_prefix",
    ),
    "get_batch_samples": ("epoch_iterator", "num_batches", "device"),
    "get_decay_parameter_names": ("model",),
    "get_optimizer_cls_and_kwargs": ("args", "model"),
    "init_hf_repo": ("token", "private"),
    "set_initial_training_values": ("args", "dataloader"),
    "store_flos": (),
}  # fmt: skip

_stock_skip: Callable[..., Any] = transformers.trainer.skip_first_batches


@contextmanager
def skipping_by_the_loader() -> Iterator[None]:
    """Inside the block the Trainer asks a loader that has `skip(n)` to begin its next epoch after n batches.

    The Trainer's own way rebuilds a DataLoader and has no hook. Only the epoch that a resume continues needs this.
    """
    transformers.trainer.skip_first_batches = _skip
    try:
        yield
    finally:
        transformers.trainer.skip_first_batches = _stock_skip


def _skip(dataloader: Any, num_batches: int = 0) -> Any:
    if not hasattr(dataloader, "skip"):
        return _stock_skip(dataloader, num_batches)
    dataloader.skip(num_batches)
    return dataloader


@contextmanager
def without_progress_bars() -> Iterator[None]:
    """Transformers draws no progress bars of its own inside the block."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def save_optimizer_and_random_states(trainer: Trainer, folder: Path) -> None:
    """Write optimizer, learning rate, loss scale and random states as the stock Trainer does (every rank calls it)."""
    trainer._save_optimizer_and_scheduler(str(folder))
    trainer._save_scaler(str(folder))
    trainer._save_rng_state(str(folder))


def losses_start_anew(trainer: Any) -> bool:
    """Whether the loss that the Trainer sums up between two logs has only the step just done."""
    return bool(trainer._globalstep_last_logged == trainer.state.global_step - 1)


def loss_log(trainer: Any) -> dict[str, Any]:
    """When the Trainer last logged a loss, and the sum of all losses logged so far."""
    return {"last_logged": trainer._globalstep_last_logged, "total": trainer._total_loss_scalar}


def continue_loss_log(trainer: Any, *, last_logged: int, total: float, accumulated: float) -> None:
    """Let the Trainer go on with the losses summed up before a resume, which it has just set to nothing."""
    trainer._globalstep_last_logged = last_logged
    trainer._total_loss_scalar = total
    trainer._tr_loss.fill_(accumulated)


def exported_callback_states(callbacks: list[TrainerCallback], control: Any) -> dict[str, Any]:
    """What the stock Trainer keeps of its own callbacks in `trainer_state.json`."""
    states: dict[str, list[Any]] = {}
    for callback in [*callbacks, control]:
        if isinstance(callback, ExportableState):
            states.setdefault(type(callback).__name__, []).append(callback.state())
    return {name: many if len(many) > 1 else many[0] for name, many in states.items()}


def unavailable_trackers(names: list[str]) -> list[str]:
    """Those of `report_to` whose package is not installed. Raises ValueError for a name that transformers lacks."""
    from transformers.integrations import get_available_reporting_integrations, get_reporting_integration_callbacks

    get_reporting_integration_callbacks(names)
    available = get_available_reporting_integrations()
    return [name for name in names if name not in available]


def drop_path(rate: float) -> nn.Module:
    """BEiT's stochastic depth: in training, with this probability, the branch of an image is left out."""
    from transformers.models.beit.modeling_beit import BeitDropPath  # a model that only classifiers have to load

    return BeitDropPath(rate)


def tune_ddp(kwargs_handlers: list[Any], *, static_graph: bool) -> None:
    """Let DDP keep gradients in its all-reduce buckets, and plan once unless `static_graph` is False."""
    for handler in kwargs_handlers:
        if isinstance(handler, DistributedDataParallelKwargs):
            handler.gradient_as_bucket_view = True  # one copy of the gradients less
            handler.static_graph &= static_graph
