"""A rank whose work is done ends with status 0 whatever its threads still do; a single process ends as usual."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
import torch.distributed as dist

from dailymae_hf.errors import CorruptSampleError, RankError, RecipeError
from dailymae_hf.training import rank_watch, ranks
from dailymae_hf.training.rank_watch import RankWatch
from dailymae_hf.training.ranks import CAUSE_KEY, ending_together, share_cause, tell_launcher

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


@pytest.fixture
def store(monkeypatch):
    """What the ranks of a run share, with this process as the second of them."""
    shared = dist.HashStore()
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(ranks, "_several", lambda: True)
    monkeypatch.setattr(ranks, "_own_store", lambda: shared)
    return shared


LOST = RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.1.1]:5417")
SELF = f"rank 1 (process {os.getpid()} on {socket.gethostname()}) ended: "


def test_a_rank_says_by_what_it_ends_and_the_first_word_is_kept(store):
    for error in (CorruptSampleError("train.beton: sample 3 cannot be decoded"), KeyError(3)):
        with pytest.raises(type(error)), ending_together():
            raise error
    said = store.get(CAUSE_KEY).decode()
    assert said == SELF + "CorruptSampleError: train.beton: sample 3 cannot be decoded"


def test_a_rank_that_lost_another_waits_for_that_one_s_word_and_repeats_it(store):
    """The connection breaks before the error is known; neither the launcher nor anybody else asks this rank to end."""
    timer = threading.Timer(0.5, share_cause, [CorruptSampleError("sample 3 cannot be decoded")])
    timer.start()
    with pytest.raises(RankError, match=r"^rank 1 .* ended: CorruptSampleError: sample 3"), ending_together():
        raise LOST
    timer.join()


def test_a_rank_that_lost_another_ends_once_the_launcher_knows_and_hides_no_cause(store):
    start = time.monotonic()
    with (
        pytest.raises(RankError, match="another rank ended at step 3; its own error"),
        ending_together(),
        ending_together(lambda: True, lambda: " at step 3"),
    ):
        raise LOST
    assert time.monotonic() - start < 2
    assert not store.check([CAUSE_KEY]), "only the rank that was lost knows it"


def test_a_rank_whose_peer_said_why_it_ended_does_not_wait_for_it_for_ever(store, monkeypatch):
    """As NCCL does in a collective operation, where no connection breaks."""
    ended = threading.Event()
    said = []
    monkeypatch.setattr(rank_watch, "GRACE", 0.2)
    monkeypatch.setattr(rank_watch, "end_process", lambda message: (said.append(message), ended.set()))
    watch = RankWatch(silence=60, launcher_gone=said.append)
    watch._store, watch._launcher, watch._interval = store, None, 0.05
    share_cause(CorruptSampleError("sample 3 cannot be decoded"))
    thread = threading.Thread(target=watch._work)
    thread.start()
    assert ended.wait(30)
    watch._done.set()
    thread.join()
    assert said[0] == SELF + "CorruptSampleError: sample 3 cannot be decoded"
