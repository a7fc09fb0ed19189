"""The facts that a .beton keeps about itself, checked by type: a checksum says that they are whole, not that they are
sane."""

import json
import math
from collections.abc import Callable
from typing import Any


def parse_facts(block: bytes) -> dict[str, Any]:
    """A facts block as a dictionary. Facts that are not known here may hold anything but numbers that are not finite.

    Raises ValueError naming the fact."""
    try:
        facts = json.loads(block, parse_constant=_refuse_constant, parse_float=_finite)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"not JSON: {error}") from None
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None
    if not isinstance(facts, dict):
        raise ValueError("not a JSON object")
    for name, (is_right, what) in _KNOWN.items():
        if name in facts and not is_right(facts[name]):
            text = repr(facts[name])
            raise ValueError(f"{name} is {text if len(text) <= 60 else text[:57] + '...'}, not {what}")
    return facts


def _refuse_constant(text: str) -> float:
    raise ValueError(f"it holds {text}")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse_constant(text)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_names(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(name, str) for name in value))


def _is_shard(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_count, value)) and value[0] < value[1]


def _is_skipped(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(entry, list) and len(entry) == 2 and _is_count(entry[0]) and isinstance(entry[1], str)
        for entry in value
    )


def _is_per_channel(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(_is_number(v) and v >= 0 for v in value)


def _is_fraction_per_channel(value: Any) -> bool:
    return _is_per_channel(value) and all(v <= 1 for v in value)


def _is_sums(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_per_channel(value.get(name)) for name in ("totals", "squares"))


_COUNT = (_is_count, "a count")
_TEXT = (_is_text, "text")
_FRACTIONS = (_is_fraction_per_channel, "three numbers from 0 to 1")
_KNOWN: dict[str, tuple[Callable[[Any], bool], str]] = {
    "written_by": _TEXT,
    "converted_by": _TEXT,
    "mode": _TEXT,
    "transcode": _TEXT,
    "quality": (lambda value: _is_count(value) and 1 <= value <= 100, "a number from 1 to 100"),
    "max_resolution": (lambda value: value is None or (_is_count(value) and value > 0), "a number of pixels"),
    "carried_over": _COUNT,
    "skipped": _COUNT,
    "skipped_images": (_is_skipped, "a list of numbers and reasons"),
    "class_names": (_is_names, "a list of names"),
    "shard": (_is_shard, "[I, N] with I from 0 to N - 1"),
    "mean": _FRACTIONS,
    "std": _FRACTIONS,
    "measured_images": _COUNT,
    "measured_pixels": (lambda value: _is_count(value) and value > 0, "a number of pixels"),
    "measured_sums": (_is_sums, "totals and squares of three channels"),
}
