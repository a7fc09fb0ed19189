"""A run's .beton files, each opened once, and the loaders made from them."""

import os
from collections.abc import Mapping
from typing import Any

import torch

from dailymae_hf.data.beton import Beton
from dailymae_hf.data.shards import BetonSource, find_betons, is_beton_source, open_betons
from dailymae_hf.data.sources.path_or_hub import neighbours
from dailymae_hf.errors import RecipeError
from dailymae_hf.model.image_processors import EVAL_CROP
from dailymae_hf.training.hf_compat import IntervalStrategy, SaveStrategy, logging
from dailymae_hf.training.training_args import DailyMAETrainingArguments

logger = logging.get_logger(__name__)

Batch = dict[str, torch.Tensor]


def open_source(name: str, source: BetonSource | Beton | Any | None) -> Any:
    """The open file of a path, pattern or list; what is open already, a loader or None as it is.

    Raises RecipeError, naming `name`, where there is no such file; BetonError where it is damaged.
    """
    if not is_beton_source(source):
        return source
    require_files(name, source)
    return open_betons(source)


def require_files(name: str, source: BetonSource) -> None:
    """Raise RecipeError, naming `name` and what was most likely meant, where one of the files is not there."""
    for path in find_betons(source):
        if path.is_dir():
            made = f"`dailymae write {path} {name.removesuffix('_beton')}.beton` makes a file of its images"
            raise RecipeError(f"{name}: {path} is a folder; {made}")
        if not path.is_file():
            makes = "make demo" if path.parts[-3:-1] == ("outputs", "demo") else "dailymae write"
            near = neighbours(os.fspath(path))
            raise RecipeError(f"{name}: there is no file {path}; {near} (`{makes}` makes such files)")


class RunData:
    """What a run trains and is scored on: files, opened once, or loaders that the caller made, or nothing of either.

    Args:
        train, evaluation: a path, a pattern, a list, an open `Beton`, a loader, or None.

    Raises:
        RecipeError: there is no such file. BetonError: it is damaged.
    """

    def __init__(self, train: Any, evaluation: Any) -> None:
        self.named = {"training": train, "validation": evaluation}
        self.opened = {
            "training": open_source("train_beton", train),
            "validation": open_source("eval_beton", evaluation),
        }

    @property
    def train_length(self) -> int | None:
        """Number of training samples over all ranks; None without a file or loader."""
        opened = self.opened["training"]
        if opened is None:
            return None
        return len(opened if isinstance(opened, Beton) else opened.dataset)

    @property
    def files(self) -> list[tuple[str, Any, Beton]]:
        """What each open file is for, how the user named it, and the file."""
        return [(kind, self.named[kind], file) for kind, file in self.opened.items() if isinstance(file, Beton)]

    def train_facts(self) -> Mapping[str, Any]:
        """What the training file's writer noted; nothing without a file."""
        opened = self.opened["training"]
        return opened.facts if isinstance(opened, Beton) else {}

    def open(self, source: Any) -> Any:
        """The open file of a source, which is not opened again where it is the run's own; a loader as it is."""
        for kind, named in self.named.items():
            if source is named and source is not None:
                return self.opened[kind]
        return open_source("beton", source)


class RunLoaders:
    """Makes a run's loaders for one rank and ends their threads.

    Args:
        data: the run's files.
        args: the run's; batch sizes, seeds, ranks, device and threads are read.
        options: keyword arguments of the training `BetonLoader`.
        resolution: side of the images at first, the model's own.
    """

    def __init__(
        self, data: RunData, args: DailyMAETrainingArguments, options: Mapping[str, Any], resolution: int
    ) -> None:
        self.data, self.args = data, args
        self.options = dict(options)
        self.resolution = resolution
        self._turn = 0
        self._training: Any = None
        self._evaluation: Any = None
        self._made: list[Any] = []

    def training(self) -> Any:
        """The loader of training images, in a new order and with new crops each epoch; the same at each call."""
        if self._training is None:
            opened, args = self.data.opened["training"], self.args
            self._training = opened
            if isinstance(opened, Beton):
                size, seed = args.per_device_train_batch_size, self._seed()
                self._training = self._make(opened, size, seed=seed, **self.options)
        return self._training

    def take_samples_of_turn(self, turn: int) -> None:
        """Take training images in another order and with other crops; a function of how often the run went back."""
        if turn == self._turn:
            return
        self._turn = turn
        if isinstance(self.data.opened["training"], Beton):
            self._training = None
        else:
            self.training().seed = self._seed()

    def _seed(self) -> int:
        """The seed of order and crops."""
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        return (seed + 0x9E3779B1 * self._turn) % 2**32

    def train_on(self, loader: Any) -> None:
        """Take training batches from this loader from now on."""
        self._training = loader

    def evaluation(self, source: Any) -> Any:
        """The loader that the trainer scores a source on, at the model's full size; the run's own is made once."""
        if source is self.data.named["validation"] and self._evaluation is not None:
            return self._evaluation
        loader = self.fixed(source)
        loader.set_resolution(self.resolution)
        if source is self.data.named["validation"]:
            self._evaluation = loader
        return loader

    def fixed(self, source: Any, *, shuffle: bool = False) -> Any:
        """A loader of centre crops with no randomness but, where wanted, one fixed order. Its caller owns it alone.

        What is a loader already comes back as it is.
        """
        opened, args = self.data.open(source), self.args
        if not isinstance(opened, Beton):
            return opened
        return self._make(
            opened,
            args.per_device_eval_batch_size,
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
            resolution=self.resolution,
            rank=args.process_index,
            world_size=args.world_size,
            return_index=True,
            device=args.device,
            num_workers=args.dataloader_num_workers or None,
            **options,
        )
        self._made.append(loader)
        return loader


class WholeSteps:
    """A loader as the stock arithmetic of steps sees it: as long as its batches make whole optimizer steps.

    Raises RecipeError where an epoch has no batch, or fewer than one step takes.
    """

    def __init__(self, loader: Any, batches_per_step: int) -> None:
        self.dataset = loader.dataset
        self.steps = len(loader) // batches_per_step
        self._batches = self.steps * batches_per_step
        if len(loader) == 0:
            raise RecipeError(
                f"per_device_train_batch_size: the {len(self.dataset)} training images are fewer than one batch "
                "of each process"
            )
        if self.steps == 0:
            raise RecipeError(
                f"gradient_accumulation_steps: {batches_per_step} batches are one optimizer step, and an epoch has "
                f"{len(loader)}"
            )

    def __len__(self) -> int:
        return self._batches


def check_sources(
    args: DailyMAETrainingArguments, train_beton: Any, eval_beton: Any, train_dataset: Any, eval_dataset: Any
) -> None:
    """Raise RecipeError for files, data sets and arguments that do not go together."""
    for name, beton, dataset in (("train", train_beton, train_dataset), ("eval", eval_beton, eval_dataset)):
        if beton is not None and args.n_gpu > 1:
            raise RecipeError(f"{args.n_gpu} GPUs for one process: start one for each with `accelerate launch`")
        if beton is not None and dataset is not None:
            raise RecipeError(f"{name}_beton and {name}_dataset are both given: one of them must be None")
    if args.eval_strategy != "no" and eval_beton is None and eval_dataset is None:
        _leave_out_evaluation(args)
    is_file = is_beton_source(train_beton) or isinstance(train_beton, Beton)
    if is_file and not args.dataloader_drop_last:
        raise RecipeError(
            "dataloader_drop_last: false does not go with train_beton: the last batch would be smaller, and the "
            "learning rate is made for the whole one"
        )
    if train_beton is None and args.on_nan == "rewind":
        raise RecipeError("on_nan: rewind needs train_beton; a data set's samples come in an order of its own")
    if train_beton is None and args.resolution_schedule is not None:
        raise RecipeError("resolution_schedule: needs train_beton; a data set's images have the size it gives them")


def _leave_out_evaluation(args: DailyMAETrainingArguments) -> None:
    """Switch evaluation off where there is nothing to evaluate on, and say so; refuse where a choice depends on it."""
    needs = "load_best_model_at_end" if args.load_best_model_at_end else None
    if args.save_strategy == SaveStrategy.BEST:
        needs = "save_strategy: best"
    strategy = IntervalStrategy(args.eval_strategy).value
    if needs is not None:
        raise RecipeError(f"{needs}: needs the scores of eval_strategy: {strategy} on eval_beton, which is missing")
    args.eval_strategy = IntervalStrategy.NO
    if args.process_index == 0:
        logger.warning(
            "eval_strategy: nothing is evaluated, as there is no validation file; eval_beton names one, and "
            "`dailymae write --split-off 0.02` makes one"
        )
