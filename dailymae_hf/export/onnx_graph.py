"""A checkpoint as an ONNX graph: the encoder's tokens, or a classifier's logits."""

import contextlib
import io
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel

from dailymae_hf.errors import MissingDependencyError
from dailymae_hf.export.source import load_for_export

_LARGEST = 1_900_000_000  # bytes that an ONNX file holds; larger weights go into a file beside it


class Exported(nn.Module):
    """`pixel_values` (B, 3, S, S) float32, normalised -> `logits` (B, classes), or the encoder's `last_hidden_state`
    (B, 1 + N, D): class token and patches in the image's order, after the final norm."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model
        self.output = "logits" if hasattr(model, "classifier") else "last_hidden_state"

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return getattr(self.model(pixel_values), self.output)


def export_onnx(checkpoint: str | Path, out: str | Path) -> Path:
    """Write the graph to the file `out`, for any batch size at the model's image size; returns its path.

    Raises:
        CheckpointError: the model cannot be exported.
        MissingDependencyError: onnx or onnxscript is not installed.
    """
    try:
        import onnxscript  # type: ignore[import-not-found, import-untyped, unused-ignore]  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(f"{error.name} is missing: pip install 'dailymae-hf[onnx]'") from error
    module = Exported(load_for_export(checkpoint)).eval()
    size, path = module.model.config.image_size, Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = sum(p.numel() * p.element_size() for p in module.parameters())
    with contextlib.redirect_stdout(io.StringIO()):  # it reports its steps there, decorated
        torch.onnx.export(
            module,
            (torch.zeros(2, 3, size, size),),
            path,
            input_names=["pixel_values"],
            output_names=[module.output],
            dynamic_shapes={"pixel_values": {0: torch.export.Dim("batch")}},
            external_data=weights > _LARGEST,
            dynamo=True,
        )
    return path
