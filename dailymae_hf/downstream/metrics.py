"""Accuracy and loss as `evaluate.Metric` subclasses that need no network: made directly, not with `evaluate.load`.

They take what is left of the logits after ranking, a few numbers a sample: whole rows of ImageNet logits cost
`evaluate` a quarter of a millisecond each, more than the model's forward pass.
"""

from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from dailymae_hf.errors import RecipeError, extra

with extra("downstream", "scores"):
    import datasets
    import evaluate

_CITATION = "@misc{dailymae, title = {DailyMAE}, note = {arXiv:2404.00509}}"


class _LocalMetric(evaluate.Metric):
    description = ""
    inputs = ""
    columns: dict[str, Any]

    def __init__(self, **kwargs: Any) -> None:
        # In memory: scores are not worth a file in the user's cache, and no lock can be left behind.
        super().__init__(**{"keep_in_memory": True, **kwargs})

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=self.description,
            citation=_CITATION,
            inputs_description=self.inputs,
            features=datasets.Features(self.columns),
        )


class TopKAccuracy(_LocalMetric):
    """Fraction of samples whose class is among the first k of the ranked classes, in [0, 1]."""

    inputs = "predictions: class numbers, most likely first, at least k a sample; references: class numbers"
    columns = {"predictions": datasets.Sequence(datasets.Value("int64")), "references": datasets.Value("int64")}  # noqa: RUF012
    k = 1
    key = "accuracy"

    def _compute(self, predictions: list[list[int]], references: list[int]) -> dict[str, float]:
        fewest = min(map(len, predictions))
        if fewest < self.k:
            raise RecipeError(f"top-{self.k} needs {self.k} ranked classes a sample, there are {fewest}")
        right = sum(own in ranked[: self.k] for ranked, own in zip(predictions, references, strict=True))
        return {self.key: right / len(references)}


class Top1Accuracy(TopKAccuracy):
    """Top-1 accuracy, under the key `accuracy`."""

    description = "Fraction of samples whose class is the most likely one."


class Top5Accuracy(TopKAccuracy):
    """Top-5 accuracy, under the key `top5_accuracy`."""

    description = "Fraction of samples whose class is among the five most likely ones."
    k = 5
    key = "top5_accuracy"


class MeanLoss(_LocalMetric):
    """Mean of the samples' losses, under the key `loss`."""

    description = "Mean loss of the samples."
    inputs = "predictions: the loss of each sample, in nats for a cross-entropy"
    columns = {"predictions": datasets.Value("float32")}  # noqa: RUF012

    def _compute(self, predictions: list[float]) -> dict[str, float]:
        return {"loss": sum(predictions) / len(predictions)}


class MeanIoU(_LocalMetric):
    """Mean intersection over union, under `mean_iou`, and the fraction of right pixels, under `pixel_accuracy`.

    The mean is over the classes that occur in the masks or among the predictions, of all pixels together: a class that
    is predicted and occurs nowhere counts as 0.
    """

    description = "Mean intersection over union of a segmentation."
    inputs = "predictions: rows of the confusion matrix, a row per class of the masks, pixels predicted as each class"
    columns = {"predictions": datasets.Sequence(datasets.Value("int64"))}  # noqa: RUF012

    def _compute(self, predictions: list[list[int]]) -> dict[str, float]:
        confusion = np.asarray(predictions, dtype=np.float64)
        right, masks, predicted = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
        if not masks.sum():
            raise RecipeError("there is nothing to score: no pixel of the masks has a class")
        union = masks + predicted - right
        iou = right[union > 0] / union[union > 0]
        return {"mean_iou": float(iou.mean()), "pixel_accuracy": float(right.sum() / masks.sum())}


class ClassificationMetrics:
    """Top-1, top-5 (where there are more than five classes) and cross-entropy of logits, a batch at a time.

    Batches are ranked on their device and read when `compute` is called: adding one does not wait for the device.

    >>> metrics = ClassificationMetrics(num_classes=3)
    >>> metrics.add_batch(torch.tensor([[0.0, 2.0, 1.0]]), torch.tensor([1]))
    >>> sorted(metrics.compute())
    ['accuracy', 'loss']
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.accuracies: list[TopKAccuracy] = [Top1Accuracy()]
        if num_classes > Top5Accuracy.k:
            self.accuracies.append(Top5Accuracy())
        self.loss = MeanLoss()
        self._rows: list[torch.Tensor] = []

    def rows(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """What the scores need of a batch: (B, num_classes) logits and (B,) int64 labels -> (B, columns) float64.

        Columns: label, cross-entropy, ranked classes. A row that is not finite has no ranked classes and is never
        right. Rows can be gathered over ranks before they are added; a negative label means that there is none.

        Raises:
            RecipeError: the shapes are others.
        """
        if logits.shape != (len(labels), self.num_classes) or labels.ndim != 1:
            shapes = f"{tuple(logits.shape)} and labels {tuple(labels.shape)}"
            raise RecipeError(f"logits {shapes} are not (B, {self.num_classes}) and (B,)")
        logits = logits.detach().float()
        ranked = logits.topk(max(metric.k for metric in self.accuracies), dim=1).indices
        ranked = ranked.masked_fill(~logits.isfinite().all(dim=1, keepdim=True), -1)
        known = (labels >= 0) & (labels < self.num_classes)
        losses = cross_entropy(logits, labels.where(known, 0), reduction="none")
        return torch.cat([labels.unsqueeze(1), losses.unsqueeze(1), ranked], dim=1).double()

    def add_rows(self, rows: torch.Tensor) -> None:
        """Add what `rows` returned; those without a label are left out."""
        self._rows.append(rows)

    def add_batch(self, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """`add_rows(rows(logits, labels))`."""
        self.add_rows(self.rows(logits, labels))

    def compute(self) -> dict[str, float]:
        """Every score of what was added, and a fresh start.

        Raises:
            RecipeError: no labelled sample was added, or a label is not one of the classes.
        """
        rows = torch.cat(self._rows).cpu() if self._rows else torch.zeros(0, 2)
        self._rows.clear()
        rows = rows[rows[:, 0] >= 0]
        if not len(rows):
            raise RecipeError("there is nothing to score: the evaluation data holds no labelled image")
        labels, losses, ranked = rows[:, 0].long(), rows[:, 1], rows[:, 2:].long()
        if labels.max() >= self.num_classes:
            raise RecipeError(
                f"the evaluation data holds class {labels.max()}, the model has {self.num_classes} classes"
            )
        scores = self.loss.compute(predictions=losses)
        for metric in self.accuracies:
            scores |= metric.compute(predictions=ranked, references=labels)
        return scores
