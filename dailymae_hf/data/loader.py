"""BetonLoader: what the Trainer sees of a .beton. Epochs, ranks, resume, resolution; one of two engines underneath."""

import logging
import os
import weakref
from collections.abc import Iterator
from contextlib import closing
from itertools import tee
from typing import Any

import numpy as np
import torch

from dailymae_hf._native import UNREADABLE, status_message
from dailymae_hf.data import crop
from dailymae_hf.data.beton import Beton, open_beton
from dailymae_hf.data.crop import Failures
from dailymae_hf.data.engines import make_engine
from dailymae_hf.data.prefetch import Batch, EpochIterator
from dailymae_hf.data.sampler import BatchPlan
from dailymae_hf.data.shards import BetonSource, open_betons
from dailymae_hf.data.workers import available_cores
from dailymae_hf.errors import BetonError, CorruptSampleError, RecipeError
from dailymae_hf.rng import epoch_order

logger = logging.getLogger(__name__)

PADDING_INDEX = -1
PADDING_LABEL = -100  # what torch's losses ignore by default
_REPLACE = "A file in use must not change: write another one and rename it"


class BetonLoader:
    """Batches of cropped images from a .beton, the same for any number of threads, exact to resume.

    Iterating gives one epoch of this rank's batches:

    - "pixel_values": uint8 (B, 3, resolution, resolution), contiguous;
    - "labels": int64 (B,), where the file has labels;
    - "index": int64 (B,), the samples' numbers in the file, with `return_index`.

    Order, crop and flip are functions of (seed, epoch, sample index) alone. Each sample comes once per epoch; global
    batch k is the k-th run of batch_size * world_size samples of the epoch's order, and rank r takes the r-th part.

    With `drop_last=False` the last batch is smaller, and where its samples cannot be dealt out equally every rank still
    gets the same number of rows: rows that only fill up have index -1 and label -100 and repeat other samples.

    A batch belongs to the consumer for as long as it keeps it; memory is used again when nothing refers to it. Starting
    an epoch ends the one before. Leaving a loop early ends its thread.

    Args:
        path: a .beton written by `write_beton` or by stock ffcv; the first image field and, where there is one, an
            integer field are read. Several files are read as one: a pattern (`train-*.beton`) or a list. A file that is
            open already (`open_betons`) is not opened again.
        batch_size: rows per batch of this rank.
        resolution: side of the output in pixels.
        num_workers: threads that decode; None takes the cores divided by the ranks on this machine. The ffcv engine
            starts no more than the cores (NUMBA_NUM_THREADS).
        seed: of order, crops and flips.
        rank, world_size: this process among all that read the file together.
        scale, ratio: of the random resized crop: fraction of the area, width / height.
        hflip: flip half of the images.
        shuffle: a new order each epoch; False keeps the file's.
        drop_last: leave out the last incomplete global batch.
        on_error: "raise" ends the run with a CorruptSampleError; "zero" gives a black image and counts it in `errors`;
            with `drop_last=False`, as scores are taken, it has the label and index of padding besides.
        return_index: add "index".
        center_crop: None for random resized crops; a ratio such as 224/256 for evaluation: the shorter side is resized
            to resolution / ratio and the middle is cut.
        device: a CUDA device to copy batches to, asynchronously from pinned memory; None leaves them on the CPU.
        engine: who decodes: "native" (the kernel's own threads), "ffcv" (FFCV's compiled pipeline, where it is
            installed), or "auto": ffcv where it is installed, else native. Both give the same bytes.

    Raises:
        BetonError: the file is damaged, or holds fewer samples than one batch needs; in an epoch: it was cut.
        RecipeError: an argument that cannot be used.
        MissingDependencyError: the kernel is not built, or the ffcv that was asked for is not installed.
    """

    def __init__(
        self,
        path: BetonSource | Beton,
        batch_size: int,
        *,
        resolution: int,
        num_workers: int | None = None,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        scale: tuple[float, float] = (0.2, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        hflip: bool = True,
        shuffle: bool = True,
        drop_last: bool = True,
        on_error: str = "raise",
        return_index: bool = False,
        center_crop: float | None = None,
        device: torch.device | str | None = None,
        engine: str = "auto",
    ) -> None:
        if batch_size < 1 or resolution < 1:
            raise RecipeError(f"batch_size ({batch_size}) and resolution ({resolution}) must be at least 1")
        if not 0 <= rank < world_size:
            raise RecipeError(f"rank: {rank} is not one of {world_size} ranks")
        if on_error not in ("raise", "zero"):
            raise RecipeError(f"on_error: {on_error!r} is neither 'raise' nor 'zero'")
        if num_workers is not None and num_workers < 1:
            raise RecipeError(f"num_workers: {num_workers} threads cannot decode")
        if center_crop is None:
            window = crop.random_resized_crop(scale, ratio, hflip, seed)
        else:
            window = crop.center_crop(center_crop)
        self.dataset = open_betons(path)
        self.path = self.dataset.path
        self.plan = BatchPlan(len(self.dataset), batch_size, rank, world_size, drop_last)
        if len(self.plan) == 0:
            raise BetonError(
                f"{self.path}: holds {len(self.dataset)} samples, fewer than one batch of {world_size} x {batch_size}"
            )
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.on_error = on_error
        self.return_index = return_index
        self.device = None if device is None else torch.device(device)
        pin = self.device is not None and self.device.type == "cuda"
        self._engine = make_engine(engine, self.dataset, window, num_workers or _default_workers(), pin=pin)
        self._stream = torch.cuda.Stream(self.device) if pin else None
        self._copying: list[tuple[torch.cuda.Event, torch.Tensor]] = []
        self._resolution = resolution
        self._epoch = 0
        self._skip = 0
        self._wait_before = 0.0
        self._current: weakref.ref[EpochIterator] | None = None
        self.errors = 0

    # ---- what an epoch will be

    def __len__(self) -> int:
        """Batches per epoch of this rank: the same on every rank and in every epoch, whatever is skipped."""
        return len(self.plan)

    def set_epoch(self, epoch: int) -> None:
        """Take the order, crops and flips of `epoch` from the next `iter()` on. A pending `skip` stays."""
        self._epoch = epoch

    def set_resolution(self, resolution: int) -> None:
        """Give images of another side from the next `iter()` on. Nothing is compiled: it costs new batch buffers."""
        if resolution < 1:
            raise RecipeError(f"resolution: {resolution} must be at least 1")
        self._resolution = resolution

    def skip(self, batches: int) -> None:
        """Begin the next epoch iterated (and only that one) after this many batches of this rank."""
        if not 0 <= batches <= len(self):
            raise RecipeError(f"skip: {batches} batches of an epoch of {len(self)}")
        self._skip = batches

    # ---- facts

    @property
    def resolution(self) -> int:
        """Side of the images that the next epoch gives, in pixels."""
        return self._resolution

    @property
    def num_workers(self) -> int:
        """Threads that decode."""
        return self._engine.num_workers

    @property
    def class_names(self) -> list[str] | None:
        """Names of the labels 0, 1, ..., where the file's writer noted them."""
        return self.dataset.class_names

    @property
    def wait_seconds(self) -> float:
        """Time that consumers have spent waiting for a batch, since the loader was made."""
        current = self._current and self._current()
        return self._wait_before + (current.wait_seconds if current else 0.0)

    # ---- an epoch

    def __iter__(self) -> Iterator[Batch]:
        self.close()
        first, self._skip = self._skip, 0
        epoch, resolution = self._epoch, self._resolution
        iterator = EpochIterator(
            lambda: self._batches(epoch, resolution, first), len(self) - first, self._receive, str(self.path)
        )
        self._current = weakref.ref(iterator)
        return iterator

    def close(self) -> None:
        """End the epoch in flight and its thread, if there is one."""
        current = self._current and self._current()
        if current:
            current.close()
            self._wait_before += current.wait_seconds
        self._current = None

    def _batches(self, epoch: int, resolution: int, first: int) -> Iterator[Any]:
        """The epoch thread's work."""
        count = len(self.dataset)
        order = epoch_order(count, self.seed, epoch) if self.shuffle else np.arange(count, dtype=np.uint64)
        batches, ahead = tee(self.plan.rows(order, batch) for batch in range(first, len(self)))
        decoded = self._engine.decode((rows for rows, _ in ahead), self.batch_size, epoch=epoch, resolution=resolution)
        with closing(decoded):
            for rows, real in batches:
                yield self._finish(rows, real, *next(decoded))

    def _finish(self, rows: np.ndarray, real: int, pixel_values: torch.Tensor, failures: Failures | None) -> Any:
        padding = np.arange(len(rows)) >= real
        if failures is not None:
            self._hear(failures)
            if not self.plan.drop_last:  # a score must not count the black stand-ins: like padding, they are no one
                padding |= (pixel_values.flatten(1).amax(dim=1) == 0).numpy()
        batch = {"pixel_values": pixel_values}
        labels = self.dataset.labels
        if labels is not None:
            batch["labels"] = torch.from_numpy(np.where(padding, PADDING_LABEL, labels[rows]))
        if self.return_index:
            batch["index"] = torch.from_numpy(np.where(padding, PADDING_INDEX, rows.astype(np.int64)))
        return batch if self.device is None else self._copy(batch)

    def _hear(self, failures: Failures) -> None:
        """Raise or warn for the samples of a batch that could not be decoded."""
        path, number = self.dataset.locate(failures.index)
        message = f"{path}: sample {number} cannot be decoded: {status_message(failures.status)}"
        if failures.status == UNREADABLE:
            raise BetonError(f"{message}. {_REPLACE}")
        if self.on_error == "raise":
            try:
                open_beton(path)
            except (BetonError, OSError) as error:
                raise BetonError(f"{path}: it was changed while it was read ({error}). {_REPLACE}") from error
            raise CorruptSampleError(f"{message} (`dailymae verify` lists all such samples)")
        logger.warning("%s; %d such samples in this batch are black", message, failures.count)
        self.errors += failures.count

    def _copy(self, batch: Batch) -> Any:
        """Start the copy to the device; a pinned buffer is kept until its copy has ended."""
        if self._stream is None:
            return {name: value.to(self.device) for name, value in batch.items()}
        self._copying = [(event, value) for event, value in self._copying if not event.query()]
        with torch.cuda.stream(self._stream):
            moved = {name: value.to(self.device, non_blocking=True) for name, value in batch.items()}
            event = torch.cuda.Event()
            event.record()
        self._copying.append((event, batch["pixel_values"]))
        return moved, event

    def _receive(self, item: Any) -> Batch:
        """The consumer's side of `_copy`: its stream waits for the copy, and owns the tensors from then on."""
        if self._stream is None:
            return item
        moved, event = item
        stream = torch.cuda.current_stream(self.device)
        stream.wait_event(event)
        for value in moved.values():
            value.record_stream(stream)
        return moved


def _default_workers() -> int:
    """The cores, shared among the ranks that torchrun or accelerate started on this machine."""
    return max(1, available_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
