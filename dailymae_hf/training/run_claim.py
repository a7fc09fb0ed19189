"""A run's claim on its output folder: locked, not another run's, and with the checkpoint that it continues from."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch.distributed as dist

from dailymae_hf.errors import DailyMAEError, RecipeError, ResumeError
from dailymae_hf.run_files import FACTS_NAME, LOG_NAME, RESULTS_NAME
from dailymae_hf.training.checkpoint_folders import checkpoints_of, newest_whole, put_back, remove_leftovers
from dailymae_hf.training.hf_compat import SAFE_WEIGHTS_NAME, logging
from dailymae_hf.training.manifest import damage
from dailymae_hf.training.run_lock import RunLock

logger = logging.get_logger(__name__)

# What training leaves besides checkpoints. Recipe, plan and card are written anew by every run, and may be a user's.
_LEFT_BY_A_RUN = (LOG_NAME, FACTS_NAME, RESULTS_NAME, SAFE_WEIGHTS_NAME, "reconstructions", "images")
_claims: dict[Path, "RunClaim"] = {}


@contextmanager
def claimed(args: Any, resume: str | bool | None) -> Iterator["RunClaim"]:
    """The claim of this process on `args.output_dir`, given back at the end of the outermost of nested uses.

    Every rank calls this; the first one takes the folder, and all get what it found or its error.

    Args:
        args: training arguments; `output_dir`, `overwrite_output_dir` and `should_save` are read.
        resume: a checkpoint; True for the newest whole one of the folder; "auto" for that or, in a folder without
            checkpoints, a new run; None for a new run.

    Raises:
        RunLockError: another run writes into the folder.
        RecipeError: it holds a run that was neither to be continued nor overwritten. Nothing is changed.
        ResumeError: there is no such checkpoint, or it is not whole; the message names the file.
    """
    folder = Path(args.output_dir).resolve()
    if folder in _claims:
        yield _claims[folder]
        return
    claim = RunClaim(Path(args.output_dir), overwrite=bool(args.overwrite_output_dir))
    try:
        claim.take(resume, is_writer=args.should_save)
        _claims[folder] = claim
        yield claim
    finally:
        _claims.pop(folder, None)
        claim.release()


class RunClaim:
    """One run's folder, as `claimed` gives it.

    Attributes:
        checkpoint: the whole checkpoint to continue from; None for a new run.
    """

    def __init__(self, folder: Path, *, overwrite: bool) -> None:
        self.folder, self.overwrite = folder, overwrite
        self.checkpoint: Path | None = None
        self._lock: RunLock | None = None

    def take(self, resume: str | bool | None, *, is_writer: bool) -> None:
        """Lock the folder and find the checkpoint; see `claimed`."""
        found: list[Any] = [None, None]
        if is_writer:
            try:
                self._lock = RunLock(self.folder)
                self._lock.acquire()
                found[0] = self._find(resume)
            except (DailyMAEError, OSError) as error:
                found[1] = error
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            dist.broadcast_object_list(found, src=0)
        if found[1] is not None:
            raise found[1]
        self.checkpoint = found[0]

    def begin(self) -> None:
        """Called when nothing can be refused any more: remove what an earlier run left, where it is to be overwritten,
        and what one that died had not finished."""
        if self._lock is None:
            return
        remove_leftovers(self.folder)
        if self.checkpoint is None and self.overwrite:
            for path in (*checkpoints_of(self.folder), *(self.folder / name for name in _LEFT_BY_A_RUN)):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)

    def check(self) -> None:
        """Make sure that the folder is still this run's. Raises RunLockError."""
        if self._lock is not None:
            self._lock.check()

    def release(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def _find(self, resume: str | bool | None) -> Path | None:
        if not resume:
            self._require_empty()
            return None
        if resume not in (True, "true", "auto"):
            path = Path(str(resume))
            if not path.is_dir():
                raise ResumeError(f"{path}: there is no such checkpoint")
            problem = damage(path)
            if problem is not None:
                raise ResumeError(f"{path} is not whole: {problem}")
            return path
        put_back(self.folder)
        newest, problems = newest_whole(self.folder)
        for problem in problems:
            logger.warning("a checkpoint is passed over: %s", problem)
        if newest is not None:
            return newest
        if problems:
            raise ResumeError(f"{self.folder} holds no whole checkpoint to resume from: {problems[0]}")
        if resume != "auto":
            raise ResumeError(f"{self.folder} holds no checkpoint to resume from; auto starts a new run where it is so")
        if (self.folder / SAFE_WEIGHTS_NAME).exists():  # a log alone is a run that died before its first checkpoint
            self._require_empty()
        logger.warning("%s holds no checkpoint: a new run begins", self.folder)
        return None

    def _require_empty(self) -> None:
        if self.overwrite:
            return
        found = [path.name for path in reversed(checkpoints_of(self.folder))]
        for name in _LEFT_BY_A_RUN:
            path = self.folder / name
            if path.is_dir() or (path.is_file() and path.stat().st_size > 0):
                found.append(name)
        if found:
            raise RecipeError(
                f"output_dir: {self.folder} holds a run already ({', '.join(found[:3])}): resume_from_checkpoint auto "
                "continues it, overwrite_output_dir true removes it, another output_dir leaves it alone"
            )
