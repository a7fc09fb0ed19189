"""Frozen features of a whole file: what kNN and the fast linear probe look at instead of images."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.utils.data import Dataset
from tqdm import tqdm

from dailymae_hf.downstream.classifier import build_classifier, pooled_features
from dailymae_hf.errors import RecipeError
from dailymae_hf.model.modeling import DailyMAEForPreTraining
from dailymae_hf.training.beton_trainer import BetonTrainer

Encode = Callable[[torch.Tensor], torch.Tensor]


@dataclass
class FeatureTable(Dataset):
    """Features of labelled images in the order of the file: `features` (N, D) float32, `labels` (N,) int64, on the CPU.

    A torch data set whose batches are cut out whole, without a Python loop over samples; collate with `as_it_is`.
    """

    features: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        return {"features": self.features[number], "labels": self.labels[number]}

    def __getitems__(self, numbers: list[int]) -> dict[str, torch.Tensor]:
        rows = torch.as_tensor(numbers)
        return {"features": self.features[rows], "labels": self.labels[rows]}


def as_it_is(batch: Any) -> Any:
    """The collate function for data sets that give whole batches."""
    return batch


def frozen_encode(encoder: DailyMAEForPreTraining, pooling: Literal["mean", "cls"]) -> Encode:
    """The function from normalised images to features: (B, 3, S, S) -> (B, hidden_size).

    "mean" is the mean patch token before the final LayerNorm, what the online probe reads; "cls" is the class token
    after it.
    """
    if pooling == "mean":
        return lambda pixel_values: encoder.encode(pixel_values).mean(dim=1)
    classifier = build_classifier(encoder, ["no", "yes"], pooling="cls").to(encoder.device).eval()
    return lambda pixel_values: pooled_features(classifier, pixel_values)


def collect_features(trainer: BetonTrainer, loader: Any, encode: Encode, *, name: str) -> FeatureTable:
    """Encode a loader's labelled images, each once; the same table on every rank.

    Args:
        trainer: for its device, precision, normalisation and ranks.
        loader: a loader of fixed crops with "index" and "labels" (`trainer.fixed_loader`).
        encode: normalised images -> (B, D).
        name: what the progress bar says.

    Raises:
        RecipeError: the file has no labels.
    """

    def row(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        if "labels" not in batch:
            raise RecipeError(f"{name}: the file has no labels")
        # One gather for both: class numbers are exact in float32.
        return torch.cat([encode(batch["pixel_values"]).float(), batch["labels"].float().unsqueeze(1)], dim=1)

    hidden = trainer.args.disable_tqdm or not trainer.is_world_process_zero()
    _, rows = trainer.rows_by_sample(tqdm(loader, desc=name, unit=" batches", disable=hidden), row)
    rows = rows[rows[:, -1] >= 0].cpu()
    return FeatureTable(rows[:, :-1].contiguous(), rows[:, -1].long())
