"""A rank whose work is done ends with status 0 whatever its threads still do; a single process ends as usual."""

import json
import os
import signal
import subprocess
import sys

import pytest

from dailymae_hf.errors import RecipeError
from dailymae_hf.training.ranks import tell_launcher

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


@pytest.mark.parametrize(
    ("error", "shown"), [(RecipeError("seed: -1"), "RecipeError: seed: -1"), (KeyError(3), "Traceback")]
)
def test_the_launcher_is_told_one_line_of_what_a_user_can_mend(tmp_path, monkeypatch, error, shown):
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    try:
        raise error
    except Exception as caught:
        tell_launcher(caught)
    details = json.loads((tmp_path / "error.json").read_text())["message"]["extraInfo"]
    assert details["py_callstack"].startswith(shown)
    assert int(details["timestamp"]) > 0


def test_without_a_launcher_nothing_is_told(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_ERROR_FILE", raising=False)
    tell_launcher(KeyError(3))
