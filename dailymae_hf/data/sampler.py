"""Which samples make up which batch: pure functions of (seed, epoch, batch, rank).

All ranks compute the same order of the whole epoch; global batch k is `order[k*B*W : (k+1)*B*W]` for W ranks of batch
size B, and rank r takes its r-th part. One rank with batch B*W therefore sees the same global batches as W ranks with
batch B, and resuming at batch k needs no replay.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class BatchPlan:
    """How an epoch of `num_samples` is cut for one of `world_size` ranks. `batch_size` is per rank."""

    num_samples: int
    batch_size: int
    rank: int
    world_size: int
    drop_last: bool

    def __len__(self) -> int:
        """Batches per epoch, equal on all ranks."""
        whole, rest = divmod(self.num_samples, self.batch_size * self.world_size)
        return whole + (rest > 0 and not self.drop_last)

    def rows(self, order: np.ndarray, batch: int) -> tuple[np.ndarray, int]:
        """The samples of this rank in one batch, and how many of them are real.

        Only the last batch of an epoch without `drop_last` can be short. Its samples are dealt out so that every rank
        has the same number of rows; rows beyond the second value repeat samples of the epoch's beginning.
        """
        per_global = self.batch_size * self.world_size
        part = order[batch * per_global : (batch + 1) * per_global]
        rows = -(-len(part) // self.world_size)
        filled = np.concatenate([part, np.resize(order, rows * self.world_size - len(part))])
        real = min(max(len(part) - self.rank * rows, 0), rows)
        return filled[self.rank * rows : (self.rank + 1) * rows], real
