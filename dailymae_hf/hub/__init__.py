"""What leaves a run, and the way to the Hub and back: processor, card, pictures, push, files fetched from there.

Names are imported when first used: the trainer is built on some of them, and others on the trainer.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "BICUBIC": "processor",
    "fetched": "fetch",
    "image_processor": "processor",
    "keep_recipe": "run_folder",
    "push_dataset": "dataset",
    "push_model": "push",
    "release": "run_folder",
    "write_card": "card",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
