"""Checkpoints that are whole or not there: written beside their final place, verified by a manifest, renamed at once.

The stock Trainer writes a checkpoint in place and takes the folder with the highest number for the newest even if a
crash left it half written. Here the run waits while the files are written; bringing them to the disk, summing them up
and renaming the folder goes on in a thread while it trains.
"""

import os
import pickle
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors import SafetensorError
from transformers import TrainingArguments

from dailymae_hf.errors import CheckpointError, ResumeError
from dailymae_hf.training.checkpoint_folders import checkpoint_path, checkpoints_of, partial_path, put_in_place
from dailymae_hf.training.hf_compat import OPTIMIZER_NAME, SCHEDULER_NAME, safe_globals
from dailymae_hf.training.manifest import MANIFEST_NAME, write_manifest
from dailymae_hf.training.ranks import is_lost_peer
from dailymae_hf.training.run_settings import RunSettings
from dailymae_hf.training.step_watch import NonFiniteStep


class Checkpoints:
    """The checkpoints of one run: checked, written, rotated. The trainer says what goes into one.

    Args:
        folder: the run's output folder.
        limit: how many to keep, the best and the newest among them; None keeps all.
        is_writer: whether this rank writes what there is one of (settings, manifest, renaming, removing).

    Attributes:
        seconds: what the run waited for the last one; None before the first.
        newest: the step of the last one that is written or being finished.
    """

    def __init__(self, folder: str | os.PathLike[str], *, limit: int | None, is_writer: bool) -> None:
        self.folder = Path(folder)
        self.limit = limit
        self.is_writer = is_writer
        self.seconds: float | None = None
        self.newest: int | None = None
        self._finisher = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._finishing: Future[None] | None = None

    def path(self, step: int) -> Path:
        """Where the checkpoint of an optimizer step lies."""
        return checkpoint_path(self.folder, step)

    def check(self, checkpoint: Path, settings: RunSettings, required: Sequence[str]) -> None:
        """Refuse a checkpoint that cannot be continued exactly.

        Args:
            checkpoint: a whole one.
            settings: what the run and the checkpoint have to share.
            required: files without which the stock Trainer would begin something anew, and say nothing of it.

        Raises:
            ResumeError: a setting differs, or a file was never written or is a pickle of other things than states.
        """
        settings.check(checkpoint)
        for name in required:
            if not (checkpoint / name).is_file():
                raise ResumeError(
                    f"{checkpoint} has no {name} (with save_only_model there is none), so it cannot be continued "
                    "exactly. Start a new run from its weights with from_pretrained instead."
                )

        for pattern in ("*.pt", "*.pth"):
            for path in sorted(checkpoint.glob(pattern)):
                require_plain_state(path)

    def write(
        self, step: int, settings: RunSettings, write_files: Callable[[Path], None], best: Callable[[], str | None]
    ) -> None:
        """Write the checkpoint of a step; every rank calls this, and `write_files` with the folder to fill.

        It is whole when `wait` returns, or some time later by itself. `best` is asked after writing which checkpoint
        must stay.

        Raises:
            CheckpointError: this one or the one before could not be written; the message has the room on the disk.
            NonFiniteStep: `write_files` found no numbers; nothing of what it wrote stays.
        """
        self.wait()
        start = time.perf_counter()
        final, partial = self.path(step), partial_path(self.folder, step)
        if self.is_writer:
            shutil.rmtree(partial, ignore_errors=True)
        wait_for_ranks()
        try:
            write_files(partial)
            wait_for_ranks()
            if self.is_writer:
                settings.save(partial)
                self._finishing = self._finisher.submit(self._finish, partial, final, best())
        except NonFiniteStep:
            if self.is_writer:
                shutil.rmtree(partial, ignore_errors=True)
            raise
        # torch and safetensors have their own errors for a full disk
        except (OSError, RuntimeError, SafetensorError) as error:
            if is_lost_peer(error):
                raise
            raise self._failed(partial, final, error) from error
        self.newest, self.seconds = step, time.perf_counter() - start

    def wait(self) -> None:
        """Return when the last checkpoint written is whole and in its place. Raises CheckpointError where it failed."""
        if self._finishing is not None:
            finishing, self._finishing = self._finishing, None
            finishing.result()

    def look(self) -> None:
        """Raise what the last checkpoint failed by, if it has failed by now; never waits."""
        if self._finishing is not None and self._finishing.done():
            self.wait()

    def _finish(self, partial: Path, final: Path, best: str | None) -> None:
        try:
            write_manifest(partial)
            put_in_place(partial, final)
            self._rotate(final, best)
        except OSError as error:
            raise self._failed(partial, final, error) from error

    def _failed(self, partial: Path, final: Path, error: Exception) -> CheckpointError:
        if self.is_writer:
            shutil.rmtree(partial, ignore_errors=True)
        try:
            room = f" ({shutil.disk_usage(self.folder).free / 1e6:,.0f} MB of the disk are free)"
        except OSError as gone:
            room = f" ({gone})"
        return CheckpointError(f"{final} could not be written{room}: {error}")

    def _rotate(self, newest: Path, best: str | None) -> None:
        """Remove checkpoints beyond the limit; `best` and the newest stay. What is not whole is not counted."""
        if not self.limit or self.limit < 1:
            return
        whole = [path for path in checkpoints_of(self.folder) if (path / MANIFEST_NAME).is_file()]
        kept = {path for path in whole if path == newest or (best and path == Path(best))}
        for path in reversed(whole):
            if len(kept) < self.limit:
                kept.add(path)
        for path in set(whole) - kept:
            # First the manifest: what a crash leaves of it is no checkpoint any more.
            (path / MANIFEST_NAME).unlink(missing_ok=True)
            shutil.rmtree(path, ignore_errors=True)


def required_files(args: TrainingArguments, *, sharded: bool) -> list[str]:
    """What the stock Trainer begins anew, and says nothing of, where a checkpoint lacks it.

    `sharded`: FSDP or DeepSpeed keep the optimizer's parts in files of their own.
    """
    random = "rng_state.pth" if args.world_size == 1 else f"rng_state_{args.process_index}.pth"
    return [*([] if sharded else [OPTIMIZER_NAME]), SCHEDULER_NAME, random]


def require_plain_state(path: Path) -> None:
    """Refuse a file of torch's that holds anything but numbers, tensors and containers; tensors are not read.

    torch's own error advises to load such a file whatever it does.

    Raises:
        ResumeError: it holds something else; the message names the file.
    """
    try:
        with safe_globals():
            torch.load(path, map_location="meta", weights_only=True)
    except pickle.UnpicklingError:
        raise ResumeError(
            f"{path} holds other objects than numbers and tensors, which could do anything, and is not opened: this "
            "Trainer did not write it. Start a new run from the checkpoint's weights with from_pretrained instead."
        ) from None


def wait_for_ranks() -> None:
    """Return when every rank has come here."""
    if dist.is_available() and dist.is_initialized():
        dist.barrier()
