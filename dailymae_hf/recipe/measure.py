"""Times the run that a recipe describes, on this machine: a few steps at each size, loader, validation and all.

It is the real thing, made small: the recipe's own trainer with its callbacks, whose epochs have a dozen steps. What is
left out (a second model, a stand-in for the loader) cannot be wrong then.
"""

import gc
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from dailymae_hf.plan.speeds import EpochCost, LoaderSpeed, StepSpeed, Throughput
from dailymae_hf.training.hf_compat import IntervalStrategy
from dailymae_hf.training.stopwatch import process_seconds

if TYPE_CHECKING:
    from dailymae_hf.recipe.build import Setup
    from dailymae_hf.recipe.recipe import PretrainRecipe
    from dailymae_hf.training.mae_trainer import DailyMAETrainer

WARM_UP_STEPS = 3
TIMED_STEPS = 12
LOADER_SECONDS = 2.0


def measure(setup: "Setup", sizes: Sequence[int]) -> Throughput:
    """Speeds of the setup's run on this machine, at each of `sizes` (pixels) and the mask ratio of the model.

    Every rank of a distributed run has to call it; each gets its own figures. Takes about 15 steps per size, one
    validation per size, and on a GPU 2 s of loading per size. The working tree and `output_dir` stay untouched.

    Raises what building and training the recipe raises.
    """
    recipe, folder = setup.recipe, Path(tempfile.mkdtemp(prefix="dailymae-measure-"))
    try:
        small = _small_recipe(recipe, folder, sizes)
        trainer = setup.build_trainer(small)
        trainer.pop_callback(PrinterCallback)  # without bars, the stock Trainer prints a last line of figures
        args = trainer.args
        timed = -(-TIMED_STEPS // small.callbacks.probe_every_n_steps) * small.callbacks.probe_every_n_steps
        clock = _Clock(trainer, WARM_UP_STEPS, timed)
        trainer.add_callback(clock)
        loader = trainer.get_train_dataloader()
        batches = (WARM_UP_STEPS + timed) * args.gradient_accumulation_steps
        trainer.loaders.train_on(_FirstBatches(loader, batches))
        with clock.timing_pauses():
            trainer.train()
        images = args.effective_batch_size // args.world_size
        shared = args.device.type == "cpu"
        loader_speeds = () if shared else tuple(_loader_speed(loader, size) for size in sizes)
        ranks = f", {args.world_size} ranks" if args.world_size > 1 else ""
        steps_per_epoch = max(1, len(loader) // args.gradient_accumulation_steps)
        result = Throughput(
            step=tuple(
                StepSpeed(size, trainer.model.config.mask_ratio, images / clock.step_seconds(size, with_wait=shared))
                for size in sizes
            ),
            loader=loader_speeds,
            shared_cores=shared,
            start_seconds=round(clock.first_epoch_at + clock.compile_seconds, 3),
            epoch_costs=tuple(EpochCost(size, clock.epoch_seconds(size, recipe, steps_per_epoch)) for size in sizes),
            source=f"measured on this machine ({_device_name(args.device, loader.num_workers)}{ranks})",
        )
        trainer.close()
        return result
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _small_recipe(recipe: "PretrainRecipe", folder: Path, sizes: Sequence[int]) -> "PretrainRecipe":
    """The recipe with an epoch per size and one more at the first, every callback's work in each epoch, and nothing
    written but to `folder`."""
    stages = [{"resolution": size, "share": 1 / (len(sizes) + 1)} for size in [*sizes, sizes[0]]]
    changed = recipe.given | {
        "output_dir": str(folder),
        "num_train_epochs": float(len(stages)),
        "warmup_epochs": 0.0,
        "resolution_schedule": {"kind": "stages", "stages": stages},
        "report_to": "none",
        "logging_strategy": "no",
        "disable_tqdm": True,
        "push_to_hub": False,
        "resume_from_checkpoint": None,
        "max_steps": -1,
    }
    for strategy in ("eval_strategy", "save_strategy"):
        if recipe.given.get(strategy, "no") not in ("no", IntervalStrategy.NO):
            changed[strategy] = "epoch"
    changed = {key: value for key, value in changed.items() if key not in ("eval_steps", "save_steps")}
    callbacks = replace(recipe.callbacks, probe_every_n_epochs=1, reconstruction_every_n_epochs=1, plan=None)
    if not recipe.callbacks.reconstruction_every_n_epochs:
        callbacks = replace(callbacks, reconstruction_every_n_epochs=0)
    return replace(recipe, callbacks=callbacks, training=type(recipe.training)(**changed), given=changed)


class _FirstBatches:
    """A loader whose epochs have so many batches, beginning anew where the file ends; all else is the loader's own."""

    def __init__(self, loader: Any, batches: int) -> None:
        self._loader, self._batches = loader, batches

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[Any]:
        endless = chain.from_iterable(repeat(self._loader))
        return islice(endless, self._batches)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


@dataclass
class _Epoch:
    """Times of one small epoch: seconds of its warm-up, and mean seconds of a timed step and of waiting in it."""

    size: int
    warm_up: float = 0.0
    step: float = 0.0
    waited: float = 0.0


class _Clock(TrainerCallback):
    """Times steps and pauses of the small run. The last of the callbacks, so that theirs are inside a step's time."""

    def __init__(self, trainer: "DailyMAETrainer", warm_up: int, timed: int) -> None:
        self.trainer = trainer
        self.warm_up, self.timed = warm_up, timed
        self.epochs: list[_Epoch] = []
        self.first_epoch_at = 0.0
        self._step = 0
        self._mark = (0.0, 0.0, 0.0)
        self._pauses: dict[tuple[str, int], list[float]] = {}

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not self.epochs:
            self.first_epoch_at = process_seconds()
        self.epochs.append(_Epoch(self.trainer.get_train_dataloader().resolution))
        self._step = 0
        self._mark = self._now()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._step += 1
        if self._step not in (self.warm_up, self.warm_up + self.timed):
            return
        now = self._now()
        seconds, waited, paused = (end - begin for begin, end in zip(self._mark, now, strict=True))
        if self._step == self.warm_up:
            self.epochs[-1].warm_up = seconds - paused
        else:
            self.epochs[-1].step = (seconds - paused) / self.timed
            self.epochs[-1].waited = waited / self.timed
        self._mark = now

    def step_seconds(self, size: int, *, with_wait: bool) -> float:
        """Mean seconds of an optimizer step, with or without waiting for data."""
        seen = [epoch for epoch in self.epochs if epoch.size == size]
        return statistics.fmean(epoch.step if with_wait else max(epoch.step - epoch.waited, 1e-9) for epoch in seen)

    @property
    def refill_seconds(self) -> float:
        """What the first steps of an epoch take longer than later ones once its size was seen: the loader's first
        batches. The last epoch's size is the first one's."""
        last = self.epochs[-1]
        return max(0.0, last.warm_up - self.warm_up * last.step)

    @property
    def compile_seconds(self) -> float:
        """What the first epochs at each size took beyond that: compiling, first allocations."""
        excess = sum(epoch.warm_up - self.warm_up * epoch.step - self.refill_seconds for epoch in self.epochs[:-1])
        return max(0.0, excess)

    def epoch_seconds(self, size: int, recipe: "PretrainRecipe", steps_per_epoch: int) -> float:
        """Seconds of an epoch of the whole recipe that are not training: scores, pictures, validation, checkpoints."""
        training, callbacks = recipe.training, recipe.callbacks
        per_epoch = {
            "OnlineProbeCallback": 1 / max(1, callbacks.probe_every_n_epochs),
            "ReconstructionCallback": 1 / max(1, callbacks.reconstruction_every_n_epochs),
            "evaluate": _per_epoch(training.eval_strategy, training.eval_steps, steps_per_epoch),
            "save": _per_epoch(training.save_strategy, training.save_steps, steps_per_epoch),
        }
        costs = {kind: statistics.median(times) for (kind, at), times in self._pauses.items() if at == size}
        return self.refill_seconds + sum(cost * per_epoch.get(kind, 1.0) for kind, cost in costs.items())

    def timing_pauses(self) -> "_PauseTimer":
        """A context in which callbacks, evaluation and checkpoints note what they take."""
        return _PauseTimer(self)

    def note_pause(self, kind: str, seconds: float) -> None:
        if seconds > 0:
            self._pauses.setdefault((kind, self.epochs[-1].size), []).append(seconds)

    def _now(self) -> tuple[float, float, float]:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        watch = self.trainer.stopwatch
        return time.perf_counter(), watch.waited, watch.paused


class _PauseTimer:
    """Replaces what interrupts training by the same with a clock around it, and puts it back."""

    def __init__(self, clock: _Clock) -> None:
        self.clock = clock
        self.undo: list[Callable[[], None]] = []

    def __enter__(self) -> None:
        trainer = self.clock.trainer
        for callback in trainer.own_callbacks():
            self._replace(callback, "on_step_end", type(callback).__name__, only_pauses=True)
        self._replace(trainer, "evaluate", "evaluate", only_pauses=False)
        self._replace(trainer, "_save_checkpoint", "save", only_pauses=False)

    def __exit__(self, *_: Any) -> None:
        for undo in self.undo:
            undo()

    def _replace(self, owner: Any, name: str, kind: str, *, only_pauses: bool) -> None:
        original, clock = getattr(owner, name), self.clock

        def timed(*args: Any, **kwargs: Any) -> Any:
            watch = clock.trainer.stopwatch
            started, paused = time.perf_counter(), watch.paused
            result = original(*args, **kwargs)
            clock.note_pause(kind, watch.paused - paused if only_pauses else time.perf_counter() - started)
            return result

        setattr(owner, name, timed)
        self.undo.append(lambda: delattr(owner, name))


def _per_epoch(strategy: Any, every: float | None, steps_per_epoch: int) -> float:
    kind = IntervalStrategy(strategy) if not isinstance(strategy, IntervalStrategy) else strategy
    if kind == IntervalStrategy.STEPS and every:
        return steps_per_epoch / every if every >= 1 else 0.0
    return 1.0 if kind == IntervalStrategy.EPOCH else 0.0


def _loader_speed(loader: Any, size: int) -> LoaderSpeed:
    """Images per second and core of the loader alone, nothing else running."""
    loader.set_resolution(size)
    batches = iter(loader)
    first = next(batches)
    started, images = time.perf_counter(), 0
    for batch in batches:
        images += len(batch["pixel_values"])
        if time.perf_counter() - started > LOADER_SECONDS:
            break
    seconds = time.perf_counter() - started
    loader.close()
    images = images or len(first["pixel_values"])
    return LoaderSpeed(size, images / seconds / loader.num_workers)


def _device_name(device: torch.device, loading: int) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU: threads for the step {torch.get_num_threads()}, for loading {loading}"
