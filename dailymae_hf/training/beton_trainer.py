"""The stock Trainer on .beton files: their loaders, what it would do to a DataLoader, pixels normalised on the device.

The loader is deliberately not a `torch.utils.data.DataLoader`, so that neither the Trainer nor accelerate shards it a
second time. What the Trainer would do to a DataLoader is done here: ranks, skipping on resume, owning the batches.
"""

from collections.abc import Iterator, Mapping
from typing import Any
from unittest.mock import patch

import torch
import transformers.trainer

from dailymae_hf.data.shards import BetonSource, find_betons, is_beton_source
from dailymae_hf.errors import RecipeError
from dailymae_hf.model.image_processors import image_processor
from dailymae_hf.training.fsdp import ShardedTrainer
from dailymae_hf.training.pushing_trainer import PushingTrainer
from dailymae_hf.training.stopwatch import Stopwatch
from dailymae_hf.training.training_args import DailyMAETrainingArguments

# What MAE and most of ImageNet's models normalise with (torchvision's values), where the file knows no better.
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
EVAL_CROP = 224 / 256

Batch = dict[str, torch.Tensor]


class BetonTrainer(ShardedTrainer, PushingTrainer):
    """Trains any model on .beton files, or on any data set as the stock Trainer does.

    Args:
        model: a model whose config has an `image_size`.
        args: the run's arguments.
        train_beton: the training file, a pattern or a list of files read as one, or a loader like `BetonLoader`.
        eval_beton: the same for validation; a loader must neither shuffle nor drop samples.
        loader_options: keyword arguments of the training `BetonLoader`: scale, ratio, hflip, on_error.
        train_dataset, eval_dataset: any data set instead of the files; ffcv is not needed then.
        image_mean, image_std: per channel, of pixels in 0-1; by default the training file's, else ImageNet's.
        kwargs: whatever else `transformers.Trainer` takes.

    Raises:
        RecipeError: both a file and a data set were given, there is no such file, or the arguments do not fit the data.
        MissingDependencyError: a .beton path was given and ffcv or the kernel is missing.
    """

    args: DailyMAETrainingArguments

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
        **kwargs: Any,
    ) -> None:
        _check_source("train", train_beton, train_dataset, args)
        _check_source("eval", eval_beton, eval_dataset, args)
        if args.eval_strategy != "no" and eval_beton is None and eval_dataset is None:
            raise RecipeError(f"eval_strategy: {args.eval_strategy} evaluates on eval_beton, which is missing")
        if is_beton_source(train_beton) and not args.dataloader_drop_last:
            raise RecipeError(
                "dataloader_drop_last: false does not go with train_beton: the last batch would be smaller, and the "
                "learning rate is made for the whole one"
            )
        if train_beton is None and args.resolution_schedule is not None:
            raise RecipeError("resolution_schedule: needs train_beton; a data set's images have the size it gives them")
        self.train_beton, self.eval_beton = train_beton, eval_beton
        self.loader_options = dict(loader_options or {})
        self.stopwatch = Stopwatch()
        self.step_batches: list[Batch] = []
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
            **kwargs,
        )

    # ---- loaders ---------------------------------------------------------------------------------------------------

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
            from dailymae_hf.data import BetonLoader

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
            from dailymae_hf.data import BetonLoader

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

    def close(self) -> None:
        """End the threads of the loaders made here; they are made anew when needed."""
        for loader in self._loaders.values():
            loader.close()
        self._loaders.clear()
        self.step_batches = []

    # ---- an epoch --------------------------------------------------------------------------------------------------

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

    # ---- pixels ----------------------------------------------------------------------------------------------------

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


def _check_source(name: str, beton: Any, dataset: Any, args: DailyMAETrainingArguments) -> None:
    if beton is None:
        return
    if args.n_gpu > 1:
        raise RecipeError(f"{args.n_gpu} GPUs for one process: start one for each with `accelerate launch`")
    if dataset is not None:
        raise RecipeError(f"{name}_beton and {name}_dataset are both given: one of them must be None")
    missing = [path for path in find_betons(beton) if not path.is_file()] if is_beton_source(beton) else []
    if missing:
        raise RecipeError(f"{name}_beton: there is no file {missing[0]}; `dailymae write` makes one")


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
        from dailymae_hf.data import inspect_beton

        facts = inspect_beton(beton)["facts"]
        mean, std = mean or facts.get("mean"), std or facts.get("std")
    mean, std = tuple(mean or IMAGE_MEAN), tuple(std or IMAGE_STD)
    if min(std) <= 0:
        raise RecipeError(f"image_std: {std} is not above 0 in every channel")
    return mean, std
