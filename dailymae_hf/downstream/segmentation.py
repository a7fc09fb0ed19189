"""Semantic segmentation with a linear head on patch tokens: what features know about places, with little on top.

As in DINOv2's linear evaluation: BatchNorm and a 1x1 convolution on the last layer's patch tokens, logits upsampled
bilinearly to the mask's size.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from transformers import ViTConfig, ViTMAEForPreTraining, ViTModel, ViTPreTrainedModel
from transformers.modeling_outputs import SemanticSegmenterOutput

from dailymae_hf.downstream.encoder import classifier_fields, copy_encoder
from dailymae_hf.downstream.masked_images import IGNORED, masked_batch
from dailymae_hf.downstream.metrics import MeanIoU
from dailymae_hf.training.beton_trainer import BetonTrainer
from dailymae_hf.training.evaluation import evaluation_mode
from dailymae_hf.training.rank_norm import normalize_over_ranks


class LinearSegmenter(ViTPreTrainedModel):
    """A ViT encoder, BatchNorm and one linear map per patch token.

    `ViTModel.from_pretrained` of plain transformers reads the encoder out of its checkpoint.
    """

    accepts_loss_kwargs = False

    def __init__(self, config: ViTConfig) -> None:
        super().__init__(config)
        self.vit = ViTModel(config, add_pooling_layer=False)
        self.norm = nn.BatchNorm2d(config.hidden_size)
        self.classifier = nn.Conv2d(config.hidden_size, config.num_labels, kernel_size=1)
        self.frozen_encoder = False
        self.post_init()

    def freeze_encoder(self) -> None:
        """Train the head alone: no gradients and no memory for the encoder."""
        self.vit.requires_grad_(False)
        self.frozen_encoder = True

    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None) -> SemanticSegmenterOutput:
        """Logits (B, num_labels, grid, grid) of images (B, 3, S, S), any S that the patch size divides.

        `labels`: (B, S, S) int64 classes, 255 where none; with them `loss` is the mean cross-entropy over pixels.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen_encoder):
            tokens = self.vit(pixel_values, interpolate_pos_encoding=True).last_hidden_state[:, 1:]
        grid = [side // self.config.patch_size for side in pixel_values.shape[-2:]]
        logits = self.classifier(normalize_over_ranks(self.norm, tokens.mT.unflatten(2, grid)))
        loss = None
        if labels is not None:
            loss = F.cross_entropy(upsampled(logits, labels), labels, ignore_index=IGNORED)
        return SemanticSegmenterOutput(loss=loss, logits=logits)


def upsampled(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Logits (B, C, h, w) at the size of masks (..., H, W), bilinear, float32."""
    return F.interpolate(logits.float(), size=tuple(labels.shape[-2:]), mode="bilinear", align_corners=False)


def build_segmenter(
    encoder: ViTMAEForPreTraining, class_names: Sequence[str], *, image_size: int | None = None, frozen: bool = True
) -> LinearSegmenter:
    """A segmenter with the encoder's weights and a fresh head; the encoder is trained too unless `frozen`.

    Raises:
        RecipeError: fewer than two classes, or a size that the patch size does not divide.
    """
    fields = classifier_fields(encoder.config, class_names, image_size) | {"problem_type": None}
    model = LinearSegmenter(ViTConfig(**fields, qkv_bias=encoder.config.qkv_bias))
    copy_encoder(encoder, model)
    if frozen:
        model.freeze_encoder()
    return model


class SegmentationTrainer(BetonTrainer):
    """Trains a `LinearSegmenter` on `MaskedImages` and scores mean IoU and pixel accuracy."""

    card_kind = "segmentation"

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """The validation images, dealt to the ranks so that each comes once."""
        dataset, args = self.eval_dataset if eval_dataset is None else eval_dataset, self.args
        return DataLoader(
            dataset,
            batch_size=args.per_device_eval_batch_size,
            sampler=range(args.process_index, len(dataset), args.world_size),
            num_workers=args.dataloader_num_workers,
            collate_fn=masked_batch,
        )

    @torch.no_grad()
    def score(self, loader: Any) -> dict[str, float]:
        """`mean_iou` and `pixel_accuracy` of a loader of "pixel_values" and "labels", the same on every rank.

        Logits are upsampled to each mask's own size, and all pixels are counted together.
        """
        model = self.core_model
        classes: int = model.config.num_labels
        confusion = torch.zeros(classes, classes, dtype=torch.int64, device=self.args.device)
        with evaluation_mode(model):
            for batch in loader:
                inputs = self._prepare_inputs(batch)
                with self.accelerator.autocast():
                    logits = model(inputs["pixel_values"]).logits
                for logit, labels in zip(logits, inputs["labels"], strict=True):
                    predicted = upsampled(logit.unsqueeze(0), labels)[0].argmax(dim=0)
                    known = labels != IGNORED
                    pairs = labels[known] * classes + predicted[known]
                    confusion += torch.bincount(pairs, minlength=classes**2).view(classes, classes)
        confusion = self.accelerator.reduce(confusion, reduction="sum")
        return MeanIoU().compute(predictions=confusion.cpu())
