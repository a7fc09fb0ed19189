"""Ranks under a watch: a stopped one ends the others and is named, a killed launcher ends all, a finished one none."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SILENCE = 2.0


@pytest.fixture
def ranks(tmp_path):
    """A launcher of two ranks and their process numbers."""
    script = [str(ROOT / "tests" / "support" / "watched_rank.py"), str(tmp_path), str(SILENCE)]
    launcher = subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", *script],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    numbers = []
    for rank in range(2):
        wait_for(lambda path=tmp_path / f"rank-{rank}": path.exists(), 120)
        numbers.append(int((tmp_path / f"rank-{rank}").read_text()))
    yield launcher, numbers
    for number in [launcher.pid, *numbers]:
        if alive(number):
            os.kill(number, signal.SIGKILL)
    launcher.wait()


def wait_for(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.05)


def alive(number):
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_stopped_rank_ends_the_others_and_is_the_cause_named(ranks):
    launcher, numbers = ranks
    os.kill(numbers[1], signal.SIGSTOP)
    start = time.monotonic()
    said = launcher.communicate(timeout=60)[1]
    assert time.monotonic() - start < 30
    assert launcher.returncode != 0
    cause = said[said.rindex("Root Cause") :]
    assert f"RankError: rank 1 (process {numbers[1]} on " in cause
    assert "no sign of life for 2 s" in cause
    assert not any(alive(number) for number in numbers)


def test_a_killed_launcher_is_noticed_by_its_ranks(ranks, tmp_path):
    launcher, numbers = ranks
    launcher.kill()
    wait_for(lambda: not any(alive(number) for number in numbers), 60)
    assert f"the launcher (process {launcher.pid} on " in (tmp_path / "reason-0").read_text()


def test_a_rank_that_is_done_is_not_missed(ranks, tmp_path):
    launcher, _ = ranks
    (tmp_path / "end").write_text("")
    launcher.communicate(timeout=60)
    assert launcher.returncode == 0
