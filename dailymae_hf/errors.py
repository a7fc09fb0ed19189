"""The errors a user can act on. Each message names the file, the sample or the recipe field to fix."""

from collections.abc import Iterator
from contextlib import contextmanager

# What only a part of the work needs, by the extra of `pip install` that brings it.
EXTRAS = {
    "datasets": ("datasets", "pyarrow"),
    "downstream": ("datasets", "evaluate"),
    "plots": ("matplotlib",),
    "tensorboard": ("tensorboard",),
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
}


class DailyMAEError(Exception):
    """Base of every error that this package raises on purpose."""


class RecipeError(DailyMAEError, ValueError):
    """A recipe or an argument says something that cannot be done; the message names the field."""


class MaskError(RecipeError):
    """An image's class mask cannot be read or fits neither image nor classes; the message names image and file.

    A DataLoader raises what its worker met again, with the worker's traceback as the message: the last line of that
    is the error.
    """

    def __init__(self, message: str) -> None:
        last = message.rstrip().rpartition("\n")[2]
        super().__init__(last.partition(f"{type(self).__name__}: ")[2] or last)


class BetonError(DailyMAEError, ValueError):
    """A .beton file is damaged or does not hold what was asked for; the message names the file and the place."""


class CorruptSampleError(DailyMAEError, RuntimeError):
    """A sample could not be decoded or written; the message names the file and the sample index."""


class CheckpointError(DailyMAEError, ValueError):
    """A checkpoint does not fill the model it is loaded into; the message names the file and the tensors."""


class ResumeError(DailyMAEError, ValueError):
    """A checkpoint cannot be continued exactly under the present settings; the message says which one differs."""


class RunLockError(DailyMAEError, RuntimeError):
    """Another run writes into the output folder, or holds what was not asked to go; the message names it."""


class DivergenceError(DailyMAEError, RuntimeError):
    """The loss or the gradient is no longer a number; the message has the step, the last checkpoint, what to try."""


class RankError(DailyMAEError, RuntimeError):
    """The ranks of a run were given different things; the message names rank, machine and difference."""


class HubError(DailyMAEError, RuntimeError):
    """The Hub refuses or cannot be reached, or a folder cannot be pushed; the message says what to do."""


class MissingDependencyError(DailyMAEError, ImportError):
    """An optional part (ffcv, the native kernel) is not installed; the message says how to install it."""


@contextmanager
def extra(name: str, needed_for: str) -> Iterator[None]:
    """Around the import of an extra's packages: `with extra("plots", "the card's pictures"): import matplotlib`.

    Raises:
        MissingDependencyError: one of them is not installed. Other faults of the import pass.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS[name]:
            raise
        raise MissingDependencyError(
            f"{needed_for}: {package} is not installed: pip install 'dailymae-hf[{name}]'"
        ) from error
