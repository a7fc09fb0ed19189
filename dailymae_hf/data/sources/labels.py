"""Labels as sources hold them -> integers and class names."""

from collections.abc import Sequence
from typing import Any

from dailymae_hf.errors import RecipeError


def number_labels(values: Sequence[Any], where: str) -> tuple[list[int | None], list[str] | None]:
    """Integers as they are; text as numbers of its sorted values, which become the class names. Missing ones are None.

    Text that is an integer in every row counts as integers. Raises RecipeError naming `where` for any other kind.
    """
    kinds = {type(value) for value in values if value is not None and value != ""}
    if kinds <= {str} and not all(_is_integer(value) for value in values if value):
        names = sorted({value for value in values if value})
        numbers = {name: number for number, name in enumerate(names)}
        return [numbers[value] if value else None for value in values], names
    odd = next((value for value in values if not isinstance(value, int | str | None)), None)
    if odd is not None:
        raise RecipeError(f"label_column: {where} holds {odd!r}, neither an integer nor text")
    if len(kinds) > 1:
        raise RecipeError(f"label_column: {where} holds integers and text")
    labels = [None if value is None or value == "" else int(value) for value in values]
    large = next((label for label in labels if label is not None and not -(1 << 63) <= label < 1 << 63), None)
    if large is not None:
        raise RecipeError(f"label_column: {where} holds {large}, which takes more than 64 bits")
    return labels, None


def _is_integer(text: str) -> bool:
    digits = text.strip().removeprefix("-")
    return digits.isascii() and digits.isdigit()
