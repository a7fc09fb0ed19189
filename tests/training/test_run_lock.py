"""The lock of an output folder: held once, refused by name, never in the way when its holder has died."""

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace

import pytest

from dailymae_hf.errors import RunLockError
from dailymae_hf.training import run_lock
from dailymae_hf.training.run_lock import LOCK_NAME, Holder, RunLock

HOLD = """
import sys, time
from dailymae_hf.training.run_lock import RunLock
lock = RunLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def other_process(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def foreign(folder, **changes):
    """A lock that another machine has left."""
    holder = replace(Holder.this_process(), host="elsewhere", machine="another boot", **changes)
    (folder / LOCK_NAME).write_text(json.dumps(asdict(holder)))
    return holder


def test_a_second_run_is_refused_by_host_and_process(tmp_path, other_process):
    before = (tmp_path / LOCK_NAME).read_bytes()
    with pytest.raises(RunLockError, match=rf"process {other_process.pid} on .* has held it since"):
        RunLock(tmp_path).acquire()
    assert (tmp_path / LOCK_NAME).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [LOCK_NAME]


def test_a_killed_run_is_not_in_the_way(tmp_path, other_process):
    other_process.kill()
    other_process.wait()
    assert (tmp_path / LOCK_NAME).exists()
    lock = RunLock(tmp_path)
    lock.acquire()
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_a_process_number_used_again_is_not_the_holder(tmp_path):
    (tmp_path / LOCK_NAME).write_text(json.dumps(asdict(replace(Holder.this_process(), born="1"))))
    lock = RunLock(tmp_path)
    lock.acquire()
    lock.release()


def test_a_lock_that_moves_on_another_machine_is_refused(tmp_path):
    foreign(tmp_path)
    done = threading.Event()

    def beats():
        while not done.wait(0.05):
            os.utime(tmp_path / LOCK_NAME)

    thread = threading.Thread(target=beats)
    thread.start()
    try:
        with pytest.raises(RunLockError, match="on elsewhere"):
            RunLock(tmp_path, beat=0.1, stale=5).acquire()
    finally:
        done.set()
        thread.join()


def test_a_lock_that_stands_still_on_another_machine_is_taken_over(tmp_path, capsys):
    foreign(tmp_path)
    lock = RunLock(tmp_path, beat=0.1, stale=0.5)
    start = time.monotonic()
    lock.acquire()
    assert 0.3 < time.monotonic() - start < 10
    assert "waiting up to" in capsys.readouterr().err
    assert json.loads((tmp_path / LOCK_NAME).read_text())["token"] == lock.token
    lock.release()


def test_an_old_lock_of_another_machine_costs_no_waiting(tmp_path):
    foreign(tmp_path)
    os.utime(tmp_path / LOCK_NAME, (1, 1))
    lock = RunLock(tmp_path)
    start = time.monotonic()
    lock.acquire()
    assert time.monotonic() - start < 2
    lock.release()


@pytest.mark.parametrize("content", ["", "{", '{"host": 3}'])
def test_a_lock_cut_short_is_a_dead_runs(tmp_path, content):
    (tmp_path / LOCK_NAME).write_text(content)
    lock = RunLock(tmp_path, beat=0.1, stale=0.3)
    lock.acquire()
    lock.release()


def test_it_moves_on_while_it_is_held(tmp_path):
    lock = RunLock(tmp_path, beat=0.05)
    lock.acquire()
    os.utime(tmp_path / LOCK_NAME, (1, 1))
    deadline = time.monotonic() + 10
    while (tmp_path / LOCK_NAME).stat().st_mtime < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert (tmp_path / LOCK_NAME).stat().st_mtime > 2
    lock.check()
    lock.release()


def test_a_run_that_lost_its_folder_neither_writes_nor_takes_it_back(tmp_path):
    lock = RunLock(tmp_path, beat=0.05)
    lock.acquire()
    other = foreign(tmp_path)
    with pytest.raises(RunLockError, match=r"was taken by process .* on elsewhere"):
        lock.check()
    lock.release()
    assert json.loads((tmp_path / LOCK_NAME).read_text())["token"] == other.token


def test_of_many_that_find_a_dead_lock_one_gets_it(tmp_path):
    foreign(tmp_path)
    os.utime(tmp_path / LOCK_NAME, (1, 1))
    barrier, got, refused = threading.Barrier(8), [], []

    def tries():
        lock = RunLock(tmp_path, beat=0.05, stale=0.5)
        barrier.wait()
        try:
            lock.acquire()
            got.append(lock)
        except RunLockError:
            refused.append(lock)

    threads = [threading.Thread(target=tries) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len(refused)) == (1, 7)
    got[0].check()
    got[0].release()


def test_without_links_the_file_is_made_exclusively(tmp_path, monkeypatch):
    def no_links(*_):
        raise OSError("not supported")

    monkeypatch.setattr(run_lock.os, "link", no_links)
    lock = RunLock(tmp_path)
    lock.acquire()
    with pytest.raises(RunLockError):
        RunLock(tmp_path).acquire()
    lock.release()
