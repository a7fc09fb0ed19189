"""Checkpoints for others than transformers: timm's tensor names, and ONNX."""

from importlib import import_module
from typing import Any

_HOME = {"export_onnx": "onnx_graph", "export_timm": "timm_names"}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
