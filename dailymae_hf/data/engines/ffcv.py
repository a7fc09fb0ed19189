"""FFCV's engine around one decoder: its memory map, its compiled pipeline, its batch buffers, one batch at a time.

FFCV's own `Loader` is not used as a whole for three reasons: it builds Python sets of every sample when it opens a
file (minutes for a million), it sets torch's thread count, and its buffers are overwritten under a consumer that keeps
more than one batch. Its pieces are: `Graph` and `Compiler` make the pipeline, `OSCacheManager` reads the file.
"""

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

# isort: split
import numba
import numpy as np
import torch
from ffcv.fields import RGBImageField
from ffcv.memory_managers.os_cache import OSCacheContext, OSCacheManager
from ffcv.pipeline.compiler import Compiler
from ffcv.pipeline.graph import Graph
from ffcv.pipeline.operation import Operation
from ffcv.pipeline.pipeline_spec import PipelineSpec
from ffcv.transforms import ToTensor

from dailymae_hf.data.beton import Beton

_compiling = threading.Lock()  # Compiler's thread count is one variable of the whole process
_one_at_a_time = threading.Lock()  # for the threading layer that cannot run two parallel loops at once


class _TableCache(OSCacheManager):
    """FFCV's memory-mapped reader, made from tables that are already in memory and sorted."""

    _compiled_reader: ClassVar[Any] = None  # it depends on no file: compiled once per process

    def __init__(self, beton: Beton) -> None:
        self.beton = beton
        self.ptrs, self.sizes = beton.table_ptrs, beton.table_sizes
        self.context = OSCacheContext(self)

    def open(self) -> None:
        """Map the file, or all files of a set; stock's own way knows one file only."""
        if self.context.mmap is None:
            self.context.mmap = self.beton.map()

    def compile_reader(self) -> Any:
        if _TableCache._compiled_reader is None:
            _TableCache._compiled_reader = super().compile_reader()
        return _TableCache._compiled_reader


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
            if sys.getrefcount(self.slots[i]) == 2:  # the list's reference and the argument's
                return self.slots[i]
        self.slots.append(torch.empty(shape, dtype=torch.uint8, pin_memory=self.pin).numpy())
        return self.slots[-1]


class Engine:
    """Decodes the images of `beton` with `operation` (a decoder of `dailymae_hf.data.decode`) on `num_workers` threads.

    `num_workers` is limited to the threads that numba may use (NUMBA_NUM_THREADS, by default the cores).
    """

    def __init__(self, beton: Beton, operation: Operation, num_workers: int, *, pin: bool) -> None:
        self.num_workers = min(num_workers, numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]  # set late
        self.operation = operation
        self.buffers = BatchBuffers(pin=pin)
        self.metadata = beton.metadata
        self.cache = _TableCache(beton)
        name = beton.image_field.name
        with _compiling, _compiler_threads(self.num_workers):
            self.graph = Graph(
                {name: PipelineSpec(name, decoder=operation, transforms=[ToTensor()])},
                {name: RGBImageField()},  # our decoders read RGBImageField's records in every storage mode
                {name: beton.fields.index(beton.image_field)},
                self.metadata,
                self.cache.compile_reader(),
            )
            self.stages, self.outputs = self.graph.codegen_all(self.graph.collect_requirements()[1])
        self.decoder_id = next(iter(self.graph.root_nodes)).id
        self.needs_lock = False

    def enter_thread(self) -> None:
        """Prepare the calling thread for `decode`. numba's thread count belongs to the thread that sets it."""
        numba.set_num_threads(self.num_workers)
        # The only layer of numba's three that aborts the process when two threads run parallel code at once.
        self.needs_lock = self.num_workers > 1 and numba.threading_layer() == "workqueue"
        self.cache.open()

    def decode(self, rows: np.ndarray, batch_size: int) -> torch.Tensor:
        """Images (len(rows), 3, height, width), uint8, of the samples `rows` (uint64), in a buffer of `batch_size`."""
        buffer = self.buffers.take((batch_size, 3, *self.operation.output_size))
        values = {
            "batch_indices": rows,
            "metadata": self.metadata,
            "storage_state": self.cache.context.state,
        }
        for node in self.graph.nodes:
            values[f"memory_{node.id}"] = buffer[: len(rows)] if node.id == self.decoder_id else None
            values[f"shared_memory_{node.id}"] = None
        with _one_at_a_time if self.needs_lock else contextlib.nullcontext():
            for stage, defined in self.stages:
                for node_id, result in zip(defined, stage(**values), strict=True):
                    values[f"result_{node_id}"] = result
        (output,) = self.outputs
        return values[f"result_{output}"]


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
