"""Who fills a batch: the kernel's own threads (`native`) or FFCV's compiled pipeline (`ffcv`). The same bytes."""

import importlib.util
import logging
from collections.abc import Generator, Iterable
from typing import NamedTuple, Protocol

import numpy as np
import torch

from dailymae_hf.data.beton import Beton
from dailymae_hf.data.crop import Failures
from dailymae_hf.errors import MissingDependencyError, RecipeError

logger = logging.getLogger(__name__)

ENGINES = ("auto", "ffcv", "native")


class Decoded(NamedTuple):
    """A batch's images, uint8 (B, 3, side, side), and what could not be decoded: those are black."""

    images: torch.Tensor
    failures: Failures | None


class Engine(Protocol):
    """Decodes the samples of one file with one kind of crop, in a thread of its caller's."""

    num_workers: int
    crop: np.ndarray  # parameters from `dailymae_hf.data.crop`, read when an epoch begins

    def decode(
        self, batches: Iterable[np.ndarray], batch_size: int, *, epoch: int, resolution: int
    ) -> Generator[Decoded]:
        """The images of each batch of sample indices (uint64, at most `batch_size`), in turn.

        One iterator at a time; closing it ends what is under way.
        """
        ...


def make_engine(name: str, beton: Beton, crop: np.ndarray, num_workers: int, *, pin: bool) -> Engine:
    """The engine of that name for a file; "auto" is ffcv where it is installed, else native.

    Args:
        crop: parameters from `dailymae_hf.data.crop`.
        num_workers: threads that decode.
        pin: whether the batches' memory is pinned, for copies to a GPU.

    Raises:
        RecipeError: no engine has that name.
        MissingDependencyError: ffcv was asked for and is not installed, or the kernel is not built.
    """
    if name not in ENGINES:
        raise RecipeError(f"engine: {name!r} is none of {', '.join(ENGINES)}")
    if name == "ffcv" or (name == "auto" and _has_ffcv()):
        from dailymae_hf.data.engines.ffcv import FFCVEngine

        return FFCVEngine(beton, crop, num_workers, pin=pin)
    from dailymae_hf.data.engines.native import NativeEngine

    return NativeEngine(beton, crop, num_workers, pin=pin)


def _has_ffcv() -> bool:
    if importlib.util.find_spec("ffcv") is None:
        return False
    try:
        import dailymae_hf.data.ffcv_ext.ffcv_import  # noqa: F401
    except MissingDependencyError as error:
        logger.warning("ffcv is installed but cannot be used, so the native engine loads: %s", error)
        return False
    return True
