"""safetensors files that others may read as the umask says, like every other file that a run leaves.

safetensors writes through a temporary file, which its writer alone may read (mode 0600), and renames that.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import torch
from safetensors.torch import save_file

_PRIVATE = 0o600


def save_tensors(
    tensors: Mapping[str, torch.Tensor], path: str | os.PathLike[str], metadata: dict[str, str] | None = None
) -> None:
    """Write tensors of any memory layout, by their names, into one file."""
    save_file({name: value.contiguous() for name, value in tensors.items()}, path, metadata)
    open_to_readers(Path(path).parent)


def open_to_readers(folder: Path) -> None:
    """Give a folder's safetensors files that are their writer's alone the mode of a file that is made there now."""
    probe = folder / f".mode-{uuid4().hex}"
    descriptor = os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        mode = os.fstat(descriptor).st_mode & 0o777
    finally:
        os.close(descriptor)
        probe.unlink()
    for path in folder.glob("*.safetensors"):
        if path.stat().st_mode & 0o777 == _PRIVATE and mode != _PRIVATE:
            path.chmod(mode)
