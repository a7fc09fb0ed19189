"""DailyMAETrainer: masked autoencoding, its schedule, masks that depend on samples, MAE's optimizer and its loss."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import DistributedDataParallelKwargs
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel, ViTMAEForPreTraining
from transformers.trainer_callback import ProgressCallback, TrainerCallback, TrainerControl
from transformers.utils import logging

from dailymae_hf.model.flops import TRAINING_FACTOR, encode_flops, mae_flops
from dailymae_hf.model.masking import num_visible
from dailymae_hf.rng import sample_noise
from dailymae_hf.schedule import ResolutionSchedule, warmup_cosine
from dailymae_hf.training.beton_trainer import BetonTrainer
from dailymae_hf.training.callbacks import DailyMAECallback, PalindromeCallback, ReadableProgressCallback
from dailymae_hf.training.evaluation import gather_samples, validation_losses
from dailymae_hf.training.training_args import DailyMAETrainingArguments

logger = logging.get_logger(__name__)


class DailyMAETrainer(BetonTrainer):
    """Trains a masked autoencoder from .beton files, or from any data set as the stock Trainer does.

    The resolution schedule of `args` and the progress bar are added to the callbacks by themselves.

    Args:
        model: a `DailyMAEForPreTraining` (other models train as under the stock Trainer, from .beton files too).
        args: the run's arguments.
        train_beton, kwargs: as `BetonTrainer` takes them.

    Raises:
        RecipeError: the arguments do not fit the model or the data, or `args.float8` and the card has no 8-bit floats.
        MissingDependencyError: a .beton path was given and ffcv or the kernel is missing, or `args.float8` and torchao.
    """

    control: TrainerControl
    schedule_callback: type[PalindromeCallback] = PalindromeCallback

    def __init__(self, model: Any, args: DailyMAETrainingArguments, *, train_beton: Any = None, **kwargs: Any) -> None:
        self.is_mae = isinstance(model, ViTMAEForPreTraining)
        if self.is_mae:
            self.card_kind = "pretraining"
        super().__init__(model, args, train_beton=train_beton, **kwargs)
        if hasattr(model, "decoder_keep"):
            model.decoder_keep = args.decoder_keep
        if train_beton is not None and (self.is_mae or args.resolution_schedule is not None):
            self._add_schedule()
        for callback in self.callback_handler.callbacks:
            self._attach(callback)
        if self.pop_callback(ProgressCallback) is not None:
            self.add_callback(ReadableProgressCallback)

    # ---- callbacks -------------------------------------------------------------------------------------------------

    def _add_schedule(self) -> None:
        callbacks = self.callback_handler.callbacks
        if any(isinstance(callback, PalindromeCallback) for callback in callbacks):
            return
        epochs = self.args.num_train_epochs
        if self.args.max_steps > 0:  # it sets the length of the run, and the learning rate follows it as well
            epochs = self.args.max_steps * self.args.gradient_accumulation_steps / len(self.get_train_dataloader())
        schedule = ResolutionSchedule.from_args(self.args, self.model.config, epochs)
        for stage in schedule.left_out(epochs):
            logger.warning(
                "resolution_schedule: stage %d of %d (%d px) gets no epoch in a run of %g",
                stage.index + 1, len(schedule.stages), stage.resolution, epochs,
            )  # fmt: skip
        callbacks.insert(0, self.schedule_callback(schedule))

    def _attach(self, callback: TrainerCallback) -> None:
        if isinstance(callback, DailyMAECallback):
            callback.attach(self)

    def add_callback(self, callback: TrainerCallback | type[TrainerCallback]) -> None:
        super().add_callback(callback)
        self._attach(self.callback_handler.callbacks[-1])

    def _own_callbacks(self) -> list[DailyMAECallback]:
        return [callback for callback in self.callback_handler.callbacks if isinstance(callback, DailyMAECallback)]

    def save_callback_states(self, folder: Path) -> None:
        for callback in self._own_callbacks():
            callback.save_state(folder)

    def load_callback_states(self, folder: Path) -> None:
        for callback in self._own_callbacks():
            callback.load_state(folder)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            for callback in self._own_callbacks():
                logs.update(callback.log_values())
        super().log(logs, start_time)

    # ---- data ------------------------------------------------------------------------------------------------------

    # ---- one step --------------------------------------------------------------------------------------------------

    @property
    def core_model(self) -> Any:
        """The model without wrappers of compile or distributed training."""
        if isinstance(self.model, PreTrainedModel):  # nearly always; to unwrap is to search all modules
            return self.model
        return self.accelerator.unwrap_model(self.model, keep_torch_compile=False)

    @property
    def mask_ratio(self) -> float:
        """The share of patches hidden now."""
        model = self.core_model
        return float(model.mask_ratio if hasattr(model, "mask_ratio") else model.config.mask_ratio)

    def _prepare_inputs(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        prepared = super()._prepare_inputs(dict(inputs))
        if "pixel_values" in prepared:
            prepared["pixel_values"] = self.normalize(prepared["pixel_values"])
        index = prepared.pop("index", None)
        if self.is_mae:
            prepared.pop("labels", None)
            if index is not None:
                pixel_values = prepared["pixel_values"]
                patches = (pixel_values.shape[-1] // self.model.config.patch_size) ** 2
                prepared["noise"] = sample_noise(self.args.seed, self._epoch, index, patches, pixel_values.device)
        return prepared

    def image_cost(self, size: int) -> tuple[int, int]:
        """Tokens that the encoder works on, and FLOPs of a training step, for one image of `size` pixels.

        For a masked autoencoder the visible patches and the class token, and MAE's count; for other transformers with
        the usual config all patches.
        """
        config = self.model.config
        patches = (size // config.patch_size) ** 2
        if not self.is_mae:
            return 1 + patches, TRAINING_FACTOR * encode_flops(config, size)
        keep = getattr(self.core_model, "decoder_keep", 1.0)
        flops = mae_flops(config, size, self.mask_ratio, decoder_keep=keep)
        return 1 + num_visible(patches, self.mask_ratio), TRAINING_FACTOR * flops

    def floating_point_ops(self, inputs: Mapping[str, Any]) -> int:
        """FLOPs of one forward and backward pass over a batch (the stock count takes pixels for tokens)."""
        if "pixel_values" not in inputs:
            return 0
        count, _, size, _ = inputs["pixel_values"].shape
        return count * self.image_cost(size)[1]

    # ---- optimizer -------------------------------------------------------------------------------------------------

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """Weight matrices and the patch projection only: not biases, norms, tokens or positions."""
        exempt = ("cls_token", "mask_token", "position_embeddings", "decoder_pos_embed")
        return [
            name
            for name, parameter in model.named_parameters()
            if parameter.ndim > 1 and name.rpartition(".")[2] not in exempt
        ]

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> Any:
        """Per-step half cosine after a linear warm-up over `args.warmup_epochs`."""
        if getattr(self, "lr_scheduler", None) is None:
            factor = warmup_cosine(self.args.warmup_epochs * self._steps_per_epoch, num_training_steps)
            self.lr_scheduler = LambdaLR(self.optimizer if optimizer is None else optimizer, factor)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def set_initial_training_values(self, args: Any, dataloader: Any) -> Any:
        values = super().set_initial_training_values(args, dataloader)
        self._steps_per_epoch = values[1]
        return values

    def _build_accelerator_args(self, **kwargs: Any) -> dict[str, Any]:
        built = super()._build_accelerator_args(**kwargs)
        for handler in built["kwargs_handlers"]:
            if isinstance(handler, DistributedDataParallelKwargs):
                handler.gradient_as_bucket_view = True  # gradients live in the all-reduce buckets: one copy less
                # DDP fails when a static graph's first backward pass is one that does not synchronise.
                handler.static_graph &= self.args.gradient_accumulation_steps == 1
        return built

    # ---- evaluation ------------------------------------------------------------------------------------------------

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """MAE loss over the validation set at the model's full size and the config's mask ratio.

        Each sample's mask is a function of the seed and the sample's index, so that figures of two epochs, and of one
        and eight ranks, can be compared. Models that are no masked autoencoders get the stock evaluation.
        """
        with self.stopwatch.pause():
            if not self.is_mae or isinstance(self.eval_dataset if eval_dataset is None else eval_dataset, dict):
                return super().evaluate(eval_dataset, ignore_keys, metric_key_prefix)
            start = time.perf_counter()
            losses = self._validation_losses(self.get_eval_dataloader(eval_dataset))
            seconds = time.perf_counter() - start
            metrics = {
                f"{metric_key_prefix}_loss": losses.mean().item(),
                f"{metric_key_prefix}_runtime": round(seconds, 4),
                f"{metric_key_prefix}_samples_per_second": round(len(losses) / seconds, 3),
            }
            self.log(metrics)
            self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
            return metrics

    def _validation_losses(self, loader: Any) -> torch.Tensor:
        self.callback_handler.eval_dataloader = loader  # the progress bar's length
        return validation_losses(
            self.core_model,
            loader,
            accelerator=self.accelerator,
            normalize=self.normalize,
            seed=self.args.seed,
            batch_size=self.args.eval_batch_size,
            after_batch=lambda: self.callback_handler.on_prediction_step(self.args, self.state, self.control),
        )

    def gather_samples(self, index: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows of all ranks by sample index, each sample once; see `evaluation.gather_samples`."""
        return gather_samples(self.accelerator, index, values)

    # ---- checkpoints -----------------------------------------------------------------------------------------------

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        with self.stopwatch.pause():
            super()._save_checkpoint(model, trial)
