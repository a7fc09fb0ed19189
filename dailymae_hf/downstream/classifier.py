"""Image classifiers from a masked autoencoder's encoder, as classes that plain transformers has.

MAE classifies `head(norm(mean of the patch tokens))`, with the norm after the mean. Stock ViT cannot say that: it takes
the class token after the final norm. Stock BEiT with absolute positions, without layer scale and with its mean pooling
is that very network, in transformers 4 and 5 alike, drop path included. (Its key projection has no bias: a key's bias
adds the same number to all attention scores of a query, which softmax ignores.) So a mean-pooled classifier is stored
as `BeitForImageClassification` and a class-token classifier as `ViTForImageClassification`, and both are trained as
what they are stored as: there is nothing to convert at the end.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from transformers import (
    BeitConfig,
    BeitForImageClassification,
    PreTrainedModel,
    ViTConfig,
    ViTForImageClassification,
    ViTMAEConfig,
    ViTMAEForPreTraining,
)
from transformers.models.beit.modeling_beit import BeitDropPath

from ..errors import CheckpointError, RecipeError
from ..modeling import DailyMAEForPreTraining
from ..positions import sincos_positions

Pooling = Literal["mean", "cls"]


def load_encoder(checkpoint: str | Path) -> DailyMAEForPreTraining:
    """The masked autoencoder of a folder or a Hub name; its decoder may be missing, its encoder may not.

    Raises:
        CheckpointError: a tensor of the encoder is missing or has another shape.
    """
    model, info = DailyMAEForPreTraining.from_pretrained(str(checkpoint), strict=False, output_loading_info=True)
    mismatched = [entry[0] if isinstance(entry, tuple) else entry for entry in info["mismatched_keys"]]
    lost = sorted(name for name in [*info["missing_keys"], *mismatched] if name.startswith("vit."))
    if lost:
        raise CheckpointError(f"{checkpoint}: no usable {', '.join(lost[:4])} ({len(lost)} tensors of the encoder)")
    return model


def build_classifier(
    encoder: ViTMAEForPreTraining,
    class_names: Sequence[str],
    *,
    pooling: Pooling = "mean",
    image_size: int | None = None,
    drop_path_rate: float = 0.0,
    head_std: float = 2e-5,
) -> PreTrainedModel:
    """A classifier with the encoder's weights and a fresh head.

    Args:
        encoder: the masked autoencoder; its weights are copied.
        class_names: `id2label` in order.
        pooling: "mean" of the patch tokens, then a fresh LayerNorm (MAE's fine-tuning, a `BeitForImageClassification`),
            or the "cls" token after the encoder's final LayerNorm (a `ViTForImageClassification`).
        image_size: input size; the encoder's own if not given. Positions of another grid are the sin-cos table's.
        drop_path_rate: stochastic depth of the last block, falling linearly to 0 at the first.
        head_std: standard deviation of the head's truncated normal weights; MAE fine-tunes from 2e-5.

    Raises:
        RecipeError: no classes, or a size that the patch size does not divide.
    """
    if not class_names:
        raise RecipeError("a classifier needs class names: the training data has no labels")
    config: Any = encoder.config
    size = image_size or config.image_size
    if size % config.patch_size:
        raise RecipeError(f"image_size: {size} is not a multiple of the patch size {config.patch_size}")
    fields = _shared_fields(config, class_names) | {"image_size": size}
    model: PreTrainedModel
    if pooling == "mean":
        model = BeitForImageClassification(
            BeitConfig(
                **fields,
                use_mean_pooling=True,
                use_absolute_position_embeddings=True,
                use_relative_position_bias=False,
                use_shared_relative_position_bias=False,
                use_mask_token=False,
                layer_scale_init_value=0.0,
                drop_path_rate=drop_path_rate,
            )
        )
    else:
        model = ViTForImageClassification(ViTConfig(**fields, qkv_bias=config.qkv_bias))
        # A ViT layer has no drop path, but one dropout module on each residual branch's way and no other use for it.
        rates = [drop_path_rate * i / max(len(model.vit.layers) - 1, 1) for i in range(len(model.vit.layers))]
        for layer, rate in zip(model.vit.layers, rates, strict=True):
            layer.dropout = BeitDropPath(rate)
    _copy_encoder(encoder, model)
    head: nn.Linear = model.classifier
    nn.init.trunc_normal_(head.weight, std=head_std)
    nn.init.zeros_(head.bias)
    return model


def pooled_features(classifier: PreTrainedModel, pixel_values: torch.Tensor) -> torch.Tensor:
    """What the classifier's head reads: (B, 3, S, S) float -> (B, hidden_size)."""
    if isinstance(classifier, ViTForImageClassification):
        return classifier.vit(pixel_values, interpolate_pos_encoding=True).last_hidden_state[:, 0]
    return classifier.base_model(pixel_values).pooler_output


def classifier_logits(classifier: PreTrainedModel, pixel_values: torch.Tensor) -> torch.Tensor:
    """Logits at any square size that the patch size divides: (B, 3, S, S) float -> (B, num_classes).

    BEiT resamples its positions by itself; ViT wants to be told.
    """
    if isinstance(classifier, ViTForImageClassification):
        return classifier(pixel_values, interpolate_pos_encoding=True).logits
    return classifier(pixel_values).logits


def _shared_fields(config: ViTMAEConfig, class_names: Sequence[str]) -> dict[str, Any]:
    names = (
        "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act", "patch_size",
        "num_channels", "layer_norm_eps", "initializer_range", "hidden_dropout_prob", "attention_probs_dropout_prob",
    )  # fmt: skip
    return {name: getattr(config, name) for name in names} | {
        "id2label": dict(enumerate(class_names)),
        "label2id": {name: number for number, name in enumerate(class_names)},
        "problem_type": "single_label_classification",
    }


@torch.no_grad()
def _copy_encoder(encoder: ViTMAEForPreTraining, classifier: PreTrainedModel) -> None:
    """Copy every tensor of `encoder.vit` that the classifier has; only those named below may be left on either side."""
    source = encoder.vit.state_dict()
    target = classifier.base_model.state_dict()
    name = "embeddings.position_embeddings"
    if source[name].shape != target[name].shape:
        native, grid = (round((len(state[name][0]) - 1) ** 0.5) for state in (source, target))
        source[name] = sincos_positions(grid, native, encoder.config.hidden_size).unsqueeze(0)
    mean_pooled = isinstance(classifier, BeitForImageClassification)
    for name in target:
        if not name.startswith("pooler."):  # the norm after the mean starts fresh, as MAE's `fc_norm` does
            target[name].copy_(source.pop(name))
    left = [n for n in source if not (mean_pooled and (n.startswith("layernorm.") or n.endswith("k_proj.bias")))]
    assert not left, f"the classifier has no place for {left}"
