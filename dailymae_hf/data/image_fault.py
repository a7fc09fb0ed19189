"""What goes wrong with one image, told as a fault of that image."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from dailymae_hf.errors import CorruptSampleError


@contextmanager
def images_fault() -> Iterator[None]:
    """Around reading and Pillow alone, whose plugins raise nearly everything on damaged files: a kernel that is missing
    or out of date is no image's fault."""
    try:
        yield
    except Exception as error:
        raise CorruptSampleError(f"{type(error).__name__}: {_message(error)}") from error


def _message(error: Exception) -> str:
    """What an exception says, without the file's path and without addresses: the reason is kept in the .beton."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return re.sub(r" ?<[^<>]* at 0x[0-9a-f]+>", "", str(error))
