"""The worker pool: order, errors, and deaths that end the work instead of hanging it."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dailymae_hf.data.workers import ordered_map
from dailymae_hf.errors import DailyMAEError


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_results_come_in_order(workers: int) -> None:
    tasks = [(a, b) for a in range(10) for b in (1, 2, 3)]
    assert list(ordered_map(divmod, iter(tasks), workers)) == [divmod(*task) for task in tasks]


@pytest.mark.parametrize("workers", [1, 2])
def test_exception_reaches_the_caller(workers: int) -> None:
    results = ordered_map(divmod, iter([(7, 2), (1, 0), (8, 2)]), workers)
    assert next(results) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        next(results)


@pytest.mark.parametrize(
    ("task", "message"), [((os._exit, (3,)), "exit code 3"), ((signal.raise_signal, (signal.SIGKILL,)), "SIGKILL")]
)
def test_dead_worker_is_an_error(task: tuple, message: str) -> None:
    function, arguments = task
    started = time.monotonic()
    with pytest.raises(DailyMAEError, match=message):
        list(ordered_map(function, iter([arguments] * 4), 2))
    assert time.monotonic() - started < 20


def test_leaving_early_ends_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen] = []
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1])
    results = ordered_map(divmod, ((n, 3) for n in range(1000)), 2)
    next(results)
    results.close()
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)


def test_tasks_are_taken_as_they_are_needed() -> None:
    """A source larger than memory must not be read ahead without bound."""
    taken = 0

    def tasks():
        nonlocal taken
        for n in range(1000):
            taken += 1
            yield n, 3

    results = ordered_map(divmod, tasks(), 2)
    next(results)
    assert taken <= 10
    results.close()


def test_scripts_need_no_main_guard(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "print('begin')\n"
        "from dailymae_hf.data.workers import ordered_map\n"
        "print(list(ordered_map(divmod, iter([(5, 2), (9, 2)]), 2)))\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, script], check=False, capture_output=True, text=True, env=environment, timeout=60
    )
    assert done.stdout.splitlines() == ["begin", "[(2, 1), (4, 1)]"], done.stderr


def test_workers_end_when_the_caller_is_killed(tmp_path: Path) -> None:
    """Their socket closes with the caller: no orphans."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os, subprocess, sys\n"
        "popen = subprocess.Popen\n"
        "def record(*a, **k):\n"
        "    process = popen(*a, **k)\n"
        "    print(process.pid, flush=True)\n"
        "    return process\n"
        "subprocess.Popen = record\n"
        "from dailymae_hf.data.workers import ordered_map\n"
        "results = ordered_map(divmod, ((n, 3) for n in range(10**9)), 2)\n"
        "next(results)\n"
        "print('ready', flush=True)\n"
        "for _ in results: pass\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    caller = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=environment)
    threading.Timer(60, caller.kill).start()
    assert caller.stdout is not None
    lines = [caller.stdout.readline().strip() for _ in range(3)]
    assert lines[2] == "ready"
    caller.kill()
    caller.wait()
    deadline = time.monotonic() + 20
    while any(_runs(int(pid)) for pid in lines[:2]):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
