"""One run per output folder: a lock file that says who holds it, and that a dead run's is not in the way of the next.

`flock` is not used: network file systems ignore it or forget it. The file is made by linking, which one of two wins on
those as well, and its modification time is moved on every `BEAT` seconds. On the holder's own machine its process is
asked for; from elsewhere a lock that has not moved for `STALE` seconds is a dead run's.
"""

import contextlib
import json
import os
import socket
import sys
import threading
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from dailymae_hf.errors import RunLockError

LOCK_NAME = "run.lock"
BEAT = 15.0
STALE = 90.0


@dataclass(frozen=True)
class Holder:
    """Who holds a lock. `machine` tells processes apart that have equal numbers: this boot, these process numbers."""

    token: str
    host: str
    machine: str
    pid: int
    born: str
    since: str
    command: str

    @classmethod
    def this_process(cls) -> "Holder":
        return cls(
            token=uuid4().hex,
            host=socket.gethostname(),
            machine=_machine(),
            pid=os.getpid(),
            born=_born(os.getpid()) or "",
            since=datetime.now().astimezone().isoformat(timespec="seconds"),
            command=" ".join(sys.argv[:2]),
        )

    @property
    def is_alive_here(self) -> bool | None:
        """Whether its process runs; None where it is another machine's, of which nothing is known here."""
        if not self.machine or self.machine != _machine():
            return None
        return _born(self.pid) == self.born


class RunLock:
    """Holds `folder` for this process from `acquire` to `release`.

    Attributes:
        token: names this run's holding of the folder; its unfinished files carry it.
    """

    def __init__(self, folder: str | os.PathLike[str], *, beat: float = BEAT, stale: float = STALE) -> None:
        self.folder = Path(folder)
        self.path = self.folder / LOCK_NAME
        self._beat, self._stale = beat, stale
        self._holder = Holder.this_process()
        self.token = self._holder.token
        self._done = threading.Event()
        self._thread: threading.Thread | None = None
        self._taken_by: Holder | None = None

    def acquire(self) -> None:
        """Take the folder, which is made where it is missing, from nobody or from a run that has died.

        Waits up to `STALE` seconds for a sign of life where the lock was left by another machine.

        Raises:
            RunLockError: another run holds it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        while not self._create():
            self._remove_if_dead()
        self._thread = threading.Thread(target=self._keep, name="run lock", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Make sure that the folder is still this run's, before something is written.

        Raises:
            RunLockError: another run took it, as this one had stopped for longer than `STALE` seconds.
        """
        if self._taken_by is not None or (self._thread is not None and not self._is_ours()):
            raise RunLockError(f"{self.folder} was taken by {_described(self._taken_by)} while this run stood still")

    def release(self) -> None:
        """Give the folder back; nothing happens where it is not held."""
        if self._thread is None:
            return
        self._done.set()
        self._thread.join()
        self._thread = None
        if self._is_ours():
            self.path.unlink(missing_ok=True)

    def _create(self) -> bool:
        draft = self.folder / f".{LOCK_NAME}-{self.token}"
        draft.write_text(json.dumps(asdict(self._holder)) + "\n")
        try:
            os.link(draft, self.path)
        except FileExistsError:
            return False
        except OSError:  # a file system without links
            try:
                descriptor = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
            except FileExistsError:
                return False
            with open(descriptor, "w") as file:
                file.write(draft.read_text())
        finally:
            draft.unlink(missing_ok=True)
        return True

    def _remove_if_dead(self) -> None:
        """Remove the lock of a run that has died; return as well where it is gone by itself."""
        holder = read_holder(self.path)
        alive = holder.is_alive_here if holder is not None else None
        if alive is None:
            alive = self._shows_life()
        if alive:
            raise RunLockError(
                f"{self.folder} is written to by {_described(holder)}: end that run, or choose another output_dir"
            )
        # The rename is one process's alone. What it moved may be a third run's new lock: then it is put back.
        moved = self.folder / f".{LOCK_NAME}-dead-{self.token}"
        with contextlib.suppress(FileNotFoundError):
            self.path.rename(moved)
            if read_holder(moved) != holder:
                with contextlib.suppress(OSError):
                    os.link(moved, self.path)
            moved.unlink()

    def _shows_life(self) -> bool:
        """Whether a lock is moved on within `STALE` seconds of when it last was, by the file system's own clock."""
        probe = self.folder / f".{LOCK_NAME}-now-{self.token}"
        last = _modified(self.path)
        told = False
        try:
            while last is not None:
                probe.write_text("")
                now, moved = _modified(probe), _modified(self.path)
                if moved is None:
                    return False
                if moved != last:
                    return True
                if now is None or now - moved > self._stale:
                    return False
                if not told:
                    print(
                        f"{self.path} is another machine's ({_described(read_holder(self.path))}): waiting up to "
                        f"{self._stale:.0f} s for a sign of life",
                        file=sys.stderr,
                    )
                    told = True
                time.sleep(self._beat / 5)
        finally:
            probe.unlink(missing_ok=True)
        return False

    def _keep(self) -> None:
        while not self._done.wait(self._beat):
            with contextlib.suppress(OSError):  # a file system that is away for a moment: `check` decides later
                if not self._is_ours():
                    return
                os.utime(self.path)

    def _is_ours(self) -> bool:
        holder = read_holder(self.path)
        if holder is not None and holder.token == self.token:
            return True
        self._taken_by = holder
        return False


def read_holder(path: Path) -> Holder | None:
    """Who holds a lock; None where there is none or it says nothing (a writer that died in the middle)."""
    try:
        return Holder(**json.loads(path.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _described(holder: Holder | None) -> str:
    if holder is None:
        return "an unknown run"
    return f"process {holder.pid} on {holder.host}, which has held it since {holder.since} ({holder.command})"


def _modified(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return None


def _machine() -> str:
    """This boot of this kernel and its table of processes (a container has its own); empty where neither is known."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + " " + os.readlink("/proc/self/ns/pid")
    except OSError:
        return socket.gethostname()


def _born(pid: int) -> str | None:
    """When a process began, so that its number used again is not taken for it; None where there is no such process."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            pass
        return "unknown"
    return None if state in "ZX" else fields[18]
