"""Memory of finished batches, used again once nobody refers to it."""

import sys

import numpy as np
import torch

_probe = [np.empty(0, np.uint8)]
_FREE = sys.getrefcount(_probe[0])  # of an array that only its list refers to: interpreters count differently


class BatchBuffers:
    """Buffers of finished batches, pinned where there is CUDA, each used again once nobody refers to its memory.

    A tensor made from a numpy array holds a reference to it for as long as any view of its storage lives, so the
    array's reference count says whether a consumer still has the batch. A consumer may thus keep batches as long as it
    likes; the pool grows by what it keeps.
    """

    def __init__(self, *, pin: bool) -> None:
        self.pin = pin
        self.slots: list[np.ndarray] = []

    def take(self, shape: tuple[int, ...]) -> np.ndarray:
        """A free uint8 array of `shape`; arrays of other shapes are forgotten."""
        if self.slots and self.slots[0].shape != shape:
            self.slots.clear()
        for i in range(len(self.slots)):
            if sys.getrefcount(self.slots[i]) == _FREE:
                return self.slots[i]
        self.slots.append(torch.empty(shape, dtype=torch.uint8, pin_memory=self.pin).numpy())
        return self.slots[-1]
