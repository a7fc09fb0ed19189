"""Uploads beside training: a thread of their own, the newest state first, and no failure that reaches the run."""

import logging
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

from dailymae_hf.errors import HubError

logger = logging.getLogger(__name__)

Pause = Callable[[float], None]
Upload = Callable[[Path, str, Pause], str]


class Uploads:
    """Uploads folders one after another; of those that wait only the newest is kept, and each is removed afterwards.

    Args:
        upload: takes a folder, a commit message and what to wait with between attempts, which raises where a newer
            folder has come meanwhile; returns the commit's address. An error of any kind is logged.
    """

    def __init__(self, upload: Upload) -> None:
        self._upload = upload
        self._changed = threading.Condition()
        self._next: tuple[Path, str] | None = None
        self._busy = False
        self.address: str | None = None  # of the last commit
        self.error: Exception | None = None  # of the last upload, None where it succeeded

    def submit(self, folder: Path, message: str) -> None:
        """Hand over a folder that nobody else changes; returns at once."""
        with self._changed:
            replaced, self._next = self._next, (folder, message)
            started, self._busy = self._busy, True
            self._changed.notify_all()
        if replaced is not None:
            shutil.rmtree(replaced[0], ignore_errors=True)
        if not started:
            # A daemon: a run that dies of something else must not hang for its upload.
            threading.Thread(target=self._work, name="upload to the Hub", daemon=True).start()

    def wait(self) -> None:
        """Return when nothing is left to upload, done or given up."""
        with self._changed:
            self._changed.wait_for(lambda: not self._busy)

    def _work(self) -> None:
        while True:
            with self._changed:
                if self._next is None:
                    self._busy = False
                    self._changed.notify_all()
                    return
                (folder, message), self._next = self._next, None
            try:
                with _no_progress_bars():  # they would be drawn into the training's own
                    self.address = self._upload(folder, message, self._pause)
                self.error = None
            except Exception as error:
                self.error = error
                logger.warning("not uploaded: %s", error)
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def _pause(self, seconds: float) -> None:
        with self._changed:
            if self._changed.wait_for(lambda: self._next is not None, timeout=seconds):
                raise HubError("a newer state is uploaded instead")


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    shown = not are_progress_bars_disabled()
    if shown:
        disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            enable_progress_bars()


def snapshot(files: dict[str, Path], beside: Path) -> Path:
    """A folder with these files (by name in the repository), made beside them; they may be deleted, not changed.

    Weights are linked, not copied, where the file system can; the log and other small files are copied, as they grow.
    """
    folder = Path(tempfile.mkdtemp(prefix="_push-", dir=beside))
    for name, path in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".safetensors":
            try:
                target.hardlink_to(path)
                continue
            except OSError:
                pass
        shutil.copyfile(path, target)
    return folder
