"""How a key of a recipe is declared: its default, its meaning and the values it may have, in one place.

    mask_ratio: float = key(0.75, "Fraction of the patches that are masked.", above=0, below=1)

`check_values` in a class's `__post_init__` refuses any other value, and names the key.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from itertools import pairwise
from typing import Any

from dailymae_hf.errors import RecipeError


@dataclass(frozen=True)
class Allowed:
    """The values of a key. Numbers lie within bounds, of which `above` and `below` are left out, or are `otherwise`.

    In a list or tuple each item does; a `rising` one does not fall. Words are one of `choices`, a `required` value is
    not empty. None is for a key that is not set and always allowed.
    """

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    otherwise: float | None = None
    choices: tuple[str, ...] = ()
    rising: bool = False
    required: bool = False

    def problem(self, value: Any) -> str | None:
        """Why the value cannot be, as the end of a sentence that begins with the key; None where it can."""
        if self.required and not value:
            return " is missing: the recipe has to say it"
        items = value if isinstance(value, list | tuple) else [value]
        if self.rising and any(a > b for a, b in pairwise(items)):
            return f": {list(items)} falls, from low to high is meant"
        return next((problem for item in items if (problem := self._problem_of(item))), None)

    def _problem_of(self, value: Any) -> str | None:
        text = getattr(value, "value", value)  # an enum's word
        if self.choices and isinstance(text, str) and text not in self.choices:
            return f": {text!r} is not one of {', '.join(self.choices)}"
        if isinstance(value, bool) or not isinstance(value, int | float) or value == self.otherwise:
            return None
        return None if self._within(value) else f": {value} is {self._outside(value)}"

    def _within(self, value: float) -> bool:
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def _outside(self, value: float) -> str:
        if self.otherwise is None and self.at_least is not None and value < self.at_least:
            return f"below {self.at_least}"
        return f"not {self.interval()}"

    def interval(self) -> str:
        """The bounds in words; empty where there are none."""
        bounds = (("at least", self.at_least), ("above", self.above), ("at most", self.at_most), ("below", self.below))
        text = " and ".join(f"{name} {bound:g}" for name, bound in bounds if bound is not None)
        return text if self.otherwise is None else f"{text}, or {self.otherwise:g}"


def key(default: Any, help: str, **allowed: Any) -> Any:
    """A dataclass field for a recipe's key. `allowed` are the arguments of `Allowed`; a list or mapping is copied."""
    metadata = {"help": help, "allowed": Allowed(**allowed)}
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def check_values(section: Any, more: Mapping[str, Allowed] | None = None) -> None:
    """Refuse what a key of this dataclass may not be; `more` speaks for fields that somebody else declared.

    Raises:
        RecipeError: a value is outside its key's bounds, or a number is infinite or NaN; the message names the key.
    """
    for declared in fields(section):
        value = getattr(section, declared.name, None)
        for place in _not_finite(value):
            raise RecipeError(f"{declared.name}{place}: not a finite number")
        allowed = declared.metadata.get("allowed") or (more or {}).get(declared.name)
        problem = None if value is None or allowed is None else allowed.problem(value)
        if problem is not None:
            raise RecipeError(f"{declared.name}{problem}")


def default_of(declared: Any) -> Any:
    """The default of a dataclass field, made where it is made anew for each; MISSING where there is none."""
    return declared.default_factory() if declared.default_factory is not MISSING else declared.default


def _not_finite(value: Any) -> Iterator[str]:
    """Where in a value the infinite and undefined numbers are: "" for itself, ".low" or "[0]" inside it."""
    if isinstance(value, float) and not math.isfinite(value):
        yield ""
    elif isinstance(value, Mapping):
        yield from (f".{name}{place}" for name, item in value.items() for place in _not_finite(item))
    elif isinstance(value, list | tuple):
        yield from (f"[{i}]{place}" for i, item in enumerate(value) for place in _not_finite(item))
