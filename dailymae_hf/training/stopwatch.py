"""Where a run's wall time goes: waiting for data, pauses that are not training, and the age of the process."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Sums two kinds of seconds beside the wall clock: waiting for data, and pauses that are not training."""

    def __init__(self) -> None:
        self.waited = 0.0
        self.paused = 0.0
        self._pauses_open = 0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts its block as waiting for data."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.waited += time.perf_counter() - start

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Takes its block out of the training time; pauses may nest."""
        start = time.perf_counter()
        self._pauses_open += 1
        try:
            yield
        finally:
            self._pauses_open -= 1
            if self._pauses_open == 0:
                self.paused += time.perf_counter() - start


def process_seconds() -> float:
    """Seconds since this process began, imports included."""
    import psutil  # only a run with a plan asks

    return time.time() - psutil.Process().create_time()
