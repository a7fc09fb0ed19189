"""Images per second, fraction of time spent waiting for data, tokens per second, model FLOPs and utilisation.

Time is wall time between two logs, less evaluation, checkpoints, probe scores and pictures. At each log the loss is
read back, so the device has finished what was counted.
"""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerControl, TrainerState, TrainingArguments

from dailymae_hf.training.callbacks.base import DailyMAECallback

STATE_NAME = "throughput.json"

# Dense 16-bit matrix throughput with 32-bit accumulation in FLOP/s, from the makers' data sheets (no sparsity).
# The longest name that occurs in the device's name counts.
PEAK_FLOPS = {
    "V100": 125e12,
    "T4": 65e12,
    "A10": 125e12,
    "A30": 165e12,
    "A40": 149.7e12,
    "A100": 312e12,
    "A800": 312e12,
    "L4": 121e12,
    "L40": 181e12,
    "L40S": 362e12,
    "RTX 3090": 71e12,
    "RTX 3090 Ti": 80e12,
    "RTX 4090": 165e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "H800": 989e12,
    "H200": 989e12,
    "GH200": 989e12,
    "B200": 2250e12,
    "MI250X": 383e12,
    "MI300X": 1307e12,
}


def peak_flops(device_name: str) -> float | None:
    """Dense bf16 peak of a device in FLOP/s, or None where the table does not know it."""
    words = device_name.replace("-", " ").split()
    text = f" {' '.join(words)} "
    if "Laptop" in words:  # sold under the names of faster GPUs
        return None
    known = [name for name in PEAK_FLOPS if f" {name} " in text]
    return PEAK_FLOPS[max(known, key=len)] if known else None


@dataclass
class Totals:
    """Sums over all ranks since the start of training, across resumes."""

    seconds: float = 0.0
    waited_seconds: float = 0.0
    images: int = 0
    tokens: int = 0
    flops: float = 0.0

    def rates(self) -> dict[str, float]:
        """images/s, tokens/s, FLOP/s and the fraction of time spent waiting."""
        seconds = max(self.seconds, 1e-9)
        return {
            "images_per_second": self.images / seconds,
            "data_wait": self.waited_seconds / seconds,
            "tokens_per_second": self.tokens / seconds,
            "model_flops_per_second": self.flops / seconds,
        }


class ThroughputCallback(DailyMAECallback):
    """Logs `images_per_second`, `data_wait` (0-1), `tokens_per_second`, `model_flops_per_second` and `mfu`.

    Counts are over all ranks; times are this rank's. A token is a visible patch or the class token: what the encoder
    works on. Model FLOPs are MAE's forward and backward pass (three times the forward count), without the online
    probe's extra forward pass, whose time does count. `damaged_samples` joins them where this rank's loader had to give
    black images (`on_error: zero`): how many so far. `mfu` is given where a 16-bit run's device is in `PEAK_FLOPS`.
    """

    def __init__(self) -> None:
        self.totals = Totals()
        self._window = Totals()
        self._marks = (0.0, 0.0, 0.0)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._open_window()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        for batch in self.trainer.step_batches:
            count, _, size, _ = batch["pixel_values"].shape
            tokens, flops = self.trainer.image_cost(size)
            images = count * args.world_size
            self._window.images += images
            self._window.tokens += images * tokens
            self._window.flops += images * flops

    def log_values(self) -> dict[str, float | int]:
        self._close_window()
        values: dict[str, float | int] = dict(self._window.rates())
        utilisation = self.mfu(self._window)
        if utilisation is not None:
            values["mfu"] = utilisation
        if self.trainer.train_beton is not None and (
            damaged := getattr(self.trainer.get_train_dataloader(), "errors", 0)
        ):
            values["damaged_samples"] = damaged
        self._open_window()
        return values

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._window.images:
            self._close_window()
            self._window = Totals()

    def facts(self) -> dict[str, Any]:
        if not self.totals.images:
            return {}
        return {"totals": asdict(self.totals), "rates": self.totals.rates(), "mfu": self.mfu(self.totals)}

    def mfu(self, totals: Totals) -> float | None:
        """Model FLOPs over the devices' peak, 0-1; None where no 16-bit peak is known."""
        peak = self._peak()
        return None if peak is None else totals.rates()["model_flops_per_second"] / peak

    def _peak(self) -> float | None:
        args = self.trainer.args
        if args.device.type != "cuda" or not (args.bf16 or args.fp16):
            return None
        one = peak_flops(torch.cuda.get_device_name(args.device))
        return None if one is None else one * args.world_size

    def _open_window(self) -> None:
        watch = self.trainer.stopwatch
        self._window = Totals()
        self._marks = (time.perf_counter(), watch.waited, watch.paused)

    def _close_window(self) -> None:
        watch = self.trainer.stopwatch
        start, waited, paused = self._marks
        self._window.seconds = time.perf_counter() - start - (watch.paused - paused)
        self._window.waited_seconds = watch.waited - waited
        for name, value in asdict(self._window).items():
            setattr(self.totals, name, getattr(self.totals, name) + value)

    def save_state(self, folder: Path) -> None:
        (folder / STATE_NAME).write_text(json.dumps(asdict(self.totals)) + "\n")

    def load_state(self, folder: Path) -> None:
        path = folder / STATE_NAME
        # Only the final summary reads these sums: a run that begins to measure on resume loses nothing else.
        if path.is_file():
            self.totals = Totals(**json.loads(path.read_text()))
