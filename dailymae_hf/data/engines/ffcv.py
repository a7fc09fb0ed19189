"""FFCV's engine around one decoder: its memory map, its compiled pipeline, its batch buffers, one batch at a time.

FFCV's own `Loader` is not used as a whole for three reasons: it builds Python sets of every sample when it opens a
file (minutes for a million), it sets torch's thread count, and its buffers are overwritten under a consumer that keeps
more than one batch. Its pieces are: `Graph` and `Compiler` make the pipeline, `OSCacheManager` reads the file.
"""

import contextlib
import threading
import weakref
from collections.abc import Generator, Iterable, Iterator
from functools import cache
from typing import Any, ClassVar

from dailymae_hf.data.ffcv_ext import ffcv_import  # noqa: F401  before anything of ffcv's

# isort: split
import numba
import numpy as np
import torch
from ffcv.fields import RGBImageField
from ffcv.memory_managers.os_cache import OSCacheManager
from ffcv.pipeline.compiler import Compiler
from ffcv.pipeline.graph import Graph
from ffcv.pipeline.pipeline_spec import PipelineSpec
from ffcv.transforms import ToTensor

from dailymae_hf._native import load
from dailymae_hf.data.beton import Beton
from dailymae_hf.data.crop import clear_failures, failures_of, whole_image
from dailymae_hf.data.engines import Decoded
from dailymae_hf.data.engines.buffers import BatchBuffers
from dailymae_hf.data.ffcv_ext.operations import CropDecode

_compiling = threading.Lock()  # Compiler's thread count is one variable of the whole process
_one_at_a_time = threading.Lock()  # for the threading layer that cannot run two parallel loops at once


@cache
def _reader() -> Any:
    """FFCV's compiled reader of memory-mapped files: a function of an address and (bytes, table's places, sizes)."""
    return OSCacheManager.compile_reader(OSCacheManager.__new__(OSCacheManager))  # it needs none of a reader's file


class _Pipeline:
    """FFCV's compiled pipeline around crop parameters in memory, to which its code holds the address.

    Compiling takes most of a second and numba never gives its memory back. So a pipeline outlives its engine: the next
    engine of the same kind (`key`) writes its own crop into the same parameters.
    """

    _free: ClassVar[dict[tuple, list["_Pipeline"]]] = {}

    def __init__(self, beton: Beton, *, parallel: bool) -> None:
        self.crop = whole_image()
        name = beton.image_field.name
        decoder = CropDecode(1, self.crop)
        with _compiling, _compiler_threads(2 if parallel else 1):
            graph = Graph(
                {name: PipelineSpec(name, decoder=decoder, transforms=[ToTensor()])},
                {name: RGBImageField()},  # our decoders read RGBImageField's records in every storage mode
                {name: beton.fields.index(beton.image_field)},
                beton.metadata,
                _reader(),
            )
            self.stages, (self.output,) = graph.codegen_all(graph.collect_requirements()[1])
        self.nodes = [node.id for node in graph.nodes]
        self.decoder = next(iter(graph.root_nodes)).id

    @classmethod
    def take(cls, beton: Beton, *, parallel: bool) -> tuple["_Pipeline", tuple]:
        """A pipeline that nobody uses, and its key for `give_back`."""
        key = str(beton.metadata.dtype), beton.image_field.column, parallel
        free = cls._free.get(key)
        return (free.pop() if free else cls(beton, parallel=parallel)), key

    def give_back(self, key: tuple) -> None:
        """Nobody may be running it."""
        self._free.setdefault(key, []).append(self)

    def run(self, rows: np.ndarray, metadata: np.ndarray, storage: Any, out: np.ndarray) -> torch.Tensor:
        """Decode the samples `rows` into `out`."""
        values = {"batch_indices": rows, "metadata": metadata, "storage_state": storage}
        for node in self.nodes:
            values[f"memory_{node}"] = out if node == self.decoder else None
            values[f"shared_memory_{node}"] = None
        for stage, defined in self.stages:
            for node, result in zip(defined, stage(**values), strict=True):
                values[f"result_{node}"] = result
        return values[f"result_{self.output}"]


class FFCVEngine:
    """Decodes the images of `beton` on `num_workers` threads of numba's.

    `num_workers` is limited to the threads that numba may use (NUMBA_NUM_THREADS, by default the cores).
    """

    def __init__(self, beton: Beton, crop: np.ndarray, num_workers: int, *, pin: bool) -> None:
        self.num_workers = min(num_workers, numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]  # set late
        self.buffers = BatchBuffers(pin=pin)
        self.metadata = beton.metadata
        self.crop = crop
        self._storage = beton.map(), beton.table_ptrs, beton.table_sizes
        self._pipeline, key = _Pipeline.take(beton, parallel=self.num_workers > 1)
        weakref.finalize(self, self._pipeline.give_back, key).atexit = False

    def decode(
        self, batches: Iterable[np.ndarray], batch_size: int, *, epoch: int, resolution: int
    ) -> Generator[Decoded]:
        """See `Engine.decode`."""
        numba.set_num_threads(self.num_workers)  # it belongs to the thread that sets it
        # The only layer of numba's three that aborts the process when two threads run parallel code at once.
        alone = self.num_workers > 1 and numba.threading_layer() == "workqueue"
        load().dmae_guard_install()
        crop = self._pipeline.crop
        crop[:] = self.crop
        crop["epoch"] = epoch
        for rows in batches:
            out = self.buffers.take((batch_size, 3, resolution, resolution))[: len(rows)]
            clear_failures(crop)
            with _one_at_a_time if alone else contextlib.nullcontext():
                images = self._pipeline.run(rows, self.metadata, self._storage, out)
            del out  # the tensor's now: its buffer is free once the consumer lets go of it
            yield Decoded(images, failures_of(crop))
            del images


@contextlib.contextmanager
def _compiler_threads(count: int) -> Iterator[None]:
    """FFCV compiles loops as parallel when its Compiler's count is over 1; `Compiler.set_num_threads` would change
    torch's count as well."""
    before = Compiler.num_threads
    Compiler.num_threads = count
    try:
        yield
    finally:
        Compiler.num_threads = before
