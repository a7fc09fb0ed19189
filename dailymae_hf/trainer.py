"""DailyMAETrainer: .beton loaders in the stock Trainer, pixels normalised on the device, masks that depend on samples.

The loader is deliberately not a `torch.utils.data.DataLoader`, so that neither the Trainer nor accelerate shards it a
second time. What the Trainer would do to a DataLoader is done here: ranks, skipping on resume, owning the batches.
"""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import transformers.trainer
from accelerate.utils import DistributedDataParallelKwargs
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel, ViTMAEForPreTraining
from transformers.trainer_callback import ProgressCallback, TrainerCallback, TrainerControl
from transformers.utils import logging

from .callbacks import DailyMAECallback, PalindromeCallback, ReadableProgressCallback
from .callbacks.throughput import Stopwatch
from .data.shards import BetonSource, find_betons, is_beton_source
from .errors import RecipeError
from .evaluation import gather_samples, validation_losses
from .flops import TRAINING_FACTOR, encode_flops, mae_flops
from .hub.processor import image_processor
from .hub.pushing_trainer import PushingTrainer
from .masking import masking_noise, num_visible
from .schedule import ResolutionSchedule, warmup_cosine
from .sharding import ShardedTrainer
from .training_args import DailyMAETrainingArguments

logger = logging.get_logger(__name__)

# What MAE and most of ImageNet's models normalise with (torchvision's values), where the file knows no better.
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
EVAL_CROP = 224 / 256

Batch = dict[str, torch.Tensor]


class DailyMAETrainer(ShardedTrainer, PushingTrainer):
    """Trains a masked autoencoder from .beton files, or from any data set as the stock Trainer does.

    Args:
        model: a `DailyMAEForPreTraining` (other models train as under the stock Trainer, from .beton files too).
        args: the run's arguments.
        train_beton: the training file, a pattern or a list of files read as one, or a loader like `BetonLoader`.
        eval_beton: the same for validation; a loader must neither shuffle nor drop samples.
        loader_options: keyword arguments of the training `BetonLoader`: scale, ratio, hflip, on_error.
        train_dataset, eval_dataset: any data set instead of the files; ffcv is not needed then.
        image_mean, image_std: per channel, of pixels in 0-1; by default the training file's, else ImageNet's.
        callbacks: further callbacks. The resolution schedule of `args` and the progress bar are added by themselves.
        kwargs: whatever else `transformers.Trainer` takes.

    Raises:
        RecipeError: both a file and a data set were given, or the arguments do not fit the model or the data.
        MissingDependencyError: a .beton path was given and ffcv or the kernel is missing, or `args.float8` and torchao.
    """

    args: DailyMAETrainingArguments
    control: TrainerControl
    schedule_callback: type[PalindromeCallback] = PalindromeCallback

    def __init__(
        self,
        model: Any,
        args: DailyMAETrainingArguments,
        *,
        train_beton: BetonSource | Any | None = None,
        eval_beton: BetonSource | Any | None = None,
        loader_options: Mapping[str, Any] | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        image_mean: tuple[float, ...] | None = None,
        image_std: tuple[float, ...] | None = None,
        callbacks: list[TrainerCallback] | None = None,
        **kwargs: Any,
    ) -> None:
        _check_sources(args, train_beton, eval_beton, train_dataset, eval_dataset)
        self.train_beton, self.eval_beton = train_beton, eval_beton
        self.loader_options = dict(loader_options or {})
        self.stopwatch = Stopwatch()
        self.step_batches: list[Batch] = []
        self.is_mae = isinstance(model, ViTMAEForPreTraining)
        if self.is_mae:
            self.card_kind = "pretraining"
        self._loaders: dict[str, Any] = {}
        self._epoch = 0
        self._statistics: dict[torch.device, list[torch.Tensor]] = {}
        self.image_mean, self.image_std = _pixel_statistics(train_beton, image_mean, image_std)
        if kwargs.get("processing_class") is None and hasattr(model, "config"):
            kwargs["processing_class"] = image_processor(model.config.image_size, self.image_mean, self.image_std)
        super().__init__(
            model,
            args,
            train_dataset=train_dataset,
            # The stock checks only ask whether there is something to evaluate on.
            eval_dataset=eval_dataset if eval_beton is None else eval_beton,
            callbacks=callbacks,
            **kwargs,
        )
        if hasattr(model, "decoder_keep"):
            model.decoder_keep = args.decoder_keep
        if args.resolution_schedule is not None and train_beton is None:
            raise RecipeError(
                "resolution_schedule: a data set's images have the size it gives them; train_beton is needed"
            )
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

    def train_dataset_length(self) -> int:
        if self.train_beton is None:
            return super().train_dataset_length()
        return len(self.get_train_dataloader().dataset)

    def get_train_dataloader(self) -> Any:
        if self.train_beton is None:
            return super().get_train_dataloader()
        if not is_beton_source(self.train_beton):
            return self.train_beton
        if "train" not in self._loaders:
            from .data import BetonLoader

            args = self.args
            self._loaders["train"] = BetonLoader(
                self.train_beton,
                args.per_device_train_batch_size,
                resolution=self.model.config.image_size,
                seed=args.seed if args.data_seed is None else args.data_seed,
                rank=args.process_index,
                world_size=args.world_size,
                return_index=True,
                device=args.device,
                num_workers=args.dataloader_num_workers or None,
                **self.loader_options,
            )
        return self._loaders["train"]

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        """The validation loader, at the model's full size; a path or loader as `eval_dataset` replaces the run's."""
        source = self.eval_beton if eval_dataset is None else eval_dataset
        loader: Any = source
        if is_beton_source(source) and not isinstance(self.eval_dataset, dict):
            loader = self.fixed_loader(source)
        elif not hasattr(source, "set_resolution"):
            # Leaving out the last batch is for training, the stock method does it here too.
            with patch.object(self.args, "dataloader_drop_last", False):
                return super().get_eval_dataloader(eval_dataset)
        loader.set_resolution(self.model.config.image_size)
        return loader

    def fixed_loader(self, source: BetonSource, *, shuffle: bool = False) -> Any:
        """A loader of centre crops with no randomness but, where wanted, one fixed order. Kept for later calls."""
        key = f"{source}|{shuffle}"
        if key not in self._loaders:
            from .data import BetonLoader

            args = self.args
            self._loaders[key] = BetonLoader(
                source,
                args.per_device_eval_batch_size,
                resolution=self.model.config.image_size,
                num_workers=args.dataloader_num_workers or None,
                seed=args.seed,
                rank=args.process_index,
                world_size=args.world_size,
                hflip=False,
                shuffle=shuffle,
                drop_last=False,
                return_index=True,
                center_crop=EVAL_CROP,
                device=args.device,
                on_error=self.loader_options.get("on_error", "raise"),
            )
        return self._loaders[key]

    def get_batch_samples(self, epoch_iterator: Iterator[Batch], num_batches: int, device: torch.device) -> Any:
        with self.stopwatch.waiting():
            batches, num_items = super().get_batch_samples(epoch_iterator, num_batches, device)
        self.step_batches = batches  # callbacks look at the images of the step
        return batches, num_items

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        self._epoch = kwargs["epoch"]
        # Stock skipping rebuilds a DataLoader and has no hook: for a loader that skips by itself, ask it instead.
        with patch.object(transformers.trainer, "skip_first_batches", _skip_first_batches):
            super()._run_epoch(*args, **kwargs)

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().train(resume_from_checkpoint, *args, **kwargs)
        finally:
            # The Trainer takes exactly as many batches as there are and never lets an iterator run out.
            self.close()

    def close(self) -> None:
        """End the threads of the loaders made here; they are made anew when needed."""
        for loader in self._loaders.values():
            loader.close()
        self._loaders.clear()
        self.step_batches = []

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

    def normalize(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """uint8 (B, 3, H, W) -> float32 with the processor's mean and std; floats are taken as normalised already."""
        if pixel_values.dtype != torch.uint8:
            return pixel_values
        mean, std = self._statistics_on(pixel_values.device)
        return (pixel_values.float() - mean * 255) / (std * 255)

    def denormalize(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """The inverse of `normalize`: float (B, 3, H, W) in 0-1, not clipped."""
        mean, std = self._statistics_on(pixel_values.device)
        return pixel_values * std + mean

    def _statistics_on(self, device: torch.device) -> list[torch.Tensor]:
        """Mean and std, (1, 3, 1, 1) each. Made once: a copy in each step would wait for the device."""
        if device not in self._statistics:
            given = (self.image_mean, self.image_std)
            self._statistics[device] = [torch.tensor(values, device=device).view(1, 3, 1, 1) for values in given]
        return self._statistics[device]

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
                prepared["noise"] = masking_noise(self.args.seed, self._epoch, index, patches, pixel_values.device)
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


def _check_sources(
    args: DailyMAETrainingArguments, train_beton: Any, eval_beton: Any, train_dataset: Any, eval_dataset: Any
) -> None:
    for beton, dataset, name in ((train_beton, train_dataset, "train"), (eval_beton, eval_dataset, "eval")):
        if beton is not None and args.n_gpu > 1:
            raise RecipeError(f"{args.n_gpu} GPUs for one process: start one for each with `accelerate launch`")
        if beton is not None and dataset is not None:
            raise RecipeError(f"{name}_beton and {name}_dataset are both given: one of them must be None")
        missing = [path for path in find_betons(beton) if not path.is_file()] if is_beton_source(beton) else []
        if missing:
            raise RecipeError(f"{name}_beton: there is no file {missing[0]}; `dailymae write` makes one")
    if args.eval_strategy != "no" and eval_beton is None and eval_dataset is None:
        raise RecipeError(f"eval_strategy: {args.eval_strategy} evaluates on eval_beton, which is missing")
    if is_beton_source(train_beton) and not args.dataloader_drop_last:
        raise RecipeError(
            "dataloader_drop_last: false does not go with train_beton: the last batch would be smaller, and the "
            "learning rate is made for the whole one"
        )


def _skip_first_batches(dataloader: Any, num_batches: int = 0) -> Any:
    if hasattr(dataloader, "skip"):
        dataloader.skip(num_batches)
        return dataloader
    return _stock_skip_first_batches(dataloader, num_batches)


_stock_skip_first_batches = transformers.trainer.skip_first_batches


def _pixel_statistics(
    beton: Any, mean: tuple[float, ...] | None, std: tuple[float, ...] | None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if is_beton_source(beton) and (mean is None or std is None):
        from .data import inspect_beton

        facts = inspect_beton(beton)["facts"]
        mean, std = mean or facts.get("mean"), std or facts.get("std")
    mean, std = tuple(mean or IMAGE_MEAN), tuple(std or IMAGE_STD)
    if min(std) <= 0:
        raise RecipeError(f"image_std: {std} is not above 0 in every channel")
    return mean, std
