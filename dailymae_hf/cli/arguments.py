"""Arguments of the commands: numbers within bounds, and a mistake answered by one line."""

import argparse
import math
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from dailymae_hf.errors import RecipeError
from dailymae_hf.keys import Allowed

Value = TypeVar("Value", int, float)


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are a `RecipeError`, one line without the usage before it."""

    def error(self, message: str) -> NoReturn:
        _, _, command = self.prog.partition(" ")
        raise RecipeError(f"{command}: {message}" if command else message)


def whole(**allowed: Any) -> Callable[[str], int]:
    """An argument's `type`: a whole number within the bounds of `Allowed`."""
    return lambda text: _within(int, "a whole number", text, Allowed(**allowed))


def number(**allowed: Any) -> Callable[[str], float]:
    """An argument's `type`: a finite number within the bounds of `Allowed`."""
    return lambda text: _within(float, "a number", text, Allowed(**allowed))


def _within(kind: Callable[[str], Value], called: str, text: str, allowed: Allowed) -> Value:
    try:
        value = kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not {called}") from None
    problem = allowed.problem(value) if math.isfinite(value) else f": {text} is not a finite number"
    if problem is not None:
        raise argparse.ArgumentTypeError(problem.removeprefix(": "))
    return value
