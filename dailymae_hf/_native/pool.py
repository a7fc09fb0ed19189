"""The kernel's thread pool, opened with ctypes (see pool/pool.h). Needs numpy only."""

import ctypes
import weakref
from functools import cache
from typing import Any

import numpy as np

from dailymae_hf._native import PARAMS_DTYPE, declare, load
from dailymae_hf.errors import DailyMAEError

_POINTER, _U32, _U64, _I32 = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_int32


class _Table(ctypes.Structure):  # struct dmae_table of pool.h
    _fields_ = [("file", _POINTER), ("records", _POINTER), ("record_bytes", _U64), ("sizes", _POINTER)]


class _Batch(ctypes.Structure):  # struct dmae_batch of pool.h
    _fields_ = [
        ("params", ctypes.c_uint8 * PARAMS_DTYPE.itemsize),
        ("table", _Table),
        ("rows", _POINTER),
        ("dst", _POINTER),
        ("count", _U32),
        ("out_height", _U32),
        ("out_width", _U32),
        ("given", _U32),
        ("done", _U32),
        ("after", _POINTER),
    ]


@cache
def _library() -> ctypes.CDLL:
    library = load()
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "dmae_pool_open": (_POINTER, [_I32]),
        "dmae_pool_close": (None, [_POINTER]),
        "dmae_pool_submit": (None, [_POINTER, _POINTER]),
        "dmae_pool_wait": (None, [_POINTER, _POINTER]),
        "dmae_pool_cancel": (None, [_POINTER, _POINTER]),
        "dmae_expect_no_order": (None, [_POINTER, _U64]),
        "dmae_read_ahead": (None, [_POINTER, _POINTER, _U32]),
    }
    declare(library, signatures)
    return library


class SampleTable:
    """Where a file's samples are in memory.

    Args:
        file: the mapped bytes, uint8.
        records: the image field's column of the metadata (mode, width, height, place), of any stride.
        sizes: uint64, bytes of each sample.
    """

    def __init__(self, file: np.ndarray, records: np.ndarray, sizes: np.ndarray) -> None:
        self.owners = file, records, sizes
        self.table = _Table(file.ctypes.data, records.ctypes.data, records.strides[0], sizes.ctypes.data)

    def expect_no_order(self) -> None:
        """Have the system read the pages that are looked at, or asked for with `read_ahead`, and none beside them."""
        file = self.owners[0]
        _library().dmae_expect_no_order(file.ctypes.data, file.size)

    def read_ahead(self, rows: np.ndarray) -> None:
        """Ask the system for the pages of samples (uint64 indices) that are wanted soon."""
        _library().dmae_read_ahead(ctypes.byref(self.table), rows.ctypes.data, len(rows))


class PoolBatch:
    """A batch in the hands of a pool, and all that it points at.

    Args:
        params: a PARAMS_DTYPE array of one element; it is copied.
        table: of the file.
        rows: uint64 (count,), the samples.
        out: uint8 (count, 3, height, width), contiguous.
    """

    def __init__(self, params: np.ndarray, table: SampleTable, rows: np.ndarray, out: np.ndarray) -> None:
        self.out = out
        self.owners = table, rows
        self.batch = _Batch(
            table=table.table,
            rows=rows.ctypes.data,
            dst=out.ctypes.data,
            count=len(rows),
            out_height=out.shape[2],
            out_width=out.shape[3],
        )
        buffer: Any = self.batch  # a ctypes structure is one
        self.params = np.frombuffer(buffer, PARAMS_DTYPE, 1)
        self.params[:] = params


class Pool:
    """Threads that decode batches in the order in which they are submitted; none of them runs Python.

    They end when `close` is called or the pool is lost. Waiting and closing let other Python threads run.

    Raises DailyMAEError where the threads cannot be started.
    """

    def __init__(self, threads: int) -> None:
        self._handle = _library().dmae_pool_open(threads)
        if not self._handle:
            raise DailyMAEError(f"num_workers: the system does not start {threads} threads")
        self.close = weakref.finalize(self, _library().dmae_pool_close, self._handle)

    def submit(self, batch: PoolBatch) -> None:
        _library().dmae_pool_submit(self._handle, ctypes.byref(batch.batch))

    def wait(self, batch: PoolBatch) -> None:
        _library().dmae_pool_wait(self._handle, ctypes.byref(batch.batch))

    def cancel(self, batch: PoolBatch) -> None:
        """Leave out what no thread has begun, and wait for the rest."""
        _library().dmae_pool_cancel(self._handle, ctypes.byref(batch.batch))
