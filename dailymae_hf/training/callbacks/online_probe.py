"""A linear probe trained beside the model, and a kNN score: what the features are worth while they form.

As in the paper's code: BatchNorm and a linear head on the mean patch token of the unmasked image, before the final
LayerNorm, detached; Adam with learning rate 1e-3; one probe step per optimizer step. Scored on held-out images.
"""

import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch.nn import functional as F
from transformers import TrainerControl, TrainerState, TrainingArguments

from dailymae_hf.errors import RecipeError, ResumeError
from dailymae_hf.model.weight_files import save_tensors
from dailymae_hf.training.callbacks.base import DailyMAECallback
from dailymae_hf.training.hf_compat import logging
from dailymae_hf.training.knn import knn_accuracy
from dailymae_hf.training.probe_head import ProbeHead
from dailymae_hf.training.spectrum import alpha_req, rankme

logger = logging.get_logger(__name__)

STATE_NAME = "online_probe.safetensors"
NEIGHBOURS = 20


class OnlineProbeCallback(DailyMAECallback):
    """Logs `probe_accuracy` and `knn_accuracy` (0-1) on the validation file at the end of an epoch, and without labels
    `rankme` and `alpha_req` of the training features (`training.spectrum`).

    Features of a step are gathered over the ranks, so every rank holds the same probe, the one a single rank with the
    same global batch would have. It is kept in checkpoints and continues exactly. Images without a label (below 0)
    take no part. Both scores are taken at the resolution the model trains at, on centre crops.

    The cost: a step's unmasked encoder pass is four times the masked one's FLOPs at mask ratio .75, for ViT-B/16 at 224
    about 60 % of a whole training step. The paper takes a probe step per optimizer step; `every_n_steps` 8 brings the
    cost to about 7 %, with a probe that learns more slowly.

    Where there are no labels or no validation file, it says so in one line and does nothing.

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
        self.probe: ProbeHead | None = None
        self.num_classes = 0
        self.held_out: Any = None
        self.bank_loader: Any = None
        self.missing: str | None = None  # what there would have to be for a probe
        self._pending: dict[str, float | int] = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._build()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl | None:
        if self.probe is None:
            return None
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

    def facts(self) -> dict[str, Any]:
        return {"classes": None if self.probe is None else self.num_classes}

    # ---- learning --------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        trainer = self.trainer
        if self.probe is not None or self.missing is not None:
            return
        training: Any = None if trainer.train_beton is None else trainer.get_train_dataloader()
        self.held_out = None if trainer.eval_beton is None else trainer.fixed_loader(trainer.eval_beton)
        self.missing = what_is_missing(training, self.held_out)
        if self.missing is not None:
            if trainer.is_world_process_zero():
                logger.warning("online_probe: no probe and no kNN score are taken: %s", self.missing)
            return
        bank = trainer.train_beton if self.bank is None else self.bank
        self.bank_loader = trainer.fixed_loader(bank, shuffle=True)
        self.num_classes = count_classes(training)
        check_held_out(self.held_out, training, self.num_classes)
        self._all_labelled = min(training.dataset.labels) >= 0
        width = trainer.core_model.config.hidden_size
        self.probe = ProbeHead(width, self.num_classes, seed=trainer.args.seed).to(trainer.args.device)
        self.optimizer = torch.optim.Adam(self.probe.parameters(), lr=1e-3)

    def _features(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) pixels, normalised -> (B, D) float32, detached."""
        with torch.no_grad(), self.trainer.accelerator.autocast():
            return self.trainer.core_model.encode(pixel_values).float().mean(dim=1)

    def _learn(self) -> None:
        assert self.probe is not None
        trainer, batches = self.trainer, self.trainer.step_batches
        device = trainer.args.device
        labels = torch.cat([batch["labels"] for batch in batches]).to(device)
        pixels = (trainer.normalize(batch["pixel_values"].to(device)) for batch in batches)
        features = torch.cat([self._features(pixel_values) for pixel_values in pixels])
        features, labels = trainer.accelerator.gather((features, labels))
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
        """The scores of the model and the probe as they are now."""
        assert self.probe is not None
        queries, labels = self._encode_all(self.held_out)
        bank, bank_labels = self._encode_all(self.bank_loader, self.bank_size)
        self.probe.eval()
        hits = self.probe(queries).argmax(dim=1) == labels
        neighbours = knn_accuracy(bank, bank_labels, queries, labels, num_classes=self.num_classes, k=(NEIGHBOURS,))
        return {
            "probe_accuracy": hits.float().mean().item(),
            "knn_accuracy": neighbours[NEIGHBOURS],
            "rankme": rankme(bank),
            "alpha_req": alpha_req(bank),
        }

    def _encode_all(self, loader: Any, limit: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Features and labels of a loader's labelled samples, by sample index, the same on every rank."""
        loader.set_epoch(0)
        loader.set_resolution(self.trainer.get_train_dataloader().resolution)

        def row(batch: dict[str, torch.Tensor]) -> torch.Tensor:
            # One gather for both: class numbers are exact in float32.
            return torch.cat([self._features(batch["pixel_values"]), batch["labels"].float().unsqueeze(1)], dim=1)

        _, rows = self.trainer.rows_by_sample(loader, row, limit=limit)
        labels = rows[:, -1].long()
        known = labels >= 0
        return rows[known, :-1], labels[known]

    # ---- state -----------------------------------------------------------------------------------------------------

    def save_state(self, folder: Path) -> None:
        if self.probe is None:
            return
        tensors = {f"probe.{name}": value for name, value in self.probe.state_dict().items()}
        for number, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{number}.{name}": value for name, value in moments.items()}
        save_tensors(tensors, folder / STATE_NAME)

    def load_state(self, folder: Path) -> None:
        self._build()
        if self.probe is None:
            return
        path = folder / STATE_NAME
        if not path.is_file():
            raise ResumeError(
                f"{folder} was written without the online probe, which would start untrained in the middle of the run: "
                "continue without it (online_probe: false), or start a new run"
            )
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


def what_is_missing(training: Any, held_out: Any) -> str | None:
    """What the probe lacks, and what would bring it; None where both loaders are there and have labels."""
    if training is None:
        return "they need a training file (train_beton), and this run trains on a data set"
    if held_out is None:
        return "there is no validation file; eval_beton names one, and `dailymae write --split-off 0.02` makes one"
    for name, loader in (("training", training), ("validation", held_out)):
        if not _has_labels(loader):
            return f"the {name} file has no labels; `dailymae write` keeps those of class folders and label columns"
    return None


def _has_labels(loader: Any) -> bool:
    labels = loader.dataset.labels
    return labels is not None and max(labels) >= 0


def count_classes(loader: Any) -> int:
    """Number of classes of a loader's file: its class names, else one more than the largest label."""
    return max(len(loader.class_names or ()), int(max(loader.dataset.labels)) + 1)


def check_held_out(held_out: Any, training: Any, num_classes: int) -> None:
    """Make sure that the validation labels mean what the training labels do, before hours of training.

    Raises:
        RecipeError: the validation file has classes that the training file does not have.
    """
    labels = held_out.dataset.labels
    if max(labels) >= num_classes:
        raise RecipeError(f"eval_beton: has labels up to {max(labels)}, and train_beton {num_classes} classes")
    own, theirs = training.class_names, held_out.class_names
    if own is not None and theirs is not None and own != theirs:
        other = next((name for name in theirs if name not in own), None)
        what = "names its classes in another order" if other is None else f"has a class {other!r}"
        raise RecipeError(f"eval_beton: {what}, unlike train_beton: the probe's scores would mean nothing")
