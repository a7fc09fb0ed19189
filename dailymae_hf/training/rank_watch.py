"""Signs of life between the ranks: a rank that is stopped, or whose machine or launcher is gone, ends the run.

A rank that dies breaks its connections, which ends the others within seconds. One that is stopped (SIGSTOP, a machine
that swaps or is unplugged) breaks nothing: the others would wait for the time-out of a collective operation, half an
hour. So each rank moves on a counter in the store that the ranks met in, and looks at the others' counters.
"""

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch.distributed import distributed_c10d

from dailymae_hf.errors import RankError
from dailymae_hf.training.ranks import CAUSE_KEY, cloned_store, one_line, tell_launcher

INTERVAL = 5.0
GRACE = 60.0
_LEFT = "left"
_LAUNCHERS = (b"torch.distributed.run", b"torch.distributed.launch", b"torchrun", b"accelerate")


def limit_collectives(seconds: float) -> None:
    """Let collective operations give up after `seconds`, on CPU ranks as well, where the stock argument
    `ddp_timeout` is not read and gloo's half an hour holds."""
    if dist.is_available() and dist.is_initialized():
        distributed_c10d._set_pg_timeout(timedelta(seconds=seconds))


class RankWatch:
    """Watches the other ranks and this one's launcher from a thread, between `start` and `stop`.

    Args:
        silence: seconds without a sign of life after which a rank counts as gone; this process then ends with status 1,
            the cause last on its standard error and first in the launcher's summary.
        launcher_gone: called once, with the reason, when the process that started this rank has ended; the run may end
            itself in good order, and is ended after `GRACE` seconds.
    """

    def __init__(self, *, silence: float, launcher_gone: Callable[[str], None]) -> None:
        self._silence, self._launcher_gone = silence, launcher_gone
        self._interval = min(INTERVAL, silence / 6)
        self._done = threading.Event()
        self._thread: threading.Thread | None = None
        self._store: Any = None
        self._launcher = launcher_pid()
        self._rank, self._ranks = 0, 1
        self._beats = 0

    def start(self) -> None:
        """Called on every rank; waits until all have come."""
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            self._rank, self._ranks = dist.get_rank(), dist.get_world_size()
            # A connection of its own: another thread that waits in the store would hold up the beats.
            self._store = cloned_store(max(1.0, self._interval))
            if self._store is not None:
                with contextlib.suppress(RuntimeError):
                    self._beat()
                    if self._rank == 0:  # of an earlier run of these processes
                        self._store.set(CAUSE_KEY, "")
            dist.barrier()
        if self._store is None and self._launcher is None:
            return
        self._done.clear()
        self._thread = threading.Thread(target=self._work, name="rank watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Leave: the other ranks do not expect this one any more."""
        if self._thread is None:
            return
        self._done.set()
        self._thread.join(timeout=2 * self._interval)
        self._thread = None
        if self._store is not None:
            with contextlib.suppress(RuntimeError):  # the launcher may be gone, and the store with it
                self._store.set(_key(self._rank), _LEFT)

    def _work(self) -> None:
        looked = time.monotonic()
        heard = {rank: ("", looked) for rank in range(self._ranks) if rank != self._rank}
        unanswered = ended = None
        while not self._done.wait(self._interval):
            now = time.monotonic()
            if now - looked > 3 * self._interval:  # it was this rank that stood still
                heard = {rank: (value, now) for rank, (value, _) in heard.items()}
                unanswered = None
            looked = now
            if self._launcher is not None and os.getppid() != self._launcher:
                self._wind_up(f"the end of the launcher (process {self._launcher} on {socket.gethostname()})")
                return
            if self._store is None:
                continue
            try:
                self._beat()
                self._listen(heard, now)
                unanswered = None
                cause = self._store.get(CAUSE_KEY).decode()
                ended = (ended or now) if cause else None
                if ended is not None and now - ended > GRACE:  # this rank waits for that one in a collective operation
                    end_process(cause)
            except RuntimeError:
                unanswered = unanswered or now
                if now - unanswered > max(10.0, 2 * self._interval):
                    self._wind_up("the silence of the launcher that the ranks met through")
                    return

    def _beat(self) -> None:
        self._beats += 1
        self._store.set(_key(self._rank), f"{self._beats} process {os.getpid()} on {socket.gethostname()}")

    def _listen(self, heard: dict[int, tuple[str, float]], now: float) -> None:
        expected = [rank for rank, (value, _) in heard.items() if value != _LEFT]
        for rank, value in zip(expected, self._store.multi_get([_key(rank) for rank in expected]), strict=True):
            text = value.decode()
            before, since = heard[rank]
            if text != before:
                heard[rank] = (text, now)
            elif now - since > self._silence:
                where = text.partition(" ")[2]
                end_process(
                    f"rank {rank} ({where}) has shown no sign of life for {self._silence:.0f} s: it was stopped, or "
                    "its machine is gone",
                    stopped=self._sibling(where),
                )

    def _sibling(self, where: str) -> int | None:
        """The process number in a beat's text, where it is a child of this rank's launcher on this machine."""
        _, number, _, host = where.split()
        if host != socket.gethostname():
            return None
        with contextlib.suppress(OSError, IndexError, ValueError):
            parent = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1]
            return int(number) if int(parent) == self._launcher else None
        return None

    def _wind_up(self, reason: str) -> None:
        self._launcher_gone(reason)
        if not self._done.wait(GRACE):
            end_process(f"after {reason} this run could not end itself within {GRACE:.0f} s")


def end_process(message: str, *, stopped: int | None = None) -> None:
    """End this process with status 1 from any thread, its error where the launcher looks for the cause.

    `stopped` is a rank beside it that does not hear the launcher, which would give it half a minute before killing it.
    """
    error = RankError(message)
    with contextlib.suppress(OSError, ValueError):
        tell_launcher(error)
        sys.stderr.write(one_line(error) + "\n")
        sys.stderr.flush()
    if stopped is not None:
        time.sleep(1.1)  # of the causes the earliest is shown first, to the second
        with contextlib.suppress(OSError):
            os.kill(stopped, signal.SIGKILL)
    os._exit(1)


def launcher_pid() -> int | None:
    """The parent process, where it is torchrun or `accelerate launch`; a shell may end and leave its jobs running."""
    parent = os.getppid()
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return parent
    try:
        command = Path(f"/proc/{parent}/cmdline").read_bytes()
    except OSError:
        return None
    return parent if any(name in command for name in _LAUNCHERS) else None


def _key(rank: int) -> str:
    return f"dailymae/beat/{rank}"
