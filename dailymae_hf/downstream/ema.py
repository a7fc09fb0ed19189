"""An exponential moving average of the weights, which is what is scored and, in the end, what the model becomes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import TrainerControl, TrainerState, TrainingArguments

from dailymae_hf.errors import ResumeError
from dailymae_hf.model.weight_files import save_tensors
from dailymae_hf.training.callbacks import DailyMAECallback

STATE_NAME = "ema.safetensors"


class EMACallback(DailyMAECallback):
    """Averages the trainable weights after each optimizer step: average = d * average + (1 - d) * weights.

    d is min(decay, (1 + t) / (10 + t)) at step t, so that the random start of the head is soon forgotten. When training
    ends the average replaces the weights; checkpoints hold both and continue exactly.

    Args:
        decay: of the average; 0.9999 reaches back some 10,000 steps.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.average: dict[str, torch.Tensor] = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not self.average:
            self.average = {name: weight.clone() for name, weight in self._weights().items()}

    @torch.no_grad()
    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        decay = min(self.decay, (1 + state.global_step) / (10 + state.global_step))
        weights = self._weights()
        torch._foreach_lerp_(list(self.average.values()), [weights[name] for name in self.average], 1 - decay)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._exchange()
        self.average.clear()

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model holds the average inside the block; nothing changes before and after training."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        weights = self._weights()
        for name, average in self.average.items():
            kept = weights[name].clone()
            weights[name].copy_(average)
            average.copy_(kept)

    def _weights(self) -> dict[str, torch.Tensor]:
        named = self.trainer.core_model.named_parameters()
        return {name: parameter.detach() for name, parameter in named if parameter.requires_grad}

    def save_state(self, folder: Path) -> None:
        save_tensors(self.average, folder / STATE_NAME)

    def load_state(self, folder: Path) -> None:
        path = folder / STATE_NAME
        if not path.is_file():
            raise ResumeError(f"{folder} was written without ema_decay: continue without it, or start a new run")
        stored, weights = load_file(path), self._weights()
        if stored.keys() != weights.keys():
            raise ResumeError(f"{path} averages other weights than this model's")
        self.average = {name: average.to(weights[name].device) for name, average in stored.items()}

    def load_best(self, folder: Path) -> None:
        """The best score was of the average that this checkpoint holds, which the model becomes in the end."""
        self.load_state(folder)
