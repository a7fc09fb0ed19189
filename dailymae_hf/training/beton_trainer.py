"""The stock Trainer on .beton files: their loaders, what it would do to a DataLoader, pixels normalised on the device.

The loader is deliberately not a `torch.utils.data.DataLoader`, so that neither the Trainer nor accelerate shards it a
second time. What the Trainer would do to a DataLoader is done here: ranks, skipping on resume, owning the batches.

What is not training belongs to objects that the trainer owns: checkpoints, loaders, pixels, stopwatch, the way to the
Hub. A subclass says what one kind of model needs: its inputs, its score, its parameter groups, its facts.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainerControl

from dailymae_hf.data.beton import Beton
from dailymae_hf.data.shards import BetonSource, is_beton_source
from dailymae_hf.errors import RecipeError, ResumeError
from dailymae_hf.model.float8 import use_float8
from dailymae_hf.model.flops import TRAINING_FACTOR, encode_flops
from dailymae_hf.model.image_processors import image_processor
from dailymae_hf.model.weight_files import open_to_readers
from dailymae_hf.schedule import ResolutionSchedule, warmup_cosine
from dailymae_hf.training import fsdp
from dailymae_hf.training.callbacks.base import DailyMAECallback
from dailymae_hf.training.callbacks.continuity import ContinuityCallback
from dailymae_hf.training.callbacks.progress import ReadableProgressCallback
from dailymae_hf.training.callbacks.resolution import ResolutionCallback, schedule_over
from dailymae_hf.training.checkpoint import Checkpoints, required_files
from dailymae_hf.training.compared_settings import trainer_settings
from dailymae_hf.training.devices import tell_cpu_precision
from dailymae_hf.training.evaluation import evaluation_mode, gather_samples, rows_by_sample
from dailymae_hf.training.finite import all_finite
from dailymae_hf.training.hf_compat import (
    TRAINER_STATE_NAME,
    TRAINING_ARGS_NAME,
    HubStrategy,
    ProgressCallback,
    exported_callback_states,
    logging,
    losses_start_anew,
    save_optimizer_and_random_states,
    skipping_by_the_loader,
    tune_ddp,
    without_progress_bars,
)
from dailymae_hf.training.identity import Identity, require_equal_ranks
from dailymae_hf.training.loaders import Batch, RunData, RunLoaders, WholeSteps, check_sources
from dailymae_hf.training.optim import OPTIMIZERS, Groups, decay_groups, is_decayed, without_names
from dailymae_hf.training.pixels import IMAGE_MEAN, IMAGE_STD, PixelNormalizer
from dailymae_hf.training.ranks import check_all_ranks_are_here
from dailymae_hf.training.run_claim import claimed
from dailymae_hf.training.run_facts import model_facts, run_facts, write_facts
from dailymae_hf.training.run_guard import RunGuard
from dailymae_hf.training.run_settings import RunSettings, read_settings, settings_of
from dailymae_hf.training.run_uploader import RunUploader
from dailymae_hf.training.step_watch import NonFiniteStep
from dailymae_hf.training.stopwatch import Stopwatch
from dailymae_hf.training.training_args import DailyMAETrainingArguments
from dailymae_hf.training.weights import load_weights

logger = logging.get_logger(__name__)


class BetonTrainer(Trainer):
    """Trains any model on .beton files, or on any data set as the stock Trainer does.

    The resolution schedule of `args` and the progress bar are added to the callbacks by themselves.

    Args:
        model: a model whose config has an `image_size`.
        args: the run's arguments.
        train_beton: the training file, a pattern or a list of files read as one, an open `Beton`, or a loader like
            `BetonLoader`.
        eval_beton: the same for validation; a loader must neither shuffle nor drop samples.
        loader_options: keyword arguments of the training `BetonLoader`: scale, ratio, hflip, on_error, engine.
        train_dataset, eval_dataset: any data set instead of the files.
        image_mean, image_std: per channel, of pixels in 0-1; by default the training file's, else ImageNet's.
        augment: applied to uint8 training images before they are normalised, as `augment(pixels, epoch, index)`; gives
            floating point in [0, 1].
        kwargs: whatever else `transformers.Trainer` takes.

    Raises:
        RecipeError: both a file and a data set were given, there is no such file, or the arguments do not fit the data.
        MissingDependencyError: a .beton path was given and the kernel is missing, or `args.float8` and torchao.
    """

    args: DailyMAETrainingArguments
    control: TrainerControl
    optimizer: Any
    lr_scheduler: Any

    card_kind: str | None = None  # which template tells of this kind of model; None: it has no card
    uploader: RunUploader | None = None  # where the run is pushed, on the first rank

    def __init__(
        self,
        model: Any,
        args: DailyMAETrainingArguments,
        *,
        train_beton: BetonSource | Beton | Any | None = None,
        eval_beton: BetonSource | Beton | Any | None = None,
        loader_options: Mapping[str, Any] | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        image_mean: tuple[float, ...] | None = None,
        image_std: tuple[float, ...] | None = None,
        augment: Callable[..., torch.Tensor] | None = None,
        **kwargs: Any,
    ) -> None:
        check_sources(args, train_beton, eval_beton, train_dataset, eval_dataset)
        data = RunData(train_beton, eval_beton)
        measured = data.train_facts()
        mean = image_mean or measured.get("mean") or IMAGE_MEAN
        pixels = PixelNormalizer(tuple(mean), tuple(image_std or measured.get("std") or IMAGE_STD))
        if args.float8:  # before anything holds the layers
            use_float8(model)
        if kwargs.get("processing_class") is None and hasattr(model, "config"):
            kwargs["processing_class"] = self.image_processor(model.config.image_size, pixels.mean, pixels.std)
        super().__init__(
            model,
            args,
            train_dataset=train_dataset,
            # The stock checks only ask whether there is something to evaluate on.
            eval_dataset=eval_dataset if eval_beton is None else eval_beton,
            **kwargs,
        )
        check_all_ranks_are_here(args.world_size)
        self.train_beton, self.eval_beton = train_beton, eval_beton
        self.data = data
        self.loaders = RunLoaders(data, args, loader_options or {}, getattr(self.model.config, "image_size", 0))
        self.pixels = pixels
        if self.is_world_process_zero():
            tell_cpu_precision(args)
        self.augment = augment
        self.stopwatch = Stopwatch()
        self.checkpoints = Checkpoints(args.output_dir, limit=args.save_total_limit, is_writer=args.should_save)
        self.guard = RunGuard(args, self.checkpoints)
        self.recipe_settings: Mapping[str, Any] = {}  # what else the run's recipe says
        self.provenance: dict[str, Any] = {"base_model": None, "datasets": []}
        self._settings: RunSettings | None = None  # from `prepare` to the end of `train`
        self.step_batches: list[Batch] = []
        self._micro_batch = 0  # of the optimizer step under way
        self._epoch = 0
        self._steps_per_epoch = 0
        schedule = self.resolution_schedule()
        if schedule is not None:
            self._put_first(self.schedule_callback(schedule))
        self.callback_handler.callbacks.append(ContinuityCallback(self.guard))
        for callback in self.own_callbacks():
            callback.attach(self)
        if self.pop_callback(ProgressCallback) is not None:
            self.add_callback(ReadableProgressCallback)

    @property
    def core_model(self) -> Any:
        """The model without wrappers of compile or distributed training."""
        if isinstance(self.model, PreTrainedModel):  # nearly always; to unwrap is to search all modules
            return self.model
        return self.accelerator.unwrap_model(self.model, keep_torch_compile=False)

    # ---- callbacks -------------------------------------------------------------------------------------------------

    schedule_callback: Callable[[ResolutionSchedule], ResolutionCallback] = ResolutionCallback

    def resolution_schedule(self) -> ResolutionSchedule | None:
        """The schedule of the training images' size over the run's epochs; None where they keep the model's."""
        return None if self.args.resolution_schedule is None else self.schedule_of_run()

    def schedule_of_run(self) -> ResolutionSchedule:
        """The schedule of the arguments over the epochs that this run will have."""
        epochs = self.args.num_train_epochs
        if self.args.max_steps > 0:  # it sets the length of the run, and the learning rate follows it as well
            loader = self.get_train_dataloader()
            epochs = self.args.max_steps / WholeSteps(loader, self.args.gradient_accumulation_steps).steps
        return schedule_over(self.args, self.model.config, epochs)

    def _put_first(self, callback: ResolutionCallback) -> None:
        callbacks = self.callback_handler.callbacks
        if not any(isinstance(other, ResolutionCallback) for other in callbacks):
            callbacks.insert(0, callback)

    def own_callbacks(self) -> list[DailyMAECallback]:
        """Those callbacks that know the trainer and may keep a state."""
        return [callback for callback in self.callback_handler.callbacks if isinstance(callback, DailyMAECallback)]

    def add_callback(self, callback: TrainerCallback | type[TrainerCallback]) -> None:
        super().add_callback(callback)
        added = self.callback_handler.callbacks[-1]
        if isinstance(added, DailyMAECallback):
            added.attach(self)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            for callback in self.own_callbacks():
                logs.update(callback.log_values())
        if "train_loss" in logs:  # the stock figure is that of the steps since a resume
            logs["train_loss"] = self._total_loss_scalar / max(1, self.state.global_step)
        super().log(logs, start_time)

    # ---- loaders ---------------------------------------------------------------------------------------------------

    def train_dataset_length(self) -> int:
        """Number of training samples over all ranks; 0 where the data set has no length."""
        length = self.data.train_length
        if length is not None:
            return length
        return len(self.train_dataset) if hasattr(self.train_dataset, "__len__") else 0

    def get_train_dataloader(self) -> Any:
        return super().get_train_dataloader() if self.train_beton is None else self.loaders.training()

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        """The validation loader, at the model's full size; a path or loader as `eval_dataset` replaces the run's."""
        source = self.eval_dataset if eval_dataset is None else eval_dataset
        if isinstance(self.eval_dataset, dict) and isinstance(source, str):
            source = self.eval_dataset[source]
        if is_beton_source(source) or isinstance(source, Beton) or hasattr(source, "set_resolution"):
            return self.loaders.evaluation(source)
        # Leaving out the last batch is for training; the stock method does it here too.
        training, self.args.dataloader_drop_last = self.args.dataloader_drop_last, False
        try:
            return super().get_eval_dataloader(source)
        finally:
            self.args.dataloader_drop_last = training

    def fixed_loader(self, source: BetonSource | Beton | Any, *, shuffle: bool = False) -> Any:
        """A loader of centre crops for its caller alone, with no randomness but, where wanted, one fixed order."""
        return self.loaders.fixed(source, shuffle=shuffle)

    def close(self) -> None:
        """End the threads of the loaders made here; they start again when needed."""
        self.loaders.close()
        self.step_batches = []

    # ---- an epoch --------------------------------------------------------------------------------------------------

    def prepare(self, resume_from_checkpoint: str | bool | None = None) -> None:
        """Refuse what can be refused, before anything is written. Every rank calls it; `train` does where none did.

        Raises:
            RankError: the ranks were given different things.
            RunLockError, RecipeError: the output folder is another run's.
            ResumeError: there is no checkpoint, or it cannot be continued exactly under the present settings.
        """
        if self._settings is not None:
            return
        settings = self.run_settings()
        require_equal_ranks(Identity.of_this_process(self.args.process_index, settings.data, settings.settings))
        with claimed(self.args, resume_from_checkpoint) as claim:
            if claim.checkpoint is not None:
                sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
                self.checkpoints.check(claim.checkpoint, settings, required_files(self.args, sharded=sharded))
        self._settings = settings

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """Train, or continue from a folder: True for the newest whole checkpoint of `output_dir`, "auto" for that or,
        without checkpoints, a new run.

        Raises:
            Preempted: the run was asked to stop, and its checkpoint is whole.
            DivergenceError: a loss or a gradient was not a number.
            RankError: another rank has ended.
            What `prepare` raises.
        """
        with claimed(self.args, resume_from_checkpoint) as claim, self.guard.on_duty(claim):
            try:
                self.prepare(resume_from_checkpoint)
                claim.begin()
                if claim.checkpoint is not None:
                    if self.is_world_process_zero():
                        logger.warning("continuing from %s", claim.checkpoint)
                    self.guard.rewinds[:] = read_settings(claim.checkpoint)["rewinds"]
                return self._train_from(claim.checkpoint, *args, **kwargs)
            finally:
                self._settings = None

    def _train_from(self, checkpoint: Path | None, *args: Any, **kwargs: Any) -> Any:
        while True:
            if self.guard.rewinds:
                self.loaders.take_samples_of_turn(len(self.guard.rewinds))
            try:
                output = super().train(None if checkpoint is None else str(checkpoint), *args, **kwargs)
                self.guard.require_numbers(self.state.global_step, self.model)
                return output
            except NonFiniteStep as error:
                checkpoint = self.guard.rewind(error)
            finally:
                # The Trainer takes exactly as many batches as there are and never lets an iterator run out.
                self.close()
                for callback in self.callback_handler.callbacks:
                    if isinstance(callback, ReadableProgressCallback):
                        callback.close()

    def _maybe_log_save_evaluate(
        self, tr_loss: torch.Tensor, grad_norm: Any, model: nn.Module, trial: Any, *args: Any, **kwargs: Any
    ) -> None:
        step = self.state.global_step
        self.guard.after_step(step, tr_loss, grad_norm, restarted=losses_start_anew(self))
        super()._maybe_log_save_evaluate(tr_loss, grad_norm, model, trial, *args, **kwargs)
        if self.guard.stop_agreed and step < self.state.max_steps:
            if self.checkpoints.newest != step:
                self._save_checkpoint(model, trial)
            self.guard.leave(step)

    def set_initial_training_values(self, args: Any, dataloader: Any) -> Any:
        """The stock values for an epoch of whole optimizer steps: what accumulation leaves over is not trained on."""
        values = super().set_initial_training_values(args, WholeSteps(dataloader, args.gradient_accumulation_steps))
        self._steps_per_epoch = values[1]
        return values

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        self._epoch = kwargs["epoch"]
        if hasattr(self.train_dataset, "set_epoch"):  # accelerate tells it only where it does not shard
            self.train_dataset.set_epoch(self._epoch)
        resumes = kwargs["resume_from_checkpoint"] is not None and kwargs["epoch"] == kwargs["epochs_trained"]
        with skipping_by_the_loader() if resumes else nullcontext():
            super()._run_epoch(*args, **kwargs)

    def get_batch_samples(self, epoch_iterator: Iterator[Batch], num_batches: int, device: torch.device) -> Any:
        with self.stopwatch.waiting():
            batches, num_items = super().get_batch_samples(epoch_iterator, num_batches, device)
        self.step_batches = batches  # callbacks look at the images of the step
        self._micro_batch = 0
        return batches, num_items

    # ---- a batch ---------------------------------------------------------------------------------------------------

    def _prepare_inputs(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        prepared: dict[str, Any] = super()._prepare_inputs(dict(inputs))
        index = prepared.pop("index", None)
        if "pixel_values" not in prepared:
            return prepared
        if not self.model.training:
            prepared["pixel_values"] = self.pixels.normalize(prepared["pixel_values"])
            return self.model_inputs(prepared, index)
        numbers = self._sample_numbers(len(prepared["pixel_values"])) if index is None else index
        prepared["pixel_values"] = self._augmented(prepared["pixel_values"], numbers)
        self._micro_batch += 1
        return self.model_inputs(self.mixed(prepared, numbers), index)

    def model_inputs(self, prepared: dict[str, Any], index: torch.Tensor | None) -> dict[str, Any]:
        """Arguments of the model's forward from a batch on the device; `index` (B,) where the batch has it."""
        return prepared

    def mixed(self, prepared: dict[str, Any], numbers: torch.Tensor) -> dict[str, Any]:
        """A training batch whose images and labels are mixed with each other, where a kind of training does so."""
        return prepared

    def _augmented(self, pixels: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        if self.augment is None:
            return self.pixels.normalize(pixels)
        if pixels.dtype != torch.uint8:
            raise RecipeError(f"augmentation works on uint8 images, and the data set gives {pixels.dtype}")
        return self.pixels.normalize_unit(self.augment(pixels, self._epoch, numbers))

    def _sample_numbers(self, count: int) -> torch.Tensor:
        """Numbers that no two batches of a run share, for a data set that does not tell its samples' own."""
        args = self.args
        batch = self.state.global_step * args.gradient_accumulation_steps + self._micro_batch
        first = (batch * args.world_size + args.process_index) << 32
        return torch.arange(first, first + count, device=args.device)

    def normalize(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """uint8 (B, 3, H, W) -> float32 with the processor's mean and std; floats are taken as normalised already."""
        return self.pixels.normalize(pixel_values)

    def denormalize(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """The inverse of `normalize`: float (B, 3, H, W) in 0-1, not clipped."""
        return self.pixels.denormalize(pixel_values)

    @staticmethod
    def image_processor(size: int, mean: tuple[float, ...], std: tuple[float, ...]) -> Any:
        """The image processor that is saved with a model of this kind."""
        return image_processor(size, mean, std)

    # ---- cost ------------------------------------------------------------------------------------------------------

    def image_cost(self, size: int) -> tuple[int, int]:
        """Tokens that the model works on, and FLOPs of a training step, for one image of `size` pixels.

        For transformers with the usual config: the patches and the class token.
        """
        config = self.core_model.config
        return 1 + (size // config.patch_size) ** 2, TRAINING_FACTOR * encode_flops(config, size)

    def floating_point_ops(self, inputs: Mapping[str, Any]) -> int:
        """FLOPs of one forward and backward pass over a batch (the stock count takes pixels for tokens)."""
        if "pixel_values" not in inputs:
            return 0
        count, _, size, _ = inputs["pixel_values"].shape
        return count * self.image_cost(size)[1]

    # ---- optimizer -------------------------------------------------------------------------------------------------

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        return [name for name, parameter in model.named_parameters() if is_decayed(name, parameter)]

    def parameter_groups(self, model: nn.Module) -> Groups:
        """The trainable parameters with their rates and decays; each is in exactly one group."""
        rate, decay = self.args.learning_rate, self.args.weight_decay
        assert rate is not None
        return decay_groups(model.named_parameters(), learning_rate=rate, weight_decay=decay)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """The optimizer that `optim` names, of `optim.py` or of transformers, over `parameter_groups`."""
        if self.optimizer is not None or self.optimizer_cls_and_kwargs is not None:
            return super().create_optimizer(model)
        model = self.model if model is None else model
        own = OPTIMIZERS.get(str(self.args.optim))
        if own is not None:
            self.optimizer = own(self.parameter_groups(model), self.args)
            return self.optimizer
        kind, options = self.get_optimizer_cls_and_kwargs(self.args, model)
        if options.keys() & {"params", "model", "optimizer_dict"}:  # it makes groups of its own
            return super().create_optimizer(model)
        self.optimizer = kind(without_names(self.parameter_groups(model)), **options)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> Any:
        """Per-step half cosine down to `args.min_learning_rate`, after a linear warm-up."""
        if self.lr_scheduler is None:
            assert self.args.learning_rate is not None
            floor = self.args.min_learning_rate / self.args.learning_rate
            factor = warmup_cosine(self.warmup_steps(num_training_steps), num_training_steps, floor)
            self.lr_scheduler = LambdaLR(self.optimizer if optimizer is None else optimizer, factor)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def warmup_steps(self, num_training_steps: int) -> float:
        """Optimizer steps of warm-up in a run of so many."""
        return self.args.warmup_steps_in(num_training_steps, self._steps_per_epoch)

    def _get_learning_rate(self) -> float:
        """The highest of all groups: with rates that fall towards the input, the one that was set."""
        return float(max(self.lr_scheduler.get_last_lr()))

    def _build_accelerator_args(self, **kwargs: Any) -> dict[str, Any]:
        built = super()._build_accelerator_args(**kwargs)
        # DDP fails when a static graph's first backward pass is one that does not synchronise.
        tune_ddp(built["kwargs_handlers"], static_graph=self.args.gradient_accumulation_steps == 1)
        return built

    def autocast_smart_context_manager(self, cache_enabled: bool | None = True) -> Any:
        """The stock method leaves autocast to accelerate, which leaves it to FSDP's casts."""
        return self.accelerator.autocast() if self.is_fsdp_enabled else super().autocast_smart_context_manager()

    # ---- evaluation ------------------------------------------------------------------------------------------------

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """What `score` says of the validation set, logged under the prefix; of several sets, each under its name."""
        sets = self.eval_dataset if eval_dataset is None else eval_dataset
        if isinstance(sets, dict):
            several: dict[str, float] = {}
            for name, one in sets.items():
                several |= self.evaluate(one, ignore_keys, f"{metric_key_prefix}_{name}")
            return several
        if ignore_keys:
            raise RecipeError(f"ignore_keys: {ignore_keys} are not left out; give the model's config such a list")
        with self.stopwatch.pause(), self.scored_weights():
            loader = self.get_eval_dataloader(eval_dataset)
            self.callback_handler.eval_dataloader = loader  # the progress bar's length
            start = time.perf_counter()
            scores = self.score(loader)
            seconds = time.perf_counter() - start
            scores |= {"runtime": round(seconds, 4)}
            if hasattr(loader.dataset, "__len__"):
                scores |= {"samples_per_second": round(len(loader.dataset) / seconds, 3)}
            metrics = {f"{metric_key_prefix}_{name}": value for name, value in scores.items()}
            self.log(metrics)
            self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
            return metrics

    def score(self, loader: Any) -> dict[str, float]:
        """Scores of the model over a loader, the same on every rank: here those of the stock evaluation."""
        only_loss = True if self.compute_metrics is None else None
        output = self.evaluation_loop(loader, "Evaluation", prediction_loss_only=only_loss, metric_key_prefix="eval")
        metrics: dict[str, float] = output.metrics or {}
        return {name.removeprefix("eval_"): value for name, value in metrics.items()}

    def scored_weights(self) -> AbstractContextManager[None]:
        """The model holds the weights that are to be scored inside this context."""
        return nullcontext()

    def rows_by_sample(
        self,
        loader: Any,
        row: Callable[[Batch], torch.Tensor],
        *,
        limit: int | None = None,
        reports_progress: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """`evaluation.rows_by_sample` on this run's ranks; `row` gets normalised pixels."""

        def report() -> None:
            if reports_progress:
                self.control = self.callback_handler.on_prediction_step(self.args, self.state, self.control)

        if self.is_in_train:
            self.guard.require_numbers(self.state.global_step, self.model)
        with evaluation_mode(self.core_model):
            return rows_by_sample(
                loader,
                lambda batch: row(self.pixels.of_batch(batch)),
                accelerator=self.accelerator,
                batch_size=self.args.eval_batch_size,
                limit=limit,
                after_batch=report,
            )

    def gather_samples(self, index: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows of all ranks by sample index, each sample once; see `evaluation.gather_samples`."""
        return gather_samples(self.accelerator, index, values)

    # ---- checkpoints -----------------------------------------------------------------------------------------------

    def run_settings(self) -> RunSettings:
        """What the ranks and the checkpoints of this run must share."""
        others = trainer_settings(self.loaders.options, self.pixels.mean, self.pixels.std)
        others["dataset_length"] = self.train_dataset_length()
        config = getattr(self.core_model, "config", None)
        return settings_of(self.args, config, self.data, others, self.recipe_settings)

    def _prepare_for_training(self, max_steps: int, train_dataloader: Any, resume_from_checkpoint: str | None) -> Any:
        if self.is_fsdp_enabled:
            fsdp.keep_float32(self.accelerator)
        prepared = super()._prepare_for_training(max_steps, train_dataloader, resume_from_checkpoint)
        if self.is_fsdp_enabled:
            fsdp.gather_for_encode(self.model)
        if resume_from_checkpoint is not None:
            for callback in self.own_callbacks():
                callback.load_state(Path(resume_from_checkpoint))
        return prepared

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        if self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            load_weights(self.model if model is None else model, resume_from_checkpoint)
        if not all_finite(self.model):
            raise ResumeError(f"{resume_from_checkpoint}: its weights are not numbers, so no step can follow")

    def _load_best_model(self) -> None:
        self.checkpoints.wait()
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_best_model()
        else:
            load_weights(self.model, self.state.best_model_checkpoint)
        for callback in self.own_callbacks():
            callback.load_best(Path(str(self.state.best_model_checkpoint)))

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        with self.stopwatch.pause():
            self.guard.require_folder()
            self.store_flos()
            assert self._settings is not None
            step, settings = self.state.global_step, replace(self._settings, rewinds=tuple(self.guard.rewinds))
            self.checkpoints.write(step, settings, self._write_state, lambda: self.state.best_model_checkpoint)
            if self.args.push_to_hub:
                self.checkpoints.wait()
                self._push_from_checkpoint(str(self.checkpoints.path(step)))

    def _write_state(self, folder: Path) -> None:
        """Fill a checkpoint's folder; every rank calls this. Raises NonFiniteStep, where it must not stay."""
        with self.guard.requiring_numbers(self.state.global_step, self.model):
            self._write_files(folder)

    def _write_files(self, folder: Path) -> None:
        self.save_model(str(folder), _internal_call=True)
        if not self.args.save_only_model:
            save_optimizer_and_random_states(self, folder)
        best = self.state.best_global_step
        if best and (best == self.state.global_step or self.checkpoints.path(best).exists()):
            self.state.best_model_checkpoint = str(self.checkpoints.path(best))
        if self.args.should_save:
            for callback in self.own_callbacks():
                callback.save_state(folder)
            self.state.stateful_callbacks = exported_callback_states(self.callback_handler.callbacks, self.control)
            self.state.save_to_json(str(folder / TRAINER_STATE_NAME))

    def _save(self, output_dir: str | None = None, state_dict: Mapping[str, Any] | None = None) -> None:
        with without_progress_bars():  # one file is written, in less time than its bar takes to read
            super()._save(output_dir, state_dict=state_dict)
        folder = Path(output_dir or self.args.output_dir)
        if self.args.should_save:  # under FSDP every rank comes here, and one of them makes the folder
            open_to_readers(folder)
        # A pickle that nothing reads back: the resolved recipe says the same in plain text.
        (folder / TRAINING_ARGS_NAME).unlink(missing_ok=True)

    # ---- facts and the Hub -----------------------------------------------------------------------------------------

    def run_facts(self) -> dict[str, Any]:
        """What the run is and what it measured so far, ready for JSON; None for what it did not measure."""
        return run_facts(self)

    def model_facts(self) -> dict[str, Any]:
        """What the model is: sizes, parameters, classes, and the one stage of a run without a schedule."""
        return model_facts(self.core_model, self.core_model, self.state.num_train_epochs)

    @property
    def warmup_epochs(self) -> float | None:
        """Epochs of warm-up; None before the run's length is known."""
        if self.args.warmup_epochs is not None or not self._steps_per_epoch:
            return self.args.warmup_epochs
        return self.warmup_steps(self.state.max_steps) / self._steps_per_epoch

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Make the repository before anything is trained, so that a wrong token shows at once.

        Raises:
            HubError: the Hub refuses. (One that cannot be reached is tried again at each push.)
            RecipeError: models of this kind have no card.
        """
        if self.card_kind is None:
            raise RecipeError(f"push_to_hub: there is no model card for what {type(self).__name__} trains")
        if self.is_world_process_zero():
            self.uploader = RunUploader.of_run(self.args, token=token, private=private)
            self.hub_model_id = self.uploader.repository

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        if self.uploader is None or self.args.hub_strategy == HubStrategy.END:
            return
        if not isinstance(self.core_model, PreTrainedModel):  # not what others could load; the end of the run folds it
            return
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        self.uploader.send_checkpoint(Path(checkpoint_folder), self.state.global_step, self.run_facts())

    def _finish_current_push(self) -> None:
        if self.uploader is not None:
            self.uploader.wait()

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs: Any,
    ) -> str | None:
        """Push the model as it is, with its card; returns the commit's address, None where it did not come to one.

        Called on every rank. Token and revision are those of the arguments (`hub_token` and so on) and refused here:
        checkpoints have gone up with those already.
        """
        if token is not None or revision is not None or kwargs:
            raise RecipeError("push_to_hub: hub_token, hub_revision and the like belong into the training arguments")
        if self.hub_model_id is None:
            self.init_hf_repo(private=private)
        self._finish_current_push()  # it may still read the weights that are about to be written
        self.save_model(_internal_call=True)
        if self.uploader is None:
            return None
        self.create_model_card()
        return self.uploader.send_end(commit_message or "End of training", self.run_facts(), blocking=blocking)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Our facts and card in the output folder, where the stock Trainer would write stubs over it."""
        if self.card_kind is not None and self.is_world_process_zero():
            from dailymae_hf.hub.card import write_card  # with its template engine and plots

            folder = Path(self.args.output_dir)
            write_facts(self.run_facts(), folder)
            write_card(folder)
