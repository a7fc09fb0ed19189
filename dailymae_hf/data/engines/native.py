"""The kernel's own threads around one file: no ffcv, numba or OpenCV, and no Python inside a batch.

Two batches are in the threads' hands at once, so that none waits at a batch's end while Python takes the batch away.
"""

import os
import resource
from collections import deque
from collections.abc import Generator, Iterable, Iterator

import numpy as np
import torch

from dailymae_hf._native import load
from dailymae_hf._native.pool import Pool, PoolBatch, SampleTable
from dailymae_hf.data.beton import Beton
from dailymae_hf.data.crop import failures_of
from dailymae_hf.data.engines import Decoded
from dailymae_hf.data.engines.buffers import BatchBuffers

_IN_HAND = 2  # batches that the threads have at once
_WINDOW_BYTES = 64 << 20  # of coming samples that the system is asked for
_WINDOW_BATCHES = 64
_PATIENCE = 256  # batches without a wait for the disk, after which it is no longer asked


class NativeEngine:
    """Decodes the images of `beton` on `num_workers` threads that live as long as the engine."""

    def __init__(self, beton: Beton, crop: np.ndarray, num_workers: int, *, pin: bool) -> None:
        self.num_workers = num_workers
        self.buffers = BatchBuffers(pin=pin)
        self.crop = crop
        self._sizes = beton.sizes
        self._table = SampleTable(beton.map(), beton.images, beton.sizes)
        self._pool = Pool(num_workers)
        self._process = os.getpid()

    def decode(
        self, batches: Iterable[np.ndarray], batch_size: int, *, epoch: int, resolution: int
    ) -> Generator[Decoded]:
        """See `Engine.decode`."""
        load().dmae_guard_install()
        if self._process != os.getpid():  # forked: the threads stayed behind
            self._pool, self._process = Pool(self.num_workers), os.getpid()
        pool, table = self._pool, self._table
        crop = self.crop.copy()
        crop["epoch"] = epoch
        in_hand: deque[PoolBatch] = deque()
        try:
            for rows in _ReadAhead(table, self._sizes, batch_size).watch(batches):
                out = self.buffers.take((batch_size, 3, resolution, resolution))[: len(rows)]
                in_hand.append(PoolBatch(crop, table, rows, out))
                del out  # the batch's now: its buffer is free once the consumer lets go of it
                pool.submit(in_hand[-1])
                if len(in_hand) == _IN_HAND:
                    yield _finished(pool, in_hand)
            while in_hand:
                yield _finished(pool, in_hand)
        finally:
            for batch in in_hand:
                pool.cancel(batch)


def _finished(pool: Pool, in_hand: deque[PoolBatch]) -> Decoded:
    pool.wait(in_hand[0])
    batch = in_hand.popleft()
    return Decoded(torch.from_numpy(batch.out), failures_of(batch.params))


class _ReadAhead:
    """Asks the system for the pages of coming samples while threads have to wait for the disk, and only then.

    Asking costs a few percent where the file is in memory already. So the process's major page faults, each a wait for
    the disk, turn it on, and many batches without one turn it off. The window is bounded by bytes and batches.
    """

    def __init__(self, table: SampleTable, sizes: np.ndarray, batch_size: int) -> None:
        self.table = table
        self.window = int(min(max(_WINDOW_BYTES // (sizes.mean() * batch_size), 1), _WINDOW_BATCHES))
        self.patience = 0
        self.faults = _major_faults()

    def watch(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The batches, looked at a window ahead."""
        coming: deque[np.ndarray] = deque()
        for rows in batches:
            coming.append(rows)
            self._ask(coming)
            if len(coming) > self.window:
                yield coming.popleft()
        while coming:
            yield coming.popleft()

    def _ask(self, coming: deque[np.ndarray]) -> None:
        faults = _major_faults()
        asking = self.patience > 0
        self.patience = _PATIENCE if faults > self.faults else max(self.patience - 1, 0)
        self.faults = faults
        if self.patience:
            if not asking:
                self.table.expect_no_order()
            for rows in [coming[-1]] if asking else coming:
                self.table.read_ahead(rows)


def _major_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_majflt
