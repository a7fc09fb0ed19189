"""A run that is asked to stop: it ends the step, writes one checkpoint and says with its exit status "continue me"."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

EXIT_PREEMPTED = 75  # EX_TEMPFAIL of sysexits.h: the same command again goes on
_STOP = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
# A launcher passes a signal on that its ranks may have had already: within this many seconds it is the same request.
_SAME_REQUEST = 5.0


class Preempted(SystemExit):
    """The run stopped on request, its checkpoint is whole. Where nobody catches it the process ends with status 75."""

    def __init__(self, message: str) -> None:
        super().__init__(EXIT_PREEMPTED)
        self.message = message

    def __str__(self) -> str:
        return self.message


class StopSignals:
    """Listens, within `with`, for SIGTERM, SIGUSR1 and Ctrl-C, and keeps the first as a request.

    A second one ends the process at once, as if nobody had listened; of a service's signals (not Ctrl-C) those of the
    first five seconds count as one, as launchers pass them on a second time.

    Args:
        may_finish: whether Ctrl-C waits for a checkpoint as well, asked when it comes; else it ends the process.

    Attributes:
        requested: what asked for the stop, in a word; None while nothing did.
        interrupted: it was Ctrl-C.
    """

    def __init__(self, may_finish: Callable[[], bool] = lambda: True) -> None:
        self._may_finish = may_finish
        self.requested: str | None = None
        self.interrupted = False
        self._since = 0.0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            for number in _STOP:
                # SIGINT is ignored from the start in background jobs of a shell, and stays so.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._heard)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def request(self, reason: str) -> None:
        """Ask for a stop from within; what came first stays the reason."""
        if self.requested is None:
            self.requested, self._since = reason, time.monotonic()

    def _heard(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self.requested is None and (number != signal.SIGINT or self._may_finish()):
            self.request(name)
            self.interrupted = number == signal.SIGINT
            # os.write, as a signal may come while print holds its lock
            os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"{name}: {_PROMISE}\n".encode())
            return
        if number != signal.SIGINT and time.monotonic() - self._since < _SAME_REQUEST:
            return
        self.__exit__()
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        os.kill(os.getpid(), number)


_PROMISE = "stopping after this step, with a checkpoint; a second signal ends the run at once"
