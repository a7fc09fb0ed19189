"""The fault bench judges as it says, keeps what it has done, and kills of a real run come out of it as survived."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from faults.kills import Chains, Kind, Record, tries_of
from faults.outcomes import Try, table
from faults.workplace import Ended, Workplace

BENCH = Path(__file__).parents[2] / "benchmarks" / "fault_bench.py"
TRACEBACK = "Traceback (most recent call last):\n  File x\nKeyError: 3\n"


@pytest.mark.parametrize(
    ("status", "said", "verdict"),
    [
        (0, "done", ""),
        (None, "", "hung"),
        (2, "ResumeError: out/checkpoint-3 is not whole\n", "refused in one line"),
        (1, TRACEBACK, "traceback"),
        # A launcher's own traceback follows what its ranks said.
        (1, f"RankError: rank 1\n{TRACEBACK}raise ChildFailedError(", "refused in one line"),
        (1, f"{TRACEBACK}RankError: rank 1\n{TRACEBACK}raise ChildFailedError(", "traceback"),
    ],
)
def test_an_end_is_judged_by_status_and_traceback(status, said, verdict):
    assert Ended(status, said, 1.0).verdict == verdict


def test_the_table_has_a_row_a_fault_and_names_what_was_not_run():
    tries = [Try("kill", "survived", lost=3), Try("kill", "lost", lost=40), Try("SIGTERM", "survived", seconds=2.4)]
    lines = table(tries, [("disks", "mounting needs root")]).splitlines()
    assert lines[2:] == [
        "| kill | 2 | 1 survived, 1 lost | 40 |  |",
        "| SIGTERM | 1 | 1 survived |  | 2, 2 |",
        "| disks | 0 | not run: mounting needs root | | |",
    ]


CHAIN = {
    **{"ranks": 1, "engine": "native", "seed": 0, "chain": 0, "commit": "c", "verdict": "survived", "detail": ""},
    "kills": [{"inside_save": True, "step": 20, "lost": 10}, {"inside_save": False, "step": 25, "lost": 5}],
}


def test_kills_are_kept_and_not_done_again(tmp_path):
    path = tmp_path / "kills.json"
    Record(path).add(CHAIN)
    Record(path).add({**CHAIN, "engine": "ffcv"})
    again = Record(path)
    assert json.loads(path.read_text())["kills"] == 4
    kind = Kind(1, "native")
    assert again.kills(kind) == 2
    assert [(one.fault, one.lost) for chain in again.of(kind) for one in tries_of(chain)] == [
        ("kill -9 inside a save, 1 rank, native engine", 10),
        ("kill -9 between saves, 1 rank, native engine", 5),
    ]
    done = Chains(Workplace(tmp_path), None, kind, again, seed=0, patience=1)  # with nothing that could start a run
    assert list(done.run(2)) == []


@pytest.mark.slow
def test_killed_runs_survive(tmp_path):
    """One kill between saves and one inside a save, each continued by the next start."""
    out = tmp_path / "faults.json"
    words = ["--only", "kills", "--kills", "2", "--out", str(out), "--keep", str(tmp_path / "w")]
    command = [sys.executable, str(BENCH), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=290)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [one["verdict"] for one in json.loads(out.read_text())["tries"]] == ["survived"] * 2
