"""Image classifiers from a masked autoencoder's encoder, as classes that plain transformers has.

MAE classifies `head(norm(mean of the patch tokens))`, with the norm after the mean. Stock ViT cannot say that: it takes
the class token after the final norm. Stock BEiT with absolute positions, without layer scale and with its mean pooling
is that very network, in transformers 4 and 5 alike, drop path included. (Its key projection has no bias: a key's bias
adds the same number to all attention scores of a query, which softmax ignores.) So a mean-pooled classifier is stored
as `BeitForImageClassification` and a class-token classifier as `ViTForImageClassification`, and both are trained as
what they are stored as: there is nothing to convert at the end.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn
from transformers import (
    BeitConfig,
    BeitForImageClassification,
    PreTrainedModel,
    ViTConfig,
    ViTForImageClassification,
    ViTMAEForPreTraining,
)

from dailymae_hf.downstream.encoder import classifier_fields, copy_encoder
from dailymae_hf.training.hf_compat import drop_path

Pooling = Literal["mean", "cls"]


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
        RecipeError: fewer than two classes, or a size that the patch size does not divide.
    """
    fields = classifier_fields(encoder.config, class_names, image_size)
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
        model = ViTForImageClassification(ViTConfig(**fields, qkv_bias=encoder.config.qkv_bias))
        # A ViT layer has no drop path, but one dropout module on each residual branch's way and no other use for it.
        rates = [drop_path_rate * i / max(len(model.vit.layers) - 1, 1) for i in range(len(model.vit.layers))]
        for layer, rate in zip(model.vit.layers, rates, strict=True):
            layer.dropout = drop_path(rate)
    copy_encoder(encoder, model)
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

    BEiT resamples its positions by itself, ViT wants to be told.
    """
    return classifier(pixel_values, interpolate_pos_encoding=True).logits
