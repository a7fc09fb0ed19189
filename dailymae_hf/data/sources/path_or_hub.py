"""A name that may be a path or one on the Hub: which it is, and what is said where there is nothing of that name."""

import difflib
import os
import re
from collections.abc import Callable, Collection
from pathlib import Path

from dailymae_hf.data.sources.image_source import printable

HUB_ADDRESS = re.compile(r"(?:hf://(?:datasets/)?)?([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
PATIENCE = 10.0  # seconds that the Hub has to say whether it knows a name
_SHOWN = 5
_NEAR = 0.8  # similarity (difflib's) of a mistyped folder to the one that was meant


def is_hub_name(text: str) -> bool:
    """Whether this is USER/NAME, or starts with hf://."""
    return text.startswith("hf://") or HUB_ADDRESS.fullmatch(text) is not None


def is_on_hub(text: str, file_suffixes: Collection[str] = ()) -> bool:
    """Whether a name of nothing on this disk means the Hub.

    It is a path where it ends like a file, or where its folder exists or nearly does.
    """
    if text.startswith("hf://"):
        return True
    user = Path(text).parent
    if not is_hub_name(text) or Path(text).suffix.lower() in file_suffixes or user.exists():
        return False
    return not difflib.get_close_matches(str(user), os.listdir(), 1, cutoff=_NEAR)


def absent(text: str) -> str:
    """`outputs/labb does not exist; in the folder outputs, did you mean outputs/lab?`"""
    return f"{printable(text)} does not exist; {neighbours(text)}"


def neighbours(text: str) -> str:
    """`in the folder outputs, did you mean outputs/lab?`: what lies where a path leads to nothing."""
    place = Path(text)
    folder = next(parent for parent in place.parents if parent.is_dir())
    held = sorted(printable(name) for name in os.listdir(folder) if not name.startswith("."))
    near = difflib.get_close_matches(place.relative_to(folder).parts[0], held, 1)
    hint = f"did you mean {folder / near[0]}?" if near else f"there are {', '.join(held[:_SHOWN]) or 'no files'}"
    more = f" and {len(held) - _SHOWN} more" if not near and len(held) > _SHOWN else ""
    return f"in the folder {folder}, {hint}{more}"


def hub_problem(ask: Callable[[], object], name: str, kind: str) -> str | None:
    """What one question to the Hub says against a name; None where the Hub has it, or has trouble that may pass.

    Args:
        ask: a request that fails where there is no such repository.
        kind: what it would be, for the message: `data set`, `model`.
    """
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    here = f"nor is there a folder {Path(name).parent} in {Path.cwd()}"
    try:
        ask()
    except OfflineModeIsEnabled:
        return f"{name}: HF_HUB_OFFLINE is set, and the {kind} is not in the cache; {here}"
    except HfHubHTTPError as error:
        if error.response.status_code in (401, 404):
            return f"{name}: the Hub has no {kind} of that name that this token may see; {here}"
    except Exception as error:  # of the HTTP library, whose name changes with its versions
        return f"{name}: the Hub cannot be reached ({error}); {here}"
    return None
