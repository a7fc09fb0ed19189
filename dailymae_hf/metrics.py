"""Accuracy and loss as `evaluate.Metric` subclasses that need no network: made directly, not with `evaluate.load`.

They take what is left of the logits after ranking, a few numbers a sample: whole rows of ImageNet logits cost
`evaluate` a quarter of a millisecond each, more than the model's forward pass.
"""

from typing import Any

import datasets
import evaluate
import torch
from torch.nn.functional import cross_entropy

from .errors import RecipeError

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
    """Share of samples whose class is among the first k of the ranked classes, in [0, 1]."""

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

    description = "Share of samples whose class is the most likely one."


class Top5Accuracy(TopKAccuracy):
    """Top-5 accuracy, under the key `top5_accuracy`."""

    description = "Share of samples whose class is among the five most likely ones."
    k = 5
    key = "top5_accuracy"


class MeanLoss(_LocalMetric):
    """Mean of the samples' losses, under the key `loss`."""

    description = "Mean loss of the samples."
    inputs = "predictions: the loss of each sample, in nats for a cross-entropy"
    columns = {"predictions": datasets.Value("float32")}  # noqa: RUF012

    def _compute(self, predictions: list[float]) -> dict[str, float]:
        return {"loss": sum(predictions) / len(predictions)}


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
        self._batches: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def add_batch(self, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Add (B, num_classes) logits and (B,) int64 class numbers. A row that is not finite is never right.

        Raises:
            RecipeError: the shapes are others.
        """
        if logits.shape != (len(labels), self.num_classes) or labels.ndim != 1:
            shapes = f"{tuple(logits.shape)} and labels {tuple(labels.shape)}"
            raise RecipeError(f"logits {shapes} are not (B, {self.num_classes}) and (B,)")
        logits = logits.detach().float()
        ranked = logits.topk(max(metric.k for metric in self.accuracies), dim=1).indices
        ranked = ranked.masked_fill(~logits.isfinite().all(dim=1, keepdim=True), -1)
        self._batches.append((ranked, labels, cross_entropy(logits, labels, reduction="none")))

    def compute(self) -> dict[str, float]:
        """Every score of what was added, and a fresh start.

        Raises:
            RecipeError: nothing was added.
        """
        if not self._batches:
            raise RecipeError("there is nothing to score: the evaluation data is empty")
        ranked, labels, losses = (torch.cat(column).cpu() for column in zip(*self._batches, strict=True))
        self._batches.clear()
        scores = self.loss.compute(predictions=losses)
        for metric in self.accuracies:
            scores |= metric.compute(predictions=ranked, references=labels)
        return scores
