"""A pool of worker processes for one pure function, results in order, a dead worker is an error.

Each worker is a fresh interpreter on one end of a socket: nothing is forked (the caller may hold threads, CUDA, numba),
the caller's `__main__` is not imported again (so scripts need no guard), and a worker that dies closes its socket,
which the caller sees at once.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from multiprocessing.connection import Connection, wait
from typing import Any

from dailymae_hf.errors import DailyMAEError

# An image's buffers are a few hundred kilobytes each: glibc gives such memory back to the system as soon as it is free,
# and the next image pays for every page again, up to half of what its conversion takes.
_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(128 << 20)}


def available_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ordered_map(function: Callable[..., Any], tasks: Iterable[tuple[Any, ...]], workers: int) -> Iterator[Any]:
    """Yield `function(*task)` for each task, in the tasks' order.

    `function` is a module-level function; arguments and results travel by pickle between these processes only.
    `workers` < 2 calls it in this process. An exception in it is raised here; a worker that dies raises DailyMAEError
    saying how. The workers end when the generator does, also when it is closed early.
    """
    if workers < 2:
        for task in tasks:
            yield function(*task)
        return
    pool = [_Worker(function) for _ in range(workers)]
    try:
        yield from _run(pool, iter(tasks))
    finally:
        for worker in pool:
            worker.stop()


def _run(pool: list["_Worker"], tasks: Iterator[tuple[Any, ...]]) -> Iterator[Any]:
    idle = list(pool)
    busy: dict[Any, tuple[int, _Worker]] = {}
    done: dict[int, Any] = {}
    given = taken = 0
    exhausted = False
    while True:
        # A slow task may not let the others run ahead without bound: their results wait in memory.
        while idle and not exhausted and given - taken < 4 * len(pool):
            task = next(tasks, None)
            if task is None:
                exhausted = True
                break
            worker = idle.pop()
            worker.send(task)
            busy[worker.connection] = (given, worker)
            given += 1
        if not busy:
            return
        for connection in wait(list(busy)):
            number, worker = busy.pop(connection)
            done[number] = worker.receive()
            idle.append(worker)
        while taken in done:
            result, error = done.pop(taken)
            taken += 1
            if error is not None:
                raise error
            yield result


class _Worker:
    """One process and this end of its socket."""

    def __init__(self, function: Callable[..., Any]) -> None:
        here, there = socket.socketpair()
        with here, there:
            code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve({there.fileno()}, "
            code += f"{function.__module__!r}, {function.__qualname__!r})"
            self.process = subprocess.Popen(
                [sys.executable, "-c", code], pass_fds=[there.fileno()], env=_KEEP_MEMORY | os.environ
            )
            self.connection = Connection(os.dup(here.fileno()))

    def send(self, task: tuple[Any, ...]) -> None:
        try:
            self.connection.send(task)
        except OSError:
            raise self.death() from None

    def receive(self) -> tuple[Any, BaseException | None]:
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            raise self.death() from None

    def death(self) -> DailyMAEError:
        code = self.process.wait()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        hint = " (out of memory?)" if code == -signal.SIGKILL else ""
        return DailyMAEError(f"worker process {self.process.pid} {how}{hint}")

    def stop(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.wait()


def serve(descriptor: int, module: str, name: str) -> None:
    """The worker's side: answer tasks until the caller closes the socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller decides what Ctrl-C means, and closes the socket
    function = getattr(import_module(module), name)
    with Connection(descriptor) as connection:
        while True:
            try:
                task = connection.recv()
            except (EOFError, ConnectionResetError):
                return
            answer: tuple[Any, Exception | None]
            try:
                answer = (function(*task), None)
            except Exception as error:  # raised again on the caller's side
                answer = (None, error)
            connection.send(answer)
