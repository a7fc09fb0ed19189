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
from dailymae_hf.training.run_lock import LOCK_NAME, Holder, RunLock, read_holder

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


@pytest.fixture
def eager_threads():
    """Threads change after every few instructions, as processes of a busy machine do."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.usefixtures("eager_threads")
def test_of_many_that_find_a_dead_lock_one_gets_it(tmp_path, links, monkeypatch):
    if not links:
        without_links(monkeypatch)
    for number in range(10):
        folder = tmp_path / str(number)
        folder.mkdir()
        foreign(folder)
        os.utime(folder / LOCK_NAME, (1, 1))
        barrier, got, refused = threading.Barrier(8), [], []

        def tries(folder=folder, barrier=barrier, got=got, refused=refused):
            lock = RunLock(folder, beat=0.05, stale=30)
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
        assert list(folder.iterdir()) == []


def test_a_starter_that_looked_long_ago_leaves_no_moment_without_the_new_lock(tmp_path, monkeypatch):
    """It found the old lock dead; before it goes on, another run takes the folder."""
    foreign(tmp_path)
    os.utime(tmp_path / LOCK_NAME, (1, 1))
    first, late, held = RunLock(tmp_path), RunLock(tmp_path), []
    shows_life, link = RunLock._shows_life, os.link

    def looks(self, *path):
        found = shows_life(self, *path)
        monkeypatch.setattr(RunLock, "_shows_life", shows_life)
        first.acquire()
        monkeypatch.setattr(run_lock.os, "link", looking)
        return found

    def looking(*names):
        held.append(read_holder(first.path))
        link(*names)

    monkeypatch.setattr(RunLock, "_shows_life", looks)
    with pytest.raises(RunLockError, match="is written to by process"):
        late.acquire()
    assert held
    assert all(holder is not None and holder.token == first.token for holder in held)
    first.check()
    first.release()
    assert list(tmp_path.iterdir()) == []


def test_a_successor_that_died_before_it_replaced_the_lock_is_not_in_the_way(tmp_path):
    old = foreign(tmp_path)
    dead = replace(Holder.this_process(), born="1")
    (tmp_path / f".{LOCK_NAME}-after-{old.token}").write_text(json.dumps(asdict(dead)))
    lock = RunLock(tmp_path)
    lock.acquire()
    assert read_holder(tmp_path / LOCK_NAME).token == lock.token
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_a_successor_that_lives_is_who_holds_the_folder(tmp_path, other_process):
    other = read_holder(tmp_path / LOCK_NAME)
    old = foreign(tmp_path)
    os.utime(tmp_path / LOCK_NAME, (1, 1))
    (tmp_path / f".{LOCK_NAME}-after-{old.token}").write_text(json.dumps(asdict(other)))
    with pytest.raises(RunLockError, match=f"process {other_process.pid} on"):
        RunLock(tmp_path).acquire()
    assert read_holder(tmp_path / LOCK_NAME) == old


def test_what_killed_starters_left_is_removed(tmp_path):
    left = tmp_path / f".{LOCK_NAME}-after-some-token"
    left.write_text("")
    os.utime(left, (1, 1))
    lock = RunLock(tmp_path)
    lock.acquire()
    assert not left.exists()
    lock.release()


def without_links(monkeypatch):
    def no_links(*_):
        raise OSError("not supported")

    monkeypatch.setattr(run_lock.os, "link", no_links)


def test_without_links_the_file_is_made_exclusively(tmp_path, monkeypatch):
    without_links(monkeypatch)
    lock = RunLock(tmp_path)
    lock.acquire()
    with pytest.raises(RunLockError):
        RunLock(tmp_path).acquire()
    lock.release()
