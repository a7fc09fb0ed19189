"""How the processes of one run end: together, without the interpreter's teardown, the cause told to the launcher."""

import json
import logging
import os
import re
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch.distributed as dist
from accelerate import Accelerator
from torch.distributed import distributed_c10d

from dailymae_hf.errors import DailyMAEError, RankError, RecipeError

CAUSE_KEY = "dailymae/cause"  # in the store that the ranks met in: by what the first of them ended
# A rank that lost another one waits so long for that one's error, and for the launcher to see that one's end first.
_PATIENCE = 5.0

# How gloo, NCCL and the store say that the process at the other end is no more.
_PEER_GONE = re.compile(
    r"Connection (closed|reset) by peer|Connection refused|Broken pipe|Socket closed|remote process exited|"
    r"ncclRemoteError|Failed to recv|recvValue failed|sendBytes failed",
    re.IGNORECASE,
)


def check_all_ranks_are_here(world_size: int) -> None:
    """Raise RecipeError where more processes were started than the training arguments know of."""
    started = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
    if started != world_size:
        raise RecipeError(
            f"{started} processes were started, but this one takes itself for one of {world_size}, and "
            "they would train apart: on CPU ranks the argument use_cpu has to be true"
        )


def shutdown_distributed(accelerator: Accelerator) -> None:
    """Wait until every rank has done its work, then end the process group on purpose."""
    accelerator.wait_for_everyone()
    accelerator.end_training()


def leave_rank(status: int = 0) -> None:
    """The last line of a script: where this process is one of several ranks, end it here, with this exit status.

    Threads of gloo or NCCL may still run while the interpreter is taken down under them, which can abort a rank whose
    work is done; the launcher would then report the whole run as failed. A single process ends as usual.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def tell_launcher(error: BaseException) -> None:
    """Leave `error` where torchrun looks for the cause when a rank fails; it repeats the earliest at the very end.

    One that a user can mend is one line there too. Called while it is handled; nothing happens without a launcher.
    """
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if not path:
        return
    line = one_line(error)
    shown = line if isinstance(error, DailyMAEError | OSError) else traceback.format_exc()
    details = {"py_callstack": shown, "timestamp": str(int(time.time()))}
    Path(path).write_text(json.dumps({"message": {"message": line, "extraInfo": details}}))


def one_line(error: BaseException) -> str:
    """What a user reads of an error."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


@contextmanager
def ending_together(
    asked_to_stop: Callable[[], bool] = lambda: False, where: Callable[[], str] = str
) -> Iterator[None]:
    """Around what all ranks do: the others are told by what this one ends, and one that lost another repeats it.

    Whichever rank the launcher takes for the first that failed, its error names the cause.

    Args:
        asked_to_stop: whether the launcher has told this rank to end, and so knows of the failure.
        where: in the run, in words, for a rank whose end left no error.

    Raises:
        RankError: instead of an error that says no more than that another rank has ended.
    """
    try:
        yield
    except Exception as error:
        if not is_lost_peer(error):
            if not is_lost_peer(error.__cause__):
                share_cause(error)
            raise
        cause = _await_cause(asked_to_stop)
        raise RankError(cause or f"another rank ended{where()}; its own error, if it left one, says why") from error


def share_cause(error: BaseException) -> None:
    """Let the other ranks know by what this one ends. The first error of a run is kept."""
    said = f"rank {os.environ.get('RANK', '?')} (process {os.getpid()} on {socket.gethostname()}) ended: "
    with suppress(RuntimeError):  # the store may be gone
        store = _own_store()
        if store is not None:
            store.compare_set(CAUSE_KEY, "", said + one_line(error))


def _await_cause(asked_to_stop: Callable[[], bool]) -> str:
    """By what another rank ended; empty where it left no word, as a killed one does."""
    store, cause, deadline = None, "", time.monotonic() + _PATIENCE
    with suppress(RuntimeError):
        store = _own_store()
    while True:
        with suppress(RuntimeError):
            if not cause and store is not None and store.check([CAUSE_KEY]):
                cause = store.get(CAUSE_KEY).decode()
        if asked_to_stop() or time.monotonic() > deadline:
            return cause
        time.sleep(0.05)


def _own_store() -> Any:
    """A connection of this thread's own to the store that the ranks met in, as another thread may wait in the shared
    one; None where there is but one rank."""
    if not _several():
        return None
    own = cloned_store(_PATIENCE)
    return distributed_c10d._get_default_store() if own is None else own


def cloned_store(timeout: float) -> Any:
    """A connection to the ranks' store that no other thread waits in, with a time-out in seconds; None where the store
    is of another kind than torchrun's, and has none to give."""
    shared: Any = distributed_c10d._get_default_store()
    try:
        store = shared.clone()
        store.set_timeout(timedelta(seconds=timeout))
    except (RuntimeError, NotImplementedError):
        return None
    return store


def is_lost_peer(error: BaseException | None) -> bool:
    """Whether an error says no more than that another rank has ended."""
    if not _several() or isinstance(error, DailyMAEError):
        return False
    return isinstance(error, RuntimeError) and _PEER_GONE.search(str(error)) is not None


def _several() -> bool:
    return bool(dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1)
