"""The encoder of a masked autoencoder, taken into other models."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import BeitForImageClassification, PreTrainedModel, ViTMAEForPreTraining

from dailymae_hf.errors import CheckpointError, RecipeError
from dailymae_hf.hub.checkpoint_name import require_checkpoint
from dailymae_hf.model.modeling import DailyMAEForPreTraining
from dailymae_hf.model.plain_vit import FIELDS
from dailymae_hf.model.positions import native_grid_of, positions_on


def load_encoder(checkpoint: str | Path) -> DailyMAEForPreTraining:
    """The masked autoencoder of a folder or a Hub name; its decoder may be missing, its encoder may not.

    Raises:
        CheckpointError: it cannot be read, or a tensor of the encoder is missing or has another shape.
    """
    require_checkpoint(checkpoint)
    try:
        model, info = DailyMAEForPreTraining.from_pretrained(str(checkpoint), strict=False, output_loading_info=True)
    except OSError as error:  # no such folder or repository, or a private one
        raise CheckpointError(f"{checkpoint}: {error}") from error
    mismatched = [entry[0] if isinstance(entry, tuple) else entry for entry in info["mismatched_keys"]]
    lost = sorted(name for name in [*info["missing_keys"], *mismatched] if name.startswith("vit."))
    if lost:
        raise CheckpointError(f"{checkpoint}: no usable {', '.join(lost[:4])} ({len(lost)} tensors of the encoder)")
    return model


def classifier_fields(config: Any, class_names: Sequence[str], image_size: int | None) -> dict[str, Any]:
    """The config fields that a ViT or BEiT on this encoder takes over, with its classes and its input size.

    Raises:
        RecipeError: fewer than two classes, or a size that the patch size does not divide.
    """
    if len(class_names) < 2:
        raise RecipeError(f"the training data has {len(class_names)} classes: two or more are needed")
    size = image_size or config.image_size
    if size % config.patch_size:
        raise RecipeError(f"image_size: {size} is not a multiple of the patch size {config.patch_size}")
    return {name: getattr(config, name) for name in FIELDS} | {
        "image_size": size,
        "id2label": dict(enumerate(class_names)),
        "label2id": {name: number for number, name in enumerate(class_names)},
        "problem_type": "single_label_classification",
    }


@torch.no_grad()
def copy_encoder(encoder: ViTMAEForPreTraining, model: PreTrainedModel) -> None:
    """Copy every tensor of `encoder.vit` into a ViT or BEiT; only those named below may be left on either side."""
    source = encoder.vit.state_dict()
    target = model.base_model.state_dict()
    name = "embeddings.position_embeddings"
    if source[name].shape != target[name].shape:
        grid = round((target[name].shape[1] - 1) ** 0.5)
        source[name] = positions_on(source[name], grid, native_grid_of(source[name]))
    mean_pooled = isinstance(model, BeitForImageClassification)
    for name in target:
        if not name.startswith("pooler."):  # the norm after the mean starts fresh, as MAE's `fc_norm` does
            target[name].copy_(source.pop(name))
    left = [n for n in source if not (mean_pooled and (n.startswith("layernorm.") or n.endswith("k_proj.bias")))]
    assert not left, f"the model has no place for {left}"
