"""Checkpoints that continue exactly: every tensor restored or refused, settings compared, folders renamed when whole.

The stock Trainer loads a checkpoint with `strict=False`, writes it in place, and takes the folder with the highest
number for the newest even if a crash left it half written. Here a checkpoint exists whole or not at all.
"""

import copy
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
import torch.distributed as dist
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import PreTrainedModel, Trainer
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME, TRAINING_ARGS_NAME
from transformers.trainer_callback import ExportableState
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, logging

from dailymae_hf.errors import CheckpointError, RecipeError, ResumeError
from dailymae_hf.training.run_settings import FIXED_ARGUMENTS, RunSettings, checkpoints_of, newest_checkpoint, run_of

_PARTIAL = "_partial-"  # the leading underscore keeps it out of uploads, the name out of the search for checkpoints


def load_weights(model: torch.nn.Module, folder: str | os.PathLike[str]) -> None:
    """Copy a checkpoint's weights into `model` in place, each tensor or none.

    Key names are translated by `from_pretrained`, as files keep names that older transformers read too.

    Args:
        model: any module; a `PreTrainedModel` is read through its own class, others by their state dict's names.
        folder: a folder with `model.safetensors` (or its shards, for a `PreTrainedModel`).

    Raises:
        ResumeError: weights are missing, left over or of another shape; the message names up to three of them.
    """
    folder = Path(folder)
    if not any((folder / name).is_file() for name in (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME)):
        raise ResumeError(f"{folder} holds no {SAFE_WEIGHTS_NAME}")
    try:
        state, problems = (_from_model_files if isinstance(model, PreTrainedModel) else _from_one_file)(model, folder)
    except (CheckpointError, SafetensorError) as error:
        raise ResumeError(f"the weights in {folder} cannot be read: {error}") from error
    wrong = [f"{len(names)} {kind} ({', '.join(names[:3])})" for kind, names in problems.items() if names]
    if wrong:
        raise ResumeError(f"the weights in {folder} are not this model's: {'; '.join(wrong)}")
    model.load_state_dict(state, strict=True)


def _from_model_files(model: PreTrainedModel, folder: Path) -> tuple[Mapping[str, torch.Tensor], dict[str, list[str]]]:
    """Tensors by the model's names, and the names that files and model do not share."""
    loaded, report = type(model).from_pretrained(
        folder, config=copy.deepcopy(model.config), output_loading_info=True, ignore_mismatched_sizes=True
    )
    return loaded.state_dict(), {
        "missing": sorted(report["missing_keys"]),
        "unknown": sorted(report["unexpected_keys"]),
        "of another shape": sorted(str(entry[0]) for entry in report["mismatched_keys"]),
    }


def _from_one_file(model: torch.nn.Module, folder: Path) -> tuple[Mapping[str, torch.Tensor], dict[str, list[str]]]:
    state, own = load_file(folder / SAFE_WEIGHTS_NAME), model.state_dict()
    return state, {
        "missing": sorted(own.keys() - state.keys()),
        "unknown": sorted(state.keys() - own.keys()),
        "of another shape": sorted(k for k in own.keys() & state.keys() if own[k].shape != state[k].shape),
    }


class ExactResumeTrainer(Trainer):
    """The stock Trainer, with checkpoints that are whole, and either continued exactly or refused."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        started = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
        if started != self.args.world_size:
            raise RecipeError(
                f"{started} processes were started, but this one takes itself for one of {self.args.world_size}, and "
                "they would train apart: on CPU ranks the argument use_cpu has to be true"
            )

    def run_settings(self) -> RunSettings:
        """The settings of this run that a checkpoint must share."""
        args = self.args
        return RunSettings(
            world_size=args.world_size,
            per_device_train_batch_size=args.per_device_train_batch_size,
            gradient_accumulation_steps=args.gradient_accumulation_steps,
            seed=args.seed,
            data_seed=args.data_seed,
            dataset_length=self.train_dataset_length(),
            mask_ratio=getattr(getattr(self.model, "config", None), "mask_ratio", None),
            arguments={name: getattr(args, name) for name in FIXED_ARGUMENTS if hasattr(args, name)},
        )

    def train_dataset_length(self) -> int:
        """Number of training samples over all ranks; 0 where the data set has no length."""
        return len(self.train_dataset) if hasattr(self.train_dataset, "__len__") else 0

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """Train, or continue from a folder (`True`: the newest whole checkpoint of `output_dir`).

        Raises:
            ResumeError: there is no checkpoint, or it cannot be continued exactly under the present settings.
        """
        if resume_from_checkpoint in (True, "true"):
            newest = newest_checkpoint(self.args.output_dir)
            if newest is None:
                raise ResumeError(f"{self.args.output_dir} holds no whole checkpoint to resume from")
            resume_from_checkpoint = str(newest)
        self._run = uuid4().hex
        if resume_from_checkpoint:
            folder = Path(str(resume_from_checkpoint))
            self.run_settings().check(folder)
            self._check_complete(folder)
            self._run = run_of(folder) or self._run
        return super().train(resume_from_checkpoint or None, *args, **kwargs)

    def _check_complete(self, folder: Path) -> None:
        """Refuse a checkpoint without what the stock Trainer begins anew, and says nothing of, where it is missing."""
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:  # they keep the optimizer's parts in files of their own
            names = [SCHEDULER_NAME]
        else:
            names = [OPTIMIZER_NAME, SCHEDULER_NAME]
        args = self.args
        names.append("rng_state.pth" if args.world_size == 1 else f"rng_state_{args.process_index}.pth")
        for name in names:
            if not (folder / name).is_file():
                raise ResumeError(
                    f"{folder} has no {name} (with save_only_model there is none), so it cannot be continued exactly. "
                    "Start a new run from its weights with from_pretrained instead."
                )

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        if self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            load_weights(self.model if model is None else model, resume_from_checkpoint)

    def _load_best_model(self) -> None:
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_best_model()
        else:
            load_weights(self.model, self.state.best_model_checkpoint)

    def save_callback_states(self, folder: Path) -> None:
        """Hook: what callbacks keep between steps goes into `folder`. Called on the saving rank only."""

    def load_callback_states(self, folder: Path) -> None:
        """Hook: the counterpart of `save_callback_states`, called on every rank once the model is prepared."""

    def _prepare_for_training(self, max_steps: int, train_dataloader: Any, resume_from_checkpoint: str | None) -> Any:
        prepared = super()._prepare_for_training(max_steps, train_dataloader, resume_from_checkpoint)
        if resume_from_checkpoint is not None:
            self.load_callback_states(Path(resume_from_checkpoint))
        return prepared

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """Write a checkpoint beside its final place and rename it once every rank has written its part.

        Raises:
            CheckpointError: it could not be written; the message has the room left on the disk.
        """
        self.store_flos()
        run_dir = Path(self._get_output_dir(trial=trial))
        final = run_dir / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        partial = run_dir / f"{_PARTIAL}{self.state.global_step}"
        if self.args.should_save:
            for stale in run_dir.glob(f"{_PARTIAL}*"):
                shutil.rmtree(stale)
        self._barrier()
        try:
            self._write_checkpoint(partial, final)
        except (
            OSError,
            RuntimeError,
            SafetensorError,
        ) as error:  # torch and safetensors have their own for a full disk
            if self.args.should_save:
                shutil.rmtree(partial, ignore_errors=True)
            free = shutil.disk_usage(run_dir).free
            raise CheckpointError(f"{final} could not be written ({free / 1e6:,.0f} MB are free): {error}") from error
        self._barrier()
        if self.args.push_to_hub:
            self._push_from_checkpoint(str(final))
        if self.args.should_save:
            self._remove_old_checkpoints(run_dir)

    def _write_checkpoint(self, partial: Path, final: Path) -> None:
        self.save_model(str(partial), _internal_call=True)
        if not self.args.save_only_model:
            self._save_optimizer_and_scheduler(str(partial))
            self._save_scaler(str(partial))
            self._save_rng_state(str(partial))
        if self.args.should_save:
            self.run_settings().save(partial, self._run)
            self.save_callback_states(partial)
        self._barrier()
        if self.state.best_global_step:
            best = final.parent / f"{PREFIX_CHECKPOINT_DIR}-{self.state.best_global_step}"
            if best == final or best.exists():
                self.state.best_model_checkpoint = str(best)
        if self.args.should_save:
            self._export_callback_states()
            self.state.save_to_json(str(partial / TRAINER_STATE_NAME))
            _flush_to_disk(partial)
            if final.exists():
                shutil.rmtree(final)
            partial.rename(final)

    def _remove_old_checkpoints(self, run_dir: Path) -> None:
        """Keep `save_total_limit` checkpoints of this run, the best and the newest among them.

        An earlier run's stay: the stock rotation counts by steps alone, and would remove this run's first ones instead.
        """
        limit = self.args.save_total_limit
        if not limit or limit < 1:
            return
        own = checkpoints_of(run_dir, self._run)
        best = self.state.best_model_checkpoint
        kept = {path for path in own if path == own[-1] or (best and path == Path(best))}
        for path in reversed(own):
            if len(kept) < limit:
                kept.add(path)
        for path in set(own) - kept:
            shutil.rmtree(path, ignore_errors=True)

    def _export_callback_states(self) -> None:
        states: dict[str, Any] = {}
        for callback in [*self.callback_handler.callbacks, self.control]:
            if isinstance(callback, ExportableState):
                states.setdefault(type(callback).__name__, []).append(callback.state())
        exported = {name: many if len(many) > 1 else many[0] for name, many in states.items()}
        self.state.stateful_callbacks = exported

    def _save(self, output_dir: str | None = None, state_dict: Mapping[str, Any] | None = None) -> None:
        with _no_progress_bar():  # one file is written, in less time than its bar takes to read
            super()._save(output_dir, state_dict=state_dict)
        # A pickle that nothing reads back: the resolved recipe says the same in plain text.
        (Path(output_dir or self.args.output_dir) / TRAINING_ARGS_NAME).unlink(missing_ok=True)

    def _barrier(self) -> None:
        if dist.is_available() and dist.is_initialized():
            dist.barrier()


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _flush_to_disk(folder: Path) -> None:
    """fsync every file, so that the rename cannot outlive the contents through a power cut."""
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
