"""How the processes of one run end: together, without the interpreter's teardown, the cause told to the launcher."""

import json
import logging
import os
import re
import sys
import time
import traceback
from pathlib import Path

import torch.distributed as dist
from accelerate import Accelerator

from dailymae_hf.errors import DailyMAEError, RecipeError

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


def is_lost_peer(error: BaseException) -> bool:
    """Whether an error says no more than that another rank has ended."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return False
    return isinstance(error, RuntimeError) and _PEER_GONE.search(str(error)) is not None
