"""A file that appears when it is whole: it grows under a temporary name beside its own.

The writer holds a lock on the temporary file, which the system lets go when the writer ends, however it ends. So the
next writer can tell a file in the making from one that a killed writer has left, and removes the latter.
"""

import fcntl
import glob
import logging
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

logger = logging.getLogger(__name__)


class PartialFile:
    """`NAME.PID-RANDOM.partial` beside `path`, open for writing and reading. Raises OSError where it cannot be made."""

    def __init__(self, path: Path) -> None:
        self.path = path
        remove_left_behind(path)
        while True:
            self.temporary = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
            self.stream: BinaryIO = self.temporary.open("xb+")
            fcntl.flock(self.stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self.temporary.exists():  # between its making and its lock it looks like one left behind
                return
            self.stream.close()

    def commit(self) -> None:
        """Give the file its name, once all of it is on the disk."""
        self.stream.flush()
        os.fsync(self.stream.fileno())
        os.replace(self.temporary, self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            with suppress(OSError):  # some network file systems know no fsync of a folder
                os.fsync(folder)
        finally:
            os.close(folder)

    def discard(self) -> None:
        """Close it, and remove it unless it was committed."""
        # Closing writes what is still buffered, which a full disk refuses again: it is thrown away in any case.
        with suppress(OSError):
            self.stream.close()
        self.temporary.unlink(missing_ok=True)


def remove_left_behind(path: Path) -> None:
    """Remove the temporary files of writers of `path` that have ended; those of running ones stay."""
    for place in path.parent.glob(f"{glob.escape(path.name)}.*.partial"):
        with suppress(FileNotFoundError), place.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            place.unlink()
            logger.warning("%s: removed, a writer that was killed had left it (%s MB)", place, f"{size / 1e6:,.1f}")
