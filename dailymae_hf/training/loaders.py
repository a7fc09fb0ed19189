"""A run's .beton files, each opened once, and the loaders made from them."""

from collections.abc import Mapping
from typing import Any

import torch

from dailymae_hf.data.beton import Beton
from dailymae_hf.data.shards import BetonSource, find_betons, is_beton_source, open_betons
from dailymae_hf.errors import RecipeError
from dailymae_hf.training.training_args import DailyMAETrainingArguments

Batch = dict[str, torch.Tensor]
EVAL_CROP = 224 / 256


def open_source(name: str, source: BetonSource | Beton | Any | None) -> Any:
    """The open file of a path, pattern or list; what is open already, a loader or None as it is.

    Raises RecipeError, naming `name`, where there is no such file; BetonError where it is damaged.
    """
    if not is_beton_source(source):
        return source
    missing = [path for path in find_betons(source) if not path.is_file()]
    if missing:
        raise RecipeError(f"{name}: there is no file {missing[0]}; `dailymae write` makes one")
    return open_betons(source)


class BetonLoaders:
    """Makes loaders for one rank and ends their threads.

    Args:
        args: the run's; batch sizes, seeds, ranks, device and threads are read.
        options: keyword arguments of the training `BetonLoader`.
    """

    def __init__(self, args: DailyMAETrainingArguments, options: Mapping[str, Any]) -> None:
        self.args = args
        self.options = dict(options)
        self._made: list[Any] = []

    def random_crops(self, beton: Beton, resolution: int) -> Any:
        """A loader of training images, in a new order and with new crops each epoch."""
        args = self.args
        return self._make(
            beton,
            args.per_device_train_batch_size,
            resolution=resolution,
            seed=args.seed if args.data_seed is None else args.data_seed,
            **self.options,
        )

    def centre_crops(self, beton: Beton, resolution: int, *, shuffle: bool = False) -> Any:
        """A loader of centre crops with no randomness but, where wanted, one fixed order. Its caller owns it alone."""
        args = self.args
        return self._make(
            beton,
            args.per_device_eval_batch_size,
            resolution=resolution,
            seed=args.seed,
            hflip=False,
            shuffle=shuffle,
            drop_last=False,
            center_crop=EVAL_CROP,
            on_error=self.options.get("on_error", "raise"),
            engine=self.options.get("engine", "auto"),
        )

    def close(self) -> None:
        """End the threads of all loaders made so far. Those that are used again start new ones."""
        for loader in self._made:
            loader.close()

    def _make(self, beton: Beton, batch_size: int, **options: Any) -> Any:
        from dailymae_hf.data import BetonLoader

        args = self.args
        loader = BetonLoader(
            beton,
            batch_size,
            rank=args.process_index,
            world_size=args.world_size,
            return_index=True,
            device=args.device,
            num_workers=args.dataloader_num_workers or None,
            **options,
        )
        self._made.append(loader)
        return loader
