"""One epoch in flight: a thread that prepares batches, a queue, and an iterator that hears everything.

Whatever ends the thread (the last batch, an exception, `close`) the consumer learns of it; whatever ends the consumer
(the last batch, leaving the loop, losing the iterator, the interpreter's exit) ends the thread.
"""

import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from dailymae_hf.errors import DailyMAEError

Batch = dict[str, Any]
_AHEAD = 2  # finished batches that wait for the consumer
_POLL = 0.5  # seconds between looks at whether the thread lives


class EpochIterator(Iterator[Batch]):
    """Iterates over what `batches` yields in a thread of its own.

    Args:
        batches: called in the thread; its iterator yields the batches, and an exception of it is raised in `__next__`.
        count: batches that it yields.
        receive: called by the consumer on each batch.
        name: of the file, for messages and the thread's name.
    """

    def __init__(
        self,
        batches: Callable[[], Iterator[Any]],
        count: int,
        receive: Callable[[Any], Batch],
        name: str,
    ) -> None:
        self.left = count
        self.receive = receive
        self.name = name
        self.wait_seconds = 0.0
        self._queue: queue.Queue[Any] = queue.Queue(_AHEAD)
        self._stop = threading.Event()
        self._closed = False
        # The thread must not refer to `self`: losing the iterator is what ends it.
        self._thread = threading.Thread(
            target=_produce, args=(batches, self._queue, self._stop), name=f"epoch of {name}", daemon=True
        )
        self._finish = weakref.finalize(self, _end, self._thread, self._queue, self._stop)
        self._thread.start()

    def __next__(self) -> Batch:
        if self._closed:
            raise DailyMAEError(f"{self.name}: this epoch has ended (an error, or another epoch of the same loader)")
        if self.left == 0:
            self._finish()
            raise StopIteration
        started = time.perf_counter()
        item = self._get()
        self.wait_seconds += time.perf_counter() - started
        if isinstance(item, BaseException):
            self.close()
            raise item
        self.left -= 1
        return self.receive(item)

    def _get(self) -> Any:
        while True:
            try:
                return self._queue.get(timeout=_POLL)
            except queue.Empty:
                if not self._thread.is_alive() and self._queue.empty():
                    self.close()
                    raise DailyMAEError(f"{self.name}: the loading thread died without an error") from None

    def close(self) -> None:
        """End the thread and wait for it: at most as long as one batch takes."""
        self._closed = self.left > 0
        self._finish()


def _produce(batches: Callable[[], Iterator[Any]], output: queue.Queue[Any], stop: threading.Event) -> None:
    def put(item: Any) -> bool:
        while not stop.is_set():
            try:
                output.put(item, timeout=_POLL)
                return True
            except queue.Full:
                continue
        return False

    try:
        for batch in batches():
            if not put(batch):
                return
            del batch  # the queue's now: its buffer is free once the consumer lets go of it
    except BaseException as error:
        put(error)


def _end(thread: threading.Thread, output: queue.Queue[Any], stop: threading.Event) -> None:
    stop.set()
    while thread.is_alive():
        try:
            output.get_nowait()  # wakes a thread that waits for room
        except queue.Empty:
            thread.join(0.01)
    thread.join()
    while not output.empty():
        output.get_nowait()
