"""One run per output folder: a lock file that says who holds it, and that a dead run's is not in the way of the next.

`flock` is not used: network file systems ignore it or forget it. The file is made by linking, which one of two wins on
those as well, and its modification time is moved on every `BEAT` seconds. On the holder's own machine its process is
asked for; from elsewhere a lock that has not moved for `STALE` seconds is a dead run's.

A dead run's lock is never removed, which would make room for two. It is replaced by its one successor: who makes, by
linking as well, the file `.run.lock-after-` and the token of the lock that it replaces. Tokens are never used again, so
a starter that read the old lock long ago finds after making that file that the lock is another one by now, and gives
up. A successor that dies before it has replaced the lock has successors itself. Who gives a lock back becomes its own
successor first, so that nobody can be replacing it at that moment.
"""

import contextlib
import json
import os
import socket
import sys
import threading
import time
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
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
        while not (self._create(self.path, self._holder) or self._succeed()):
            pass
        self._remove_leftovers()
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
        successor = self._after(self.token)
        if self._create(successor, replace(self._holder, token=uuid4().hex)):
            if self._is_ours():
                self.path.unlink()
            successor.unlink(missing_ok=True)

    def _after(self, token: str) -> Path:
        return self.folder / f".{LOCK_NAME}-after-{token}"

    def _create(self, path: Path, holder: Holder) -> bool:
        """Make a file that names `holder`, whole and at once; False where there is one already."""
        draft = self._draft(holder)
        try:
            os.link(draft, path)
        except FileExistsError:
            # A network file system may have done it, lost the answer, and asked a second time.
            return read_holder(path) == holder
        except OSError:  # a file system without links
            try:
                descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
            except FileExistsError:
                return False
            with open(descriptor, "w") as file:
                file.write(_text(holder))
        finally:
            draft.unlink(missing_ok=True)
        return True

    def _draft(self, holder: Holder) -> Path:
        draft = self.folder / f".{LOCK_NAME}-{self.token}"
        draft.write_text(_text(holder))
        return draft

    def _succeed(self) -> bool:
        """Replace the lock of a run that has died; False where another did, or the lock is gone by itself.

        Raises:
            RunLockError: who holds it, or is about to, is alive.
        """
        chain = self._chain()
        if not chain:
            return False
        last = chain[-1]
        alive = last.holder.is_alive_here if last.holder is not None else None
        if alive is None:
            alive = self._shows_life(last)
        if alive:
            holder = read_holder(last.path) or last.holder
            raise RunLockError(
                f"{self.folder} is written to by {_described(holder)}: end that run, or choose another output_dir"
            )
        own = self._after(last.token)
        if not self._create(own, self._holder):
            return False
        if [one.token for one in self._chain()] != [*(one.token for one in chain), self.token]:
            own.unlink(missing_ok=True)
            return False
        self._draft(self._holder).replace(self.path)
        for one in chain[1:]:
            one.path.unlink(missing_ok=True)
        own.unlink(missing_ok=True)
        return True

    def _chain(self) -> list["_Link"]:
        """The lock, its successor, the successor's and so on: the last one is whose turn it is."""
        chain: list[_Link] = []
        path = self.path
        while (found := _Link.read(path)) is not None:
            chain.append(found)
            path = self._after(found.token)
        return chain

    def _remove_leftovers(self) -> None:
        """Remove what starters left that were killed in the middle; one that lives needs its files for moments."""
        now = _modified(self.path)
        for path in self.folder.glob(f".{LOCK_NAME}-*"):
            since = _modified(path)
            if now is not None and since is not None and now - since > STALE:
                path.unlink(missing_ok=True)

    def _shows_life(self, lock: "_Link") -> bool:
        """Whether a lock is moved on, or replaced, since it was read or within `STALE` seconds of its last move, by the
        file system's own clock."""
        probe = self.folder / f".{LOCK_NAME}-now-{self.token}"
        path, last = lock.path, lock.modified
        told = False
        try:
            while True:
                probe.write_text("")
                now, moved = _modified(probe), _modified(path)
                if moved is None:
                    return False
                if moved != last:
                    return True
                if now is None or now - moved > self._stale:
                    return False
                if not told:
                    print(
                        f"{path} is another machine's ({_described(lock.holder)}): waiting up to "
                        f"{self._stale:.0f} s for a sign of life",
                        file=sys.stderr,
                    )
                    told = True
                time.sleep(self._beat / 5)
        finally:
            probe.unlink(missing_ok=True)

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


class _Link(NamedTuple):
    """A lock or a successor's file as it was read. `token` names it for ever, whatever is in it."""

    path: Path
    holder: Holder | None
    token: str
    modified: float

    @classmethod
    def read(cls, path: Path) -> "_Link | None":
        try:
            with open(path) as file:
                about, text = os.fstat(file.fileno()), file.read()
        except FileNotFoundError:
            return None
        holder = _parsed(text)
        token = holder.token if holder is not None else f"{about.st_ino}-{about.st_mtime_ns}"
        return cls(path, holder, token, about.st_mtime)


def read_holder(path: Path) -> Holder | None:
    """Who holds a lock; None where there is none or it says nothing (a writer that died in the middle)."""
    try:
        return _parsed(path.read_text())
    except FileNotFoundError:
        return None


def _text(holder: Holder) -> str:
    return json.dumps(asdict(holder)) + "\n"


def _parsed(text: str) -> Holder | None:
    try:
        return Holder(**json.loads(text))
    except (ValueError, TypeError):
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
