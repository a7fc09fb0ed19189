"""The errors a user can act on. Each message names the file, the sample or the recipe field to fix."""


class DailyMAEError(Exception):
    """Base of every error that this package raises on purpose."""


class RecipeError(DailyMAEError, ValueError):
    """A recipe or an argument says something that cannot be done; the message names the field."""


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
