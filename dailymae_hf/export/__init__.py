"""Checkpoints for others than transformers: timm's tensor names, and ONNX."""

from dailymae_hf._lazy import lazy_names

_HOME = {"export_onnx": "onnx_graph", "export_timm": "timm_names"}

__all__ = list(_HOME)

__getattr__, __dir__ = lazy_names(__name__, _HOME)
