"""The checkpoints of an output folder: which are whole, and how one comes into its place at once.

A checkpoint is written under another name, gets its manifest, and is then renamed. Where its step has one already the
two change places in one operation of the system, so that there is no moment in which the step has none.
"""

import ctypes
import errno
import os
import shutil
from pathlib import Path

from dailymae_hf.training.hf_compat import PREFIX_CHECKPOINT_DIR
from dailymae_hf.training.manifest import damage, sync_folder

# Leading underscores keep both out of uploads, the names out of the search for checkpoints.
_PARTIAL = "_partial-"
_REPLACED = "_replaced-"
_EXCHANGE = 2  # RENAME_EXCHANGE of renameat2(2)
_HERE = -100  # AT_FDCWD
_NO_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)


def checkpoint_path(run_folder: Path, step: int) -> Path:
    return run_folder / f"{PREFIX_CHECKPOINT_DIR}-{step}"


def partial_path(run_folder: Path, step: int) -> Path:
    """Where the checkpoint of a step is written before it is whole."""
    return run_folder / f"{_PARTIAL}{step}"


def step_of(checkpoint: Path) -> int:
    """Optimizer steps done when the checkpoint was written."""
    return int(checkpoint.name.rpartition("-")[2])


def checkpoints_of(run_folder: str | os.PathLike[str]) -> list[Path]:
    """All checkpoints of an output folder, whole or not, fewest steps first."""
    found = Path(run_folder).glob(f"{PREFIX_CHECKPOINT_DIR}-*")
    return sorted((path for path in found if path.name.rpartition("-")[2].isdecimal()), key=step_of)


def newest_whole(run_folder: str | os.PathLike[str]) -> tuple[Path | None, list[str]]:
    """The whole checkpoint with the most steps, and what is wrong with those that have more, a sentence each."""
    problems: list[str] = []
    for path in reversed(checkpoints_of(run_folder)):
        problem = damage(path)
        if problem is None:
            return path, problems
        problems.append(problem)
    return None, problems


def put_in_place(partial: Path, final: Path) -> None:
    """Rename a finished checkpoint to its name, instead of what has it already; on the disk when this returns."""
    if not final.exists():
        partial.rename(final)
    elif _exchange(partial, final):
        shutil.rmtree(partial)
    else:
        replaced = final.with_name(f"{_REPLACED}{step_of(final)}")
        final.rename(replaced)
        partial.rename(final)
        shutil.rmtree(replaced)
    sync_folder(final.parent)


def put_back(run_folder: Path) -> None:
    """Give a step its checkpoint back where a run died between moving the old one away and the new one in."""
    for replaced in run_folder.glob(f"{_REPLACED}*"):
        final = checkpoint_path(run_folder, step_of(replaced))
        if not final.exists():
            replaced.rename(final)


def remove_leftovers(run_folder: Path) -> None:
    """Remove what a run that died here had not finished. Only for who holds the folder's lock."""
    put_back(run_folder)
    for pattern in (_PARTIAL, _REPLACED):
        for path in run_folder.glob(f"{pattern}*"):
            shutil.rmtree(path)


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change names in one step; False where system or file system cannot."""
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "renameat2"):  # not Linux
        return False
    if library.renameat2(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NO_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(other))
