"""The fault bench judges as it says, and one kill of a real run comes out of it as survived."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from faults.outcomes import Try, table
from faults.workplace import Ended

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


@pytest.mark.slow
def test_a_killed_run_survives(tmp_path):
    out = tmp_path / "faults.json"
    words = [
        sys.executable,
        str(BENCH),
        "--only",
        "kills",
        "--kills",
        "1",
        "--out",
        str(out),
        "--keep",
        str(tmp_path / "w"),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=290)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [one["verdict"] for one in json.loads(out.read_text())["tries"]] == ["survived"]
