"""ClassifierTrainer: layer-wise rates, soft targets, scores that ranks agree on."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from dailymae_hf.downstream.ema import EMACallback
from dailymae_hf.downstream.metrics import ClassificationMetrics
from dailymae_hf.downstream.training_args import ClassifierTrainingArguments
from dailymae_hf.model.image_processors import classification_processor
from dailymae_hf.training.augment import Mixing
from dailymae_hf.training.beton_trainer import BetonTrainer
from dailymae_hf.training.optim import Groups, layer_decay_groups


class ClassifierTrainer(BetonTrainer):
    """Trains an image classifier from labelled .beton files, or from any data set.

    Args:
        model: a classifier of `build_classifier`.
        args: the run's arguments.
        mixing: applied to normalised training images and their labels; its targets carry the label smoothing.
        kwargs: as `BetonTrainer` takes them.

    Raises:
        RecipeError: the resolution schedule does not fit the model.
    """

    args: ClassifierTrainingArguments
    card_kind = "classification"

    def __init__(
        self, model: nn.Module, args: ClassifierTrainingArguments, *, mixing: Mixing | None = None, **kwargs: Any
    ) -> None:
        super().__init__(model, args, **kwargs)
        self.mixing = mixing
        # Each micro-batch's loss is its own mean: the Trainer has to divide by the number of accumulated ones.
        self.model_accepts_loss_kwargs = False
        config: Any = model.config
        self.num_classes: int = config.num_labels
        self.average = EMACallback(args.ema_decay) if args.ema_decay is not None else None
        if self.average is not None:
            self.add_callback(self.average)

    @staticmethod
    def image_processor(size: int, mean: tuple[float, ...], std: tuple[float, ...]) -> Any:
        return classification_processor(size, mean, std)

    # ---- one step --------------------------------------------------------------------------------------------------

    def mixed(self, prepared: dict[str, Any], numbers: torch.Tensor) -> dict[str, Any]:
        if self.mixing is None:
            return prepared
        pixels, targets = self.mixing(prepared["pixel_values"], prepared["labels"], self._epoch, numbers)
        return prepared | {"pixel_values": pixels, "labels": targets}

    def logits(self, model: nn.Module, inputs: Mapping[str, Any]) -> torch.Tensor:
        """The model's logits (B, num_classes) for prepared inputs; labels are not shown to it."""
        shown = {name: value for name, value in inputs.items() if name not in ("labels", "index")}
        if isinstance(self.core_model, PreTrainedModel):
            shown["interpolate_pos_encoding"] = True  # ViT refuses other sizes than its own unless told
        return model(**shown).logits

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any
    ) -> Any:
        """Cross-entropy with hard labels (smoothed in training) or with mixed targets."""
        targets = inputs["labels"]
        logits = self.logits(model, inputs)
        smoothing = self.args.label_smoothing_factor if model.training and targets.ndim == 1 else 0.0
        loss = F.cross_entropy(logits.float(), targets, label_smoothing=smoothing)
        return (loss, {"logits": logits}) if return_outputs else loss

    def parameter_groups(self, model: nn.Module) -> Groups:
        """Groups whose rates fall towards the input."""
        core: Any = self.core_model
        assert self.args.learning_rate is not None
        return layer_decay_groups(
            core,
            learning_rate=self.args.learning_rate,
            weight_decay=self.args.weight_decay,
            layer_decay=self.args.layer_decay,
            num_layers=core.config.num_hidden_layers,
        )

    # ---- scores ----------------------------------------------------------------------------------------------------

    def scored_weights(self) -> AbstractContextManager[None]:
        """The averaged weights, where there are any."""
        return nullcontext() if self.average is None else self.average.applied()

    def score(self, loader: Any) -> dict[str, float]:
        """`accuracy`, `top5_accuracy` (from six classes on) and `loss` of a loader's labelled samples, each counted
        once, the same on every rank."""
        model = self.core_model
        metrics = ClassificationMetrics(self.num_classes)
        index, rows = self.rows_by_sample(
            loader, lambda batch: metrics.rows(self.logits(model, batch), batch["labels"]), reports_progress=True
        )
        metrics.add_rows(rows[index < len(loader.dataset)])
        return metrics.compute()

    def model_facts(self) -> dict[str, Any]:
        return super().model_facts() | {"layer_decay": self.args.layer_decay}
