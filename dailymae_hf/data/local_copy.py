"""Copies .beton files to a disk of this machine, once for all of its ranks, before anything is trained on them.

Shuffled reading asks a shared file system for a random place per sample and rank; a local disk does not mind. Whoever
comes first copies under a lock, everybody else waits and takes the same copy. No rank talks to another: the lock is the
kernel's (flock), so that a copier that dies lets the next one go on, and nothing waits for a network.
"""

import fcntl
import hashlib
import logging
import os
import shutil
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from dailymae_hf.errors import BetonError, RecipeError

logger = logging.getLogger(__name__)

_CHUNK = 16 << 20
_POLL_SECONDS = 0.2
_TELL_AFTER_SECONDS = 5.0


def copy_to_local(
    paths: Sequence[str | os.PathLike[str]], folder: str | os.PathLike[str], *, progress: bool = True
) -> list[Path]:
    """The paths of verified copies of `paths` in `folder`, made now where they are missing.

    Safe to call from every rank at once. A copy keeps the source's name, in a folder named by a digest of its path,
    size and time of change: another version of the file gets another copy (older ones are left; the folder is scratch
    space). It takes its name only after it was read back from the disk and compared with what was read of the source.

    Raises:
        RecipeError: the folder cannot be made or has too little room; the message says how much is needed.
        BetonError: the source changed while it was copied, or the disk gave back other bytes than it was given.
        FileNotFoundError: there is no such source.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecipeError(f"local_folder: {folder} cannot be made: {error}") from error
    sources = [Path(path).resolve(strict=True) for path in paths]
    targets = [folder / _local_place(source) for source in sources]
    with _only_one(folder / ".copying.lock", what=f"a copy to {folder}"):
        missing = [(s, t) for s, t in zip(sources, targets, strict=True) if not _is_whole(s, t)]
        _require_room(folder, missing)
        total = sum(source.stat().st_size for source, _ in missing)
        with tqdm(
            total=total, unit="B", unit_scale=True, desc=f"copy to {folder}", disable=not (progress and missing)
        ) as bar:
            for source, target in missing:
                _copy_verified(source, target, bar)
    return targets


def _local_place(source: Path) -> Path:
    state = source.stat()
    digest = hashlib.blake2b(f"{source}|{state.st_size}|{state.st_mtime_ns}".encode(), digest_size=5).hexdigest()
    return Path(digest) / source.name


def _is_whole(source: Path, target: Path) -> bool:
    return target.exists() and target.stat().st_size == source.stat().st_size


def _partial(target: Path) -> Path:
    return target.with_name(f"{target.name}.partial")


def _require_room(folder: Path, missing: Sequence[tuple[Path, Path]]) -> None:
    # what a copier that died left behind is overwritten, so its room counts as free
    left_behind = sum(_partial(t).stat().st_size for _, t in missing if _partial(t).exists())
    needed = sum(source.stat().st_size for source, _ in missing)
    free = shutil.disk_usage(folder).free + left_behind
    if needed > free:
        raise RecipeError(
            f"local_folder: {folder} has {free / 1e6:,.0f} MB free, the copy of {len(missing)} files needs "
            f"{needed / 1e6:,.0f} MB"
        )


@contextmanager
def _only_one(lock: Path, *, what: str) -> Iterator[None]:
    """Holds an flock; while another process of this machine has it, waits and says so once."""
    with lock.open("a") as stream:
        started, told = time.monotonic(), False
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told and time.monotonic() - started > _TELL_AFTER_SECONDS:
                    logger.warning("waiting for %s by another process of this machine", what)
                    told = True
                time.sleep(_POLL_SECONDS)
        yield  # closing the stream lets the lock go


def _copy_verified(source: Path, target: Path, bar: "tqdm[object]") -> None:
    partial = _partial(target)
    target.parent.mkdir(exist_ok=True)
    before = source.stat()
    checksum = 0
    with source.open("rb") as reading, partial.open("wb") as writing:
        while chunk := reading.read(_CHUNK):
            writing.write(chunk)
            checksum = zlib.crc32(chunk, checksum)
            bar.update(len(chunk))
        writing.flush()
        os.fsync(writing.fileno())
    after = source.stat()
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise BetonError(f"{source}: changed while it was being copied")
    if _checksum(partial) != checksum:
        raise BetonError(f"{target}: the disk gives back other bytes than were written; is it sound?")
    os.replace(partial, target)


def _checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb") as stream:
        if hasattr(os, "posix_fadvise"):  # forget the pages just written, so that the disk itself is asked
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while chunk := stream.read(_CHUNK):
            checksum = zlib.crc32(chunk, checksum)
    return checksum
