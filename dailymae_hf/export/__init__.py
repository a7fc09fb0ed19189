"""Checkpoints for other uses: timm's tensor names, ONNX, and the encoder as a plain ViT."""

from dailymae_hf._lazy import lazy_names

_HOME = {"export_onnx": "onnx_graph", "export_timm": "timm_names", "export_vit": "plain_vit"}

__all__ = list(_HOME)

__getattr__, __dir__ = lazy_names(__name__, _HOME)
