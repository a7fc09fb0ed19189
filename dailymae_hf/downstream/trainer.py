"""ClassifierTrainer: augmentation on the device, layer-wise rates, soft targets, scores that ranks agree on."""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil

from dailymae_hf.downstream.ema import EMACallback
from dailymae_hf.downstream.metrics import ClassificationMetrics
from dailymae_hf.downstream.training_args import ClassifierTrainingArguments
from dailymae_hf.errors import RecipeError
from dailymae_hf.model.image_processors import BICUBIC
from dailymae_hf.schedule import learning_rate_factor
from dailymae_hf.training.augment import Mixing, ThreeAugment
from dailymae_hf.training.beton_trainer import EVAL_CROP
from dailymae_hf.training.callbacks import PalindromeCallback
from dailymae_hf.training.mae_trainer import DailyMAETrainer
from dailymae_hf.training.optim import layer_decay_groups


def classification_processor(
    size: int, mean: tuple[float, ...], std: tuple[float, ...], crop: float = EVAL_CROP
) -> BitImageProcessorPil:
    """The processor saved with a classifier: what the .beton loader's centre crop does, for original images.

    Shorter side to size / crop, bicubic; the middle (size, size); to 0-1; (x - mean) / std. Its
    `preprocessor_config.json` is read by `AutoImageProcessor` of transformers 4 and 5, with or without torchvision.
    """
    return BitImageProcessorPil(
        size={"shortest_edge": round(size / crop)},
        crop_size={"height": size, "width": size},
        resample=BICUBIC,
        image_mean=list(mean),
        image_std=list(std),
    )


class ResolutionCallback(PalindromeCallback):
    """Applies a resolution schedule to a classifier's training images; there is nothing to mask."""

    def log_values(self) -> dict[str, float | int]:
        values = super().log_values()
        values.pop("mask_ratio", None)
        return values


class ClassifierTrainer(DailyMAETrainer):
    """Trains an image classifier from labelled .beton files, or from any data set.

    Args:
        model: a classifier of `build_classifier`.
        args: the run's arguments.
        augment: applied to uint8 training images before they are normalised.
        mixing: applied to normalised training images and their labels; its targets carry the label smoothing.
        kwargs: as `DailyMAETrainer` takes them.

    Raises:
        RecipeError: the resolution schedule does not fit the model.
    """

    args: ClassifierTrainingArguments
    optimizer: Any
    card_kind = "classification"
    schedule_callback = ResolutionCallback

    def __init__(
        self,
        model: nn.Module,
        args: ClassifierTrainingArguments,
        *,
        augment: ThreeAugment | None = None,
        mixing: Mixing | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(model, args, **kwargs)
        self.augment, self.mixing = augment, mixing
        # Each micro-batch's loss is its own mean: the Trainer has to divide by the number of accumulated ones.
        self.model_accepts_loss_kwargs = False
        config: Any = model.config
        self.num_classes: int = config.num_labels
        if kwargs.get("processing_class") is None:
            self.processing_class = classification_processor(config.image_size, self.image_mean, self.image_std)
        self.average = EMACallback(args.ema_decay) if args.ema_decay is not None else None
        if self.average is not None:
            self.add_callback(self.average)

    # ---- one step --------------------------------------------------------------------------------------------------

    def _prepare_inputs(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        inputs = dict(inputs)
        if not self.model.training or "pixel_values" not in inputs:
            return super()._prepare_inputs(inputs)
        pixels, labels = inputs["pixel_values"].to(self.args.device), inputs["labels"].to(self.args.device)
        index = self._index(inputs, len(pixels))
        if self.augment is not None:
            if pixels.dtype != torch.uint8:
                raise RecipeError(f"Three Augment works on uint8 images, and the data set gives {pixels.dtype}")
            pixels = self.normalize_unit(self.augment(pixels, self._epoch, index))
        if self.mixing is not None:
            pixels, labels = self.mixing(self.normalize(pixels), labels, self._epoch, index)
        return super()._prepare_inputs(inputs | {"pixel_values": pixels, "labels": labels})

    def _index(self, inputs: Mapping[str, Any], count: int) -> torch.Tensor:
        """The samples' numbers; for a data set that does not tell them, numbers that no two steps share."""
        if "index" in inputs:
            return inputs["index"].to(self.args.device)
        first = (self.state.global_step * self.args.world_size + self.args.process_index) << 32
        return torch.arange(first, first + count, device=self.args.device)

    def normalize_unit(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels in [0, 1] (B, 3, H, W) -> the processor's mean and std; the inverse of `denormalize`."""
        mean, std = (pixels.new_tensor(values).view(1, 3, 1, 1) for values in (self.image_mean, self.image_std))
        return (pixels - mean) / std

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

    # ---- optimizer -------------------------------------------------------------------------------------------------

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """The arguments' optimizer (AdamW) over groups whose rates fall towards the input."""
        if self.optimizer is None:
            core: Any = self.core_model
            assert self.args.learning_rate is not None
            kind, options = self.get_optimizer_cls_and_kwargs(self.args, core)
            groups = layer_decay_groups(
                core,
                learning_rate=self.args.learning_rate,
                weight_decay=self.args.weight_decay,
                layer_decay=self.args.layer_decay,
                num_layers=core.config.num_hidden_layers,
            )
            self.optimizer = kind(groups, **options)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> Any:
        """Linear warm-up, then half a cosine down to `min_learning_rate` (MAE's `util/lr_sched.py`)."""
        if self.lr_scheduler is None:
            warmup = self.args.warmup_epochs * self._steps_per_epoch
            floor = self.args.min_learning_rate / self.args.learning_rate

            def factor(step: int) -> float:
                share = learning_rate_factor(step, warmup, num_training_steps)
                return share if step < warmup else floor + (1 - floor) * share

            self.lr_scheduler = LambdaLR(self.optimizer if optimizer is None else optimizer, factor)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    # ---- evaluation ------------------------------------------------------------------------------------------------

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Top-1 and top-5 accuracy and cross-entropy on the validation set at the model's own size, of the averaged
        weights where there are any."""
        averaged = self.average.applied() if self.average is not None else nullcontext()
        with self.stopwatch.pause(), averaged:
            scores = self.score(self.get_eval_dataloader(eval_dataset))
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in scores.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    @torch.no_grad()
    def score(self, loader: Any) -> dict[str, float]:
        """`accuracy`, `top5_accuracy` (from six classes on) and `loss` of a loader's labelled samples, each counted
        once, the same on every rank."""
        model, args = self.core_model, self.args
        was_training = model.training
        model.eval()
        metrics = ClassificationMetrics(self.num_classes)
        rows, indices = [], []
        try:
            for step, batch in enumerate(loader):
                inputs = self._prepare_inputs(batch)
                with self.accelerator.autocast():
                    logits = self.logits(model, inputs)
                rows.append(metrics.rows(logits, inputs["labels"]))
                # A sampler deals whole batches to the ranks in turn: the place in line is the sample's number.
                first = (step * args.world_size + args.process_index) * args.eval_batch_size
                index = batch.get("index", torch.arange(first, first + len(logits)))
                indices.append(index.to(args.device))
        finally:
            model.train(was_training)
        order, gathered = self.gather_samples(torch.cat(indices), torch.cat(rows))
        metrics.add_rows(gathered[order < len(loader.dataset)])
        return metrics.compute()
