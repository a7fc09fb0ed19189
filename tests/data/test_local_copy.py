"""Node-local copies: made once for all processes of a machine, verified, and never half."""

import multiprocessing
import os
import signal
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from dailymae_hf.data import local_copy
from dailymae_hf.data.local_copy import copy_to_local
from dailymae_hf.errors import BetonError, RecipeError

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def source(tmp_path) -> Path:
    path = tmp_path / "shared" / "train.beton"
    path.parent.mkdir()
    path.write_bytes(np.random.default_rng(0).bytes(3_000_001))
    return path


def copy_and_report(source, folder, log):
    """What one rank does; appends a line to `log` when it was the one that copied."""
    original = local_copy._copy_verified

    def noted(*arguments):
        with open(log, "a") as stream:
            stream.write(f"{os.getpid()}\n")
        time.sleep(0.5)  # long enough for every other process to arrive
        original(*arguments)

    local_copy._copy_verified = noted
    (target,) = copy_to_local([source], folder, progress=False)
    with open(f"{log}.targets", "a") as stream:
        stream.write(f"{target}\n")


def copy_slowly(source, folder, started):
    """Writes the first bytes of a copy and then hangs, as a machine under load would."""

    def hang(source, target, bar):
        target.parent.mkdir()
        local_copy._partial(target).write_bytes(b"half")
        started.set()
        time.sleep(60)

    local_copy._copy_verified = hang
    copy_to_local([source], folder, progress=False)


def test_all_processes_share_one_copy(source, tmp_path):
    arguments = (source, tmp_path / "local", tmp_path / "log")
    ranks = [SPAWN.Process(target=copy_and_report, args=arguments) for _ in range(3)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(60)
    assert [rank.exitcode for rank in ranks] == [0, 0, 0]
    assert len((tmp_path / "log").read_text().splitlines()) == 1
    targets = (tmp_path / "log.targets").read_text().splitlines()
    assert len(targets) == 3
    assert len(set(targets)) == 1
    assert Path(targets[0]).read_bytes() == source.read_bytes()


def test_a_copier_that_is_killed_lets_the_next_go_on(source, tmp_path):
    started = SPAWN.Event()
    first = SPAWN.Process(target=copy_slowly, args=(source, tmp_path / "local", started))
    first.start()
    assert started.wait(60)
    os.kill(first.pid, signal.SIGKILL)
    first.join(10)
    (target,) = copy_to_local([source], tmp_path / "local", progress=False)
    assert target.read_bytes() == source.read_bytes()
    assert not list((tmp_path / "local").rglob("*.partial"))


def test_a_second_call_copies_nothing(source, tmp_path, monkeypatch):
    (target,) = copy_to_local([source], tmp_path / "local", progress=False)
    monkeypatch.setattr(local_copy, "_copy_verified", lambda *_: pytest.fail("copied twice"))
    assert copy_to_local([source], tmp_path / "local", progress=False) == [target]


def test_another_version_of_the_file_gets_another_copy(source, tmp_path):
    (old,) = copy_to_local([source], tmp_path / "local", progress=False)
    source.write_bytes(source.read_bytes()[::-1])
    os.utime(source, ns=(1, 1))
    (new,) = copy_to_local([source], tmp_path / "local", progress=False)
    assert new != old
    assert new.read_bytes() == source.read_bytes()


def test_files_of_one_name_in_two_folders_do_not_meet(source, tmp_path):
    other = tmp_path / "other" / source.name
    other.parent.mkdir()
    other.write_bytes(b"another set")
    os.utime(other, ns=(source.stat().st_atime_ns, source.stat().st_mtime_ns))
    first, second = copy_to_local([source, other], tmp_path / "local", progress=False)
    assert first.name == second.name == source.name
    assert second.read_bytes() == b"another set"
    assert first.read_bytes() == source.read_bytes()


def test_a_disk_that_changes_bytes_is_found_out(source, tmp_path, monkeypatch):
    fsync = os.fsync

    def fsync_and_flip(descriptor):
        os.pwrite(descriptor, b"\0\1\2\3", 1_000_000)
        fsync(descriptor)

    monkeypatch.setattr(local_copy.os, "fsync", fsync_and_flip)
    with pytest.raises(BetonError, match="other bytes"):
        copy_to_local([source], tmp_path / "local", progress=False)
    assert not list((tmp_path / "local").rglob("*.beton"))


def test_a_source_that_changes_meanwhile_is_named(source, tmp_path, monkeypatch):
    monkeypatch.setattr(local_copy.os, "fsync", lambda _: source.write_bytes(b"rewritten"))
    with pytest.raises(BetonError, match=r"train\.beton: changed"):
        copy_to_local([source], tmp_path / "local", progress=False)


def test_too_little_room_says_how_much_is_needed(source, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(local_copy.shutil, "disk_usage", lambda _: usage(10, 9, 1_000_000))
    with pytest.raises(RecipeError, match=r"1 MB free.*1 files needs 3 MB"):
        copy_to_local([source], tmp_path / "local", progress=False)


def test_a_folder_that_cannot_be_is_the_recipes_fault(source, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(RecipeError, match="local_folder"):
        copy_to_local([source], tmp_path / "file" / "below", progress=False)


def test_progress_counts_every_byte(source, tmp_path, capsys):
    copy_to_local([source], tmp_path / "local")
    assert "3.00M/3.00M" in capsys.readouterr().err
