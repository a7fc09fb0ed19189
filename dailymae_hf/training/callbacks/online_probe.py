"""A linear probe trained beside the model, and a kNN score: what the features are worth while they form.

As in the paper's code: BatchNorm and a linear head on the mean patch token of the unmasked image, before the final
LayerNorm, detached; Adam with learning rate 1e-3; one probe step per optimizer step. Scored on held-out images.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F
from transformers import TrainerControl, TrainerState, TrainingArguments

from dailymae_hf.data.shards import is_beton_source
from dailymae_hf.errors import RecipeError, ResumeError
from dailymae_hf.training.callbacks.base import DailyMAECallback
from dailymae_hf.training.evaluation import gather_samples
from dailymae_hf.training.knn import knn_accuracy

STATE_NAME = "online_probe.safetensors"
NEIGHBOURS = 20


class Probe(nn.Module):
    """BatchNorm without affine (the linear layer has its own) and a linear head: (B, D) -> (B, num_classes)."""

    def __init__(self, width: int, num_classes: int, seed: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width, affine=False, eps=1e-6)
        self.head = nn.Linear(width, num_classes)
        generator = torch.Generator().manual_seed(seed)
        nn.init.normal_(self.head.weight, std=0.01, generator=generator)
        nn.init.zeros_(self.head.bias)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(features))


class OnlineProbeCallback(DailyMAECallback):
    """Logs `probe_accuracy` and `knn_accuracy` (0-1) on the validation file at the end of an epoch.

    Features of a step are gathered over the ranks, so every rank holds the same probe, the one a single rank with the
    same global batch would have. It is kept in checkpoints and continues exactly. Images without a label (below 0)
    take no part. Both scores are taken at the resolution the model trains at, on centre crops.

    The cost: a step's unmasked encoder pass is four times the masked one's FLOPs at mask ratio .75, for ViT-B/16 at 224
    about 60 % of a whole training step. The paper takes a probe step per optimizer step; `every_n_steps` 8 brings the
    cost to about 7 %, with a probe that learns more slowly.

    Args:
        every_n_steps: optimizer steps per probe step.
        every_n_epochs: epochs between two scores; the last step of training is always scored.
        bank_size: at most this many training images for kNN, drawn once at random.
        bank: labelled training images for kNN, a path or a loader; the trainer's training file if not given.
    """

    def __init__(
        self,
        *,
        every_n_steps: int = 1,
        every_n_epochs: int = 1,
        bank_size: int = 20_000,
        bank: str | os.PathLike[str] | Any | None = None,
    ) -> None:
        self.every_n_steps = every_n_steps
        self.every_n_epochs = every_n_epochs
        self.bank_size = bank_size
        self.bank = bank
        self.probe: Probe | None = None
        self.num_classes = 0
        self._pending: dict[str, float | int] = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._build()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl | None:
        if state.global_step % self.every_n_steps == 0:
            self._learn()
        epoch_done = float(state.epoch).is_integer() and round(state.epoch) % self.every_n_epochs == 0
        if not epoch_done and state.global_step < state.max_steps:
            return None
        with self.trainer.stopwatch.pause():
            self._pending = self.score()
        control.should_log = True
        return control

    def log_values(self) -> dict[str, float | int]:
        values, self._pending = self._pending, {}
        return values

    # ---- learning --------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        if self.probe is not None:
            return
        if self.trainer.train_beton is None or self.trainer.eval_beton is None:
            raise RecipeError("the online probe needs train_beton and eval_beton, files with labels")
        loader = self.trainer.get_train_dataloader()
        self.num_classes = count_classes(loader)
        check_held_out(self.trainer.get_eval_dataloader(), loader, self.num_classes)
        self._all_labelled = min(loader.dataset.labels) >= 0
        width = self.trainer.core_model.config.hidden_size
        self.probe = Probe(width, self.num_classes, self.trainer.args.seed).to(self.trainer.args.device)
        self.optimizer = torch.optim.Adam(self.probe.parameters(), lr=1e-3)

    def _features(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) pixels as the loader yields them -> (B, D) float32, detached."""
        trainer = self.trainer
        pixel_values = trainer.normalize(pixel_values.to(trainer.args.device))
        with torch.no_grad(), trainer.accelerator.autocast():
            return trainer.core_model.encode(pixel_values).float().mean(dim=1)

    def _learn(self) -> None:
        assert self.probe is not None
        batches = self.trainer.step_batches
        labels = torch.cat([batch["labels"] for batch in batches]).to(self.trainer.args.device)
        features = torch.cat([self._features(batch["pixel_values"]) for batch in batches])
        features, labels = self.trainer.accelerator.gather((features, labels))
        if not self._all_labelled:  # the selection makes the host wait for the device
            known = labels >= 0
            features, labels = features[known], labels[known]
        if len(features) < 2:  # BatchNorm has no variance of one sample
            return
        self.probe.train()
        loss = F.cross_entropy(self.probe(features), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    # ---- scoring ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def score(self) -> dict[str, float | int]:
        """`probe_accuracy` and `knn_accuracy` of the model and the probe as they are now."""
        assert self.probe is not None
        trainer = self.trainer
        resolution = trainer.get_train_dataloader().resolution
        queries, labels = self._encode_all(trainer.get_eval_dataloader(), resolution)
        bank_loader = trainer.train_beton if self.bank is None else self.bank
        if is_beton_source(bank_loader):
            bank_loader = trainer.fixed_loader(bank_loader, shuffle=True)
        bank, bank_labels = self._encode_all(bank_loader, resolution, self.bank_size)
        self.probe.eval()
        hits = self.probe(queries).argmax(dim=1) == labels
        neighbours = knn_accuracy(bank, bank_labels, queries, labels, num_classes=self.num_classes, k=(NEIGHBOURS,))
        return {"probe_accuracy": hits.float().mean().item(), "knn_accuracy": neighbours[NEIGHBOURS]}

    def _encode_all(self, loader: Any, resolution: int, limit: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Features and labels of a loader's labelled samples, by sample index, the same on every rank."""
        loader.set_epoch(0)
        loader.set_resolution(resolution)
        rows: list[tuple[torch.Tensor, ...]] = []
        for batch in _first_batches(loader, limit, self.trainer.args.world_size):
            device = self.trainer.args.device
            features = self._features(batch["pixel_values"])
            rows.append((features, batch["labels"].to(device), batch["index"].to(device)))
        features, labels, index = (torch.cat(columns) for columns in zip(*rows, strict=True))
        _, joined = gather_samples(
            self.trainer.accelerator, index, torch.cat([features, labels.float().unsqueeze(1)], dim=1)
        )
        labels = joined[:, -1].long()
        known = labels >= 0
        return joined[known, :-1], labels[known]

    # ---- state -----------------------------------------------------------------------------------------------------

    def save_state(self, folder: Path) -> None:
        assert self.probe is not None
        tensors = {f"probe.{name}": value for name, value in self.probe.state_dict().items()}
        for number, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{number}.{name}": value for name, value in moments.items()}
        save_file({name: value.contiguous() for name, value in tensors.items()}, folder / STATE_NAME)

    def load_state(self, folder: Path) -> None:
        path = folder / STATE_NAME
        if not path.is_file():
            raise ResumeError(
                f"{folder} was written without the online probe, which would start untrained in the middle of the run: "
                "continue without it (online_probe: false), or start a new run"
            )
        self._build()
        assert self.probe is not None
        tensors = load_file(path)
        weights = {name[6:]: value for name, value in tensors.items() if name.startswith("probe.")}
        own = {name: value.shape for name, value in self.probe.state_dict().items()}
        if own != {name: value.shape for name, value in weights.items()}:
            raise ResumeError(f"{path} is the probe of another number of classes or another model width")
        self.probe.load_state_dict(weights)
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("adam."):
                _, number, key = name.split(".")
                moments.setdefault(int(number), {})[key] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})


def count_classes(loader: Any) -> int:
    """Number of classes of a loader's file: its class names, else one more than the largest label.

    Raises:
        RecipeError: the file has no labels.
    """
    labels = loader.dataset.labels
    if labels is None or max(labels) < 0:
        raise RecipeError("the online probe needs labels, and the training file has none: set online_probe: false")
    return max(len(loader.class_names or ()), int(max(labels)) + 1)


def check_held_out(held_out: Any, training: Any, num_classes: int) -> None:
    """Make sure that the validation labels mean what the training labels do, before hours of training.

    Raises:
        RecipeError: the validation file has no labels, or classes that the training file does not have.
    """
    labels = held_out.dataset.labels
    if labels is None or max(labels) < 0:
        raise RecipeError("the online probe needs labels, and the validation file has none: set online_probe: false")
    if max(labels) >= num_classes:
        raise RecipeError(f"eval_beton: has labels up to {max(labels)}, and train_beton {num_classes} classes")
    own, theirs = training.class_names, held_out.class_names
    if own is not None and theirs is not None and own != theirs:
        other = next((name for name in theirs if name not in own), None)
        what = "names its classes in another order" if other is None else f"has a class {other!r}"
        raise RecipeError(f"eval_beton: {what}, unlike train_beton: the probe's scores would mean nothing")


def _first_batches(loader: Iterable[Any], limit: int | None, world_size: int) -> Iterator[Any]:
    seen = 0
    for batch in loader:
        yield batch
        seen += len(batch["pixel_values"]) * world_size
        if limit is not None and seen >= limit:
            return
