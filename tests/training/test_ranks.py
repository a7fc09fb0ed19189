"""A rank whose work is done ends with status 0 whatever its threads still do; a single process ends as usual."""

import os
import signal
import subprocess
import sys

# What takes the interpreter down with it: the C++ library aborts where a thread object is left unjoined.
ABORTS_AT_EXIT = """
import atexit, os
from dailymae_hf.training.ranks import leave_rank
atexit.register(os.abort)
print("done")
leave_rank()
"""


def ended(world_size: int) -> subprocess.CompletedProcess:
    environment = {**os.environ, "WORLD_SIZE": str(world_size)}
    command = [sys.executable, "-c", ABORTS_AT_EXIT]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_one_of_several_ranks_leaves_without_teardown():
    done = ended(2)
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_a_single_process_ends_as_usual():
    assert ended(1).returncode == -signal.SIGABRT
