"""Checkpoints that are whole or not there: written beside their final place, renamed once every rank is done.

The stock Trainer writes a checkpoint in place, takes the folder with the highest number for the newest even if a crash
left it half written, and removes old ones by their step alone, whichever run they belong to.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import uuid4

import torch.distributed as dist
from safetensors import SafetensorError
from transformers import TrainingArguments

from dailymae_hf.errors import CheckpointError, ResumeError
from dailymae_hf.training.hf_compat import OPTIMIZER_NAME, PREFIX_CHECKPOINT_DIR, SCHEDULER_NAME
from dailymae_hf.training.run_settings import RunSettings, checkpoints_of, newest_checkpoint, run_of

_PARTIAL = "_partial-"  # the leading underscore keeps it out of uploads, the name out of the search for checkpoints


class Checkpoints:
    """The checkpoints of one run: found, checked, written, rotated. The trainer says what goes into one.

    Args:
        folder: the run's output folder.
        limit: how many to keep, the best and the newest among them; None keeps all.
        is_writer: whether this rank writes what there is one of (settings, renaming, removing).
    """

    def __init__(self, folder: str | os.PathLike[str], *, limit: int | None, is_writer: bool) -> None:
        self.folder = Path(folder)
        self.limit = limit
        self.is_writer = is_writer
        self._run = uuid4().hex

    def path(self, step: int) -> Path:
        """Where the checkpoint of an optimizer step lies."""
        return self.folder / f"{PREFIX_CHECKPOINT_DIR}-{step}"

    def begin(
        self, resume: str | bool | None, settings: Callable[[], RunSettings], required: Sequence[str]
    ) -> Path | None:
        """The checkpoint that a training run continues from, checked; None for a new run.

        Args:
            resume: a folder, True for the newest whole checkpoint, or nothing.
            settings: what the run and the checkpoint have to share.
            required: files without which the stock Trainer would begin something anew, and say nothing of it.

        Raises:
            ResumeError: there is no checkpoint, or it cannot be continued exactly under the present settings.
        """
        self._run = uuid4().hex
        if not resume:
            return None
        checkpoint: Path | None = Path(str(resume))
        if resume in (True, "true"):
            checkpoint = newest_checkpoint(self.folder)
        if checkpoint is None:
            raise ResumeError(f"{self.folder} holds no whole checkpoint to resume from")
        settings().check(checkpoint)
        for name in required:
            if not (checkpoint / name).is_file():
                raise ResumeError(
                    f"{checkpoint} has no {name} (with save_only_model there is none), so it cannot be continued "
                    "exactly. Start a new run from its weights with from_pretrained instead."
                )
        self._run = run_of(checkpoint) or self._run
        return checkpoint

    def write(self, step: int, settings: RunSettings, write_files: Callable[[Path], None]) -> Path:
        """Write the checkpoint of a step; every rank calls this, and `write_files` with the folder to fill.

        Raises:
            CheckpointError: it could not be written; the message has the room left on the disk.
        """
        final, partial = self.path(step), self.folder / f"{_PARTIAL}{step}"
        if self.is_writer:
            for stale in self.folder.glob(f"{_PARTIAL}*"):
                shutil.rmtree(stale)
        wait_for_ranks()
        try:
            write_files(partial)
            wait_for_ranks()
            if self.is_writer:
                settings.save(partial, self._run)
                _flush_to_disk(partial)
                if final.exists():
                    shutil.rmtree(final)
                partial.rename(final)
        # torch and safetensors have their own errors for a full disk
        except (OSError, RuntimeError, SafetensorError) as error:
            if self.is_writer:
                shutil.rmtree(partial, ignore_errors=True)
            free = shutil.disk_usage(self.folder).free
            raise CheckpointError(f"{final} could not be written ({free / 1e6:,.0f} MB are free): {error}") from error
        wait_for_ranks()
        return final

    def rotate(self, best: str | None) -> None:
        """Remove this run's checkpoints beyond the limit; `best` and the newest stay, and so do an earlier run's."""
        if not self.is_writer or not self.limit or self.limit < 1:
            return
        own = checkpoints_of(self.folder, self._run)
        kept = {path for path in own if path == own[-1] or (best and path == Path(best))}
        for path in reversed(own):
            if len(kept) < self.limit:
                kept.add(path)
        for path in set(own) - kept:
            shutil.rmtree(path, ignore_errors=True)


def required_files(args: TrainingArguments, *, sharded: bool) -> list[str]:
    """What the stock Trainer begins anew, and says nothing of, where a checkpoint lacks it.

    `sharded`: FSDP or DeepSpeed keep the optimizer's parts in files of their own.
    """
    random = "rng_state.pth" if args.world_size == 1 else f"rng_state_{args.process_index}.pth"
    return [*([] if sharded else [OPTIMIZER_NAME]), SCHEDULER_NAME, random]


def wait_for_ranks() -> None:
    """Return when every rank has come here."""
    if dist.is_available() and dist.is_initialized():
        dist.barrier()


def _flush_to_disk(folder: Path) -> None:
    """fsync every file, so that the rename cannot outlive the contents through a power cut."""
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
