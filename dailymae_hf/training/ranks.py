"""How the processes of one run end: together, and without the interpreter's teardown."""

import logging
import os
import sys

from accelerate import Accelerator


def end_ranks(accelerator: Accelerator) -> None:
    """Wait until every rank has done its work, then end the process group on purpose."""
    accelerator.wait_for_everyone()
    accelerator.end_training()


def leave_rank() -> None:
    """The last line of a script: where this process is one of several ranks, end it here, with exit status 0.

    Threads of gloo or NCCL may still run while the interpreter is taken down under them, which can abort a rank whose
    work is done; the launcher would then report the whole run as failed. A single process ends as usual.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
