"""The linear probe: frozen encoder, BatchNorm without affine, linear head; saved folded into a plain classifier."""

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutput

from dailymae_hf.downstream.classifier import pooled_features
from dailymae_hf.downstream.trainer import ClassifierTrainer
from dailymae_hf.downstream.training_args import ProbeTrainingArguments
from dailymae_hf.model.flops import encode_flops
from dailymae_hf.training.optim import Groups, decay_groups
from dailymae_hf.training.probe_head import ProbeHead
from dailymae_hf.training.rank_norm import normalize_over_ranks


class LinearProbe(ProbeHead):
    """BatchNorm without affine and a linear head on what a frozen classifier's own head would read, as MAE has it.

    Args:
        classifier: of `build_classifier`; its weights are frozen and it stays in evaluation mode. Its head is not used
            until `fold` writes the probe into it.
    """

    def __init__(self, classifier: PreTrainedModel) -> None:
        super().__init__(classifier.config.hidden_size, classifier.config.num_labels)
        self.classifier = classifier.requires_grad_(False)

    @property
    def config(self) -> Any:
        """The classifier's."""
        return self.classifier.config

    def train(self, mode: bool = True) -> "LinearProbe":
        super().train(mode)
        self.classifier.eval()
        return self

    def forward(  # type: ignore[override]
        self, pixel_values: torch.Tensor | None = None, features: torch.Tensor | None = None
    ) -> ImageClassifierOutput:
        """Logits of images (B, 3, S, S), or of features (B, hidden_size) that were computed before."""
        if features is None:
            assert pixel_values is not None
            with torch.no_grad():
                features = pooled_features(self.classifier, pixel_values)
        return ImageClassifierOutput(logits=self.head(normalize_over_ranks(self.norm, features.float())))

    @torch.no_grad()
    def fold(self) -> PreTrainedModel:
        """The classifier with the probe as its linear head: the same logits, and nothing but plain tensors.

        head((x - mean) / sqrt(var + eps)) is W' x + b' with W' = W / sqrt(var + eps) and b' = b - W' mean.
        """
        mean, variance = self.norm.running_mean, self.norm.running_var
        assert mean is not None
        assert variance is not None
        weight = self.head.weight * (variance + self.norm.eps).rsqrt()
        self.classifier.classifier.weight.copy_(weight)
        self.classifier.classifier.bias.copy_(self.head.bias - weight @ mean)
        return self.classifier


class LinearProbeTrainer(ClassifierTrainer):
    """Trains a `LinearProbe` with LARS, from images or from a `FeatureTable`."""

    args: ProbeTrainingArguments

    def image_cost(self, size: int) -> tuple[int, int]:
        """Tokens and FLOPs of one image: there is no backward pass through the encoder."""
        config: Any = self.core_model.config
        return 1 + (size // config.patch_size) ** 2, encode_flops(config, size)

    def parameter_groups(self, model: nn.Module) -> Groups:
        """The head's parameters; there is nothing else to train."""
        assert self.args.learning_rate is not None
        named = self.core_model.named_parameters()
        return decay_groups(named, learning_rate=self.args.learning_rate, weight_decay=self.args.weight_decay)

    def model_facts(self) -> dict[str, Any]:
        return super().model_facts() | {"layer_decay": None}
