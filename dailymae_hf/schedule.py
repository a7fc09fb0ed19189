"""What an epoch trains at, as pure functions: resolution, mask ratio, learning rate. Callbacks and Trainer apply them.

A resolution schedule in a recipe is one of

    resolution_schedule: {kind: constant}
    resolution_schedule: {kind: palindrome, resolutions: [224, 192, 224], ramp: [0.0, 0.8]}
    resolution_schedule: {kind: increasing, low: 160, high: 224, step: 32, keep_visible: 49}
    resolution_schedule:
      kind: stages
      stages:
        - {resolution: 224, share: 0.4}
        - {resolution: 160, share: 0.3, mask_ratio: 0.5}
        - {resolution: 224, share: 0.3}
    resolution_schedule: {fit: 18h, low: 160}   # dailymae_hf.plan replaces it by stages that end in time
"""

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

from dailymae_hf.errors import RecipeError
from dailymae_hf.model.masking import mask_ratio_for, num_visible

FIELD = "resolution_schedule"
_FIT_KEYS = frozenset({"fit", "low", "mask_ratio", "keep_visible"})
_STAGE_KEYS = frozenset({"resolution", "share", "mask_ratio"})


@dataclass(frozen=True)
class Stage:
    """A stretch of epochs at one size: its number from 0, the side in pixels, the fraction of masked patches."""

    index: int
    resolution: int
    mask_ratio: float


@dataclass(frozen=True)
class ResolutionSchedule:
    """The stage of every epoch: stage i lasts until epoch `ends[i]` (exclusive), the last one for good."""

    stages: tuple[Stage, ...]
    ends: tuple[float, ...]

    @property
    def resolutions(self) -> tuple[int, ...]:
        """The stages' resolutions in order, repetitions included."""
        return tuple(stage.resolution for stage in self.stages)

    def stage(self, epoch: float) -> Stage:
        """The stage that `epoch`, counted from 0, belongs to."""
        return next((stage for stage, end in zip(self.stages, self.ends, strict=True) if epoch < end), self.stages[-1])

    def left_out(self, epochs: float) -> tuple[Stage, ...]:
        """The stages that no epoch of a run of so many epochs falls into."""
        seen = {self.stage(epoch) for epoch in range(math.ceil(epochs))}
        return tuple(stage for stage in self.stages if stage not in seen)

    @classmethod
    def from_args(cls, args: Any, config: Any, epochs: float | None = None) -> Self:
        """The schedule of training arguments (`resolution_schedule`) for a model's config.

        `epochs` is the length of the run, `num_train_epochs` unless told.
        """
        return cls.from_dict(
            args.resolution_schedule,
            epochs=args.num_train_epochs if epochs is None else epochs,
            patch_size=config.patch_size,
            resolution=config.image_size,
            mask_ratio=getattr(config, "mask_ratio", 0.75),  # a classifier's has none, and masks nothing
        )

    @classmethod
    def from_dict(
        cls,
        spec: Mapping[str, Any] | None,
        *,
        epochs: float,
        patch_size: int,
        resolution: int = 224,
        mask_ratio: float = 0.75,
    ) -> Self:
        """The schedule that a recipe describes; None is constant.

        Keys of `spec`:
            kind: constant, increasing, decreasing, palindrome (falls, then rises) or stages.
            resolution: of a constant schedule; the model's own by default.
            resolutions, or low, high and step: the stages of the three that change. `high` is the model's own
                resolution by default, `step` the patch size.
            ramp: [start, end] as fractions of the run, the paper's rule: the first stage before `start`, the last from
                `end` on, in between stage floor((epoch - start) * (n - 1) / (end - start)) of n. By default every
                stage is equally long.
            stages: for explicit stages, a list of {resolution, share (fraction of the epochs), mask_ratio (optional)}.
            mask_ratio: one number for all stages or, but for `stages`, a list with one per stage.
            keep_visible: instead of mask ratios, the number of visible patches at every size; true keeps the number
                that the model's own resolution and mask ratio show.

        Args:
            epochs: length of the run.
            patch_size, resolution, mask_ratio: the model's.

        Raises:
            RecipeError: a key or kind is unknown (the nearest known one is named), a size is not divisible by the
                patch size, or values contradict each other; the message names the field.
        """
        spec = {"kind": "constant"} if spec is None else spec
        check_keys(spec)
        if is_fit(spec):
            raise RecipeError(f"{FIELD}.fit: has to be fitted to a measured speed first, as recipes/pretrain.py does")
        kind = _KINDS[spec["kind"]]
        sizes = kind.sizes(spec, resolution, patch_size)
        ends = kind.ends(spec, len(sizes), epochs)
        own_ratios = kind.mask_ratios(spec)
        for name, size in sizes:
            if size % patch_size != 0 or size <= 0:
                raise RecipeError(f"{FIELD}.{name}: {size} is not a multiple of the patch size {patch_size}")
        numbers = [size for _, size in sizes]
        ratios = _mask_ratios(
            spec, numbers, patch_size=patch_size, resolution=resolution, default=mask_ratio, own=own_ratios
        )
        stages = tuple(Stage(i, size, ratio) for i, (size, ratio) in enumerate(zip(numbers, ratios, strict=True)))
        return cls(stages, tuple(ends))


def is_fit(spec: Any) -> bool:
    """Whether a recipe leaves the schedule to the planner: {fit: 18h}."""
    return isinstance(spec, Mapping) and "fit" in spec


def check_keys(spec: Any) -> None:
    """Raise `RecipeError` for what is wrong with a recipe's `resolution_schedule` whatever the model: kind and keys."""
    if not isinstance(spec, Mapping):
        raise RecipeError(f"{FIELD}: expected keys and values, such as {{kind: palindrome, low: 160}}, got {spec!r}")
    if is_fit(spec):
        _check_known(spec, _FIT_KEYS, FIELD)
        return
    kind = spec.get("kind")
    if kind not in _KINDS:
        nearest = _nearest(kind, _KINDS)
        told = "is missing" if kind is None else f"{kind!r} is unknown; the nearest known one is {nearest!r}"
        raise RecipeError(f"{FIELD}.kind: {told} (there are {', '.join(_KINDS)})")
    _check_known(spec, _KINDS[kind].keys | {"kind"}, FIELD)


def _check_known(spec: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    for key in spec:
        if key not in known:
            raise RecipeError(f"{where}.{key}: unknown key; the nearest known one is {_nearest(key, known)!r}")


def _nearest(word: Any, known: Any) -> str:
    return difflib.get_close_matches(str(word), sorted(known), n=1, cutoff=0.0)[0]


def _integer(spec: Mapping[str, Any], key: str, default: int, where: str = FIELD) -> int:
    value = spec.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise RecipeError(f"{where}.{key}: expected a whole number, got {value!r}")
    return value


def _number(value: Any, name: str, low: float, high: float) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise RecipeError(f"{FIELD}.{name}: expected a number from {low} to {high}, got {value!r}")
    return float(value)


class ScheduleKind:
    """One kind of schedule. Another is a subclass, registered with `@schedule_kind("its name in recipes")`."""

    # Keys of the recipe beside `kind`.
    keys: frozenset[str] = frozenset({"mask_ratio", "keep_visible"})

    def sizes(self, spec: Mapping[str, Any], resolution: int, patch_size: int) -> list[tuple[str, int]]:
        """(field to name in errors, side in pixels) of each stage; `resolution` is the model's own."""
        raise NotImplementedError

    def ends(self, spec: Mapping[str, Any], count: int, epochs: float) -> list[float]:
        """First epoch after each of the stages, the last one infinite; here all are equally long."""
        return [*(round(epochs * i / count, 9) for i in range(1, count)), math.inf]

    def mask_ratios(self, spec: Mapping[str, Any]) -> list[float | None] | None:
        """Mask ratios that stages have of their own; None where the recipe says them for all together."""
        return None


_KINDS: dict[str, ScheduleKind] = {}


def schedule_kind(name: str) -> Callable[[type[ScheduleKind]], type[ScheduleKind]]:
    """Register a kind of schedule under the name that recipes use."""

    def register(kind: type[ScheduleKind]) -> type[ScheduleKind]:
        _KINDS[name] = kind()
        return kind

    return register


@schedule_kind("constant")
class Constant(ScheduleKind):
    """One size for the whole run."""

    keys = ScheduleKind.keys | {"resolution"}

    def sizes(self, spec: Mapping[str, Any], resolution: int, patch_size: int) -> list[tuple[str, int]]:
        return [("resolution", _integer(spec, "resolution", resolution))]


class Ramp(ScheduleKind):
    """Sizes that rise, fall or both, along the paper's ramp; `low`, `high` and `step` or a list of them."""

    keys = ScheduleKind.keys | {"resolutions", "low", "high", "step", "ramp"}
    name = ""
    meaning = ""

    def stairs(self, rising: list[int]) -> list[int]:
        """The sizes of the stages, from the rising list of all of them."""
        raise NotImplementedError

    def turn(self, numbers: list[int]) -> int:
        """The stage up to which sizes fall and from which they rise."""
        raise NotImplementedError

    def sizes(self, spec: Mapping[str, Any], resolution: int, patch_size: int) -> list[tuple[str, int]]:
        if "resolutions" not in spec:
            sizes = self._between(spec, resolution, patch_size)
        else:
            clash = next((key for key in ("low", "high", "step") if key in spec), None)
            if clash is not None:
                raise RecipeError(f"{FIELD}.{clash}: give either resolutions or low, high and step")
            given = spec["resolutions"]
            if not isinstance(given, Sequence) or isinstance(given, str) or len(given) < 2:
                raise RecipeError(f"{FIELD}.resolutions: expected a list of two sizes or more, got {given!r}")
            sizes = [
                (f"resolutions[{i}]", _integer({"resolutions": size}, "resolutions", 0)) for i, size in enumerate(given)
            ]
        self._check([size for _, size in sizes])
        return sizes

    def ends(self, spec: Mapping[str, Any], count: int, epochs: float) -> list[float]:
        ramp = spec.get("ramp", [0.0, (count - 1) / count])
        if not isinstance(ramp, Sequence) or len(ramp) != 2:
            raise RecipeError(f"{FIELD}.ramp: expected [start, end] as fractions of the run, got {ramp!r}")
        start, end = (_number(value, "ramp", 0, 1) for value in ramp)
        if start >= end:
            raise RecipeError(f"{FIELD}.ramp: start {start} is not before end {end}")
        # The paper's floor((epoch - start) * (n - 1) / (end - start)) reaches i here. Rounding guards whole epochs.
        reached = (round(epochs * (start + (end - start) * i / (count - 1)), 9) for i in range(1, count))
        return [*reached, math.inf]

    def _between(self, spec: Mapping[str, Any], resolution: int, patch_size: int) -> list[tuple[str, int]]:
        if "low" not in spec:
            raise RecipeError(f"{FIELD}.low: missing; give low (and high, step) or resolutions")
        low, high = _integer(spec, "low", 0), _integer(spec, "high", resolution)
        step = _integer(spec, "step", patch_size)
        if step <= 0 or high <= low or (high - low) % step != 0:
            raise RecipeError(f"{FIELD}.step: steps of {step} do not lead from low {low} to high {high}")
        named = {low: "low", high: "high"}
        return [(named.get(size, "step"), size) for size in self.stairs(list(range(low, high + 1, step)))]

    def _check(self, numbers: list[int]) -> None:
        turn = self.turn(numbers)
        falls = all(a > b for a, b in pairwise(numbers[: turn + 1]))
        rises = all(a < b for a, b in pairwise(numbers[turn:]))
        if not (falls and rises):
            raise RecipeError(f"{FIELD}.resolutions: {numbers} do not {self.meaning}, as kind {self.name!r} says")


@schedule_kind("increasing")
class Increasing(Ramp):
    """From the smallest size to the largest."""

    name, meaning = "increasing", "rise"

    def stairs(self, rising: list[int]) -> list[int]:
        return rising

    def turn(self, numbers: list[int]) -> int:
        return 0


@schedule_kind("decreasing")
class Decreasing(Ramp):
    """From the largest size to the smallest."""

    name, meaning = "decreasing", "fall"

    def stairs(self, rising: list[int]) -> list[int]:
        return rising[::-1]

    def turn(self, numbers: list[int]) -> int:
        return len(numbers) - 1


@schedule_kind("palindrome")
class Palindrome(Ramp):
    """Down to the smallest size and back again: the paper's schedule."""

    name, meaning = "palindrome", "fall, then rise"

    def stairs(self, rising: list[int]) -> list[int]:
        return [*rising[::-1], *rising[1:]]

    def turn(self, numbers: list[int]) -> int:
        # A list that only falls or only rises is told so by a turn at the wrong end.
        lowest = numbers.index(min(numbers))
        if lowest == 0:
            return len(numbers) - 1
        return 0 if lowest == len(numbers) - 1 else lowest


@schedule_kind("stages")
class ExplicitStages(ScheduleKind):
    """A list of sizes, each with its share of the epochs and, where wanted, its mask ratio."""

    keys = ScheduleKind.keys | {"stages"}

    def sizes(self, spec: Mapping[str, Any], resolution: int, patch_size: int) -> list[tuple[str, int]]:
        given = spec.get("stages")
        if not isinstance(given, Sequence) or isinstance(given, str) or not given:
            raise RecipeError(f"{FIELD}.stages: expected a list of stages, got {given!r}")
        sizes = []
        for i, stage in enumerate(given):
            where = f"stages[{i}]"
            if not isinstance(stage, Mapping):
                raise RecipeError(f"{FIELD}.{where}: expected resolution and share, got {stage!r}")
            _check_known(stage, _STAGE_KEYS, f"{FIELD}.{where}")
            for key in ("resolution", "share"):
                if key not in stage:
                    raise RecipeError(f"{FIELD}.{where}.{key}: missing")
            sizes.append((f"{where}.resolution", _integer(stage, "resolution", 0, f"{FIELD}.{where}")))
        return sizes

    def ends(self, spec: Mapping[str, Any], count: int, epochs: float) -> list[float]:
        shares = [_number(stage["share"], f"stages[{i}].share", 0, 1) for i, stage in enumerate(spec["stages"])]
        if not math.isclose(sum(shares), 1, abs_tol=1e-6):
            raise RecipeError(f"{FIELD}.stages: the shares add up to {sum(shares):g}, not to 1")
        # Whole epochs: a stage of a third of 100 epochs ends after 33.
        return [*(float(round(epochs * sum(shares[: i + 1]))) for i in range(count - 1)), math.inf]

    def mask_ratios(self, spec: Mapping[str, Any]) -> list[float | None] | None:
        own = [stage.get("mask_ratio") for stage in spec["stages"]]
        return [
            None if ratio is None else _number(ratio, f"stages[{i}].mask_ratio", 0, 1) for i, ratio in enumerate(own)
        ]


def _mask_ratios(
    spec: Mapping[str, Any],
    sizes: list[int],
    *,
    patch_size: int,
    resolution: int,
    default: float,
    own: list[float | None] | None,
) -> list[float]:
    counts = [(size // patch_size) ** 2 for size in sizes]
    if "keep_visible" in spec:
        if "mask_ratio" in spec or any(ratio is not None for ratio in own or ()):
            raise RecipeError(f"{FIELD}.keep_visible: give either keep_visible or mask_ratio")
        visible = spec["keep_visible"]
        if visible is True:
            visible = num_visible((resolution // patch_size) ** 2, default)
        if not isinstance(visible, int) or not 0 < visible < min(counts):
            raise RecipeError(
                f"{FIELD}.keep_visible: expected true or a number of patches from 1 to {min(counts) - 1}, "
                f"fewer than the smallest size has, got {visible!r}"
            )
        return [mask_ratio_for(count, visible) for count in counts]
    given = spec.get("mask_ratio", default)
    if isinstance(given, Sequence) and not isinstance(given, str):
        if len(given) != len(sizes) or own is not None:
            raise RecipeError(f"{FIELD}.mask_ratio: {len(given)} numbers for {len(sizes)} stages")
        ratios = list(given)
    else:
        ratios = [given if ratio is None else ratio for ratio in own or [None] * len(sizes)]
    for count, ratio in zip(counts, ratios, strict=True):
        num_visible(count, _number(ratio, "mask_ratio", 0, 1))
    return [float(ratio) for ratio in ratios]


def scaled_learning_rate(base_learning_rate: float, batch_size: int) -> float:
    """MAE's linear rule, `base_learning_rate * batch_size / 256`; the batch is that of one optimizer step."""
    return base_learning_rate * batch_size / 256


def learning_rate_factor(step: float, warmup_steps: float, total_steps: float) -> float:
    """Fraction of the peak learning rate at optimizer step `step`, counted from 0 (MAE's `util/lr_sched.py`).

    A linear rise from 0 over `warmup_steps`, which need not be whole, then half a cosine down to 0 at `total_steps`.
    """
    if step < warmup_steps:
        return step / warmup_steps
    if total_steps <= warmup_steps:
        return 1.0
    progress = min(1.0, (step - warmup_steps) / (total_steps - warmup_steps))
    return 0.5 * (1 + math.cos(math.pi * progress))


def warmup_cosine(warmup_steps: float, total_steps: float, floor: float = 0.0) -> Callable[[int], float]:
    """`learning_rate_factor` of one run, as torch's `LambdaLR` takes it; the cosine ends at `floor`."""

    def factor(step: int) -> float:
        share = learning_rate_factor(step, warmup_steps, total_steps)
        return share if step < warmup_steps else floor + (1 - floor) * share

    return factor
