"""Checkpoints in their folder: the newest whole one is found, and at no moment does a step that had one have none."""

import shutil
import threading

import pytest

from dailymae_hf.training import checkpoint_folders
from dailymae_hf.training.checkpoint_folders import (
    checkpoints_of,
    newest_whole,
    partial_path,
    put_in_place,
    remove_leftovers,
)
from dailymae_hf.training.manifest import write_manifest


def written(folder, content):
    folder.mkdir()
    (folder / "model.safetensors").write_text(content)
    write_manifest(folder)
    return folder


def content(folder):
    return (folder / "model.safetensors").read_text()


@pytest.fixture
def three(tmp_path):
    for step in (9, 10, 100):
        written(tmp_path / f"checkpoint-{step}", str(step))
    (tmp_path / "checkpoint-best").mkdir()
    return tmp_path


def test_steps_are_numbers(three):
    assert [path.name for path in checkpoints_of(three)] == ["checkpoint-9", "checkpoint-10", "checkpoint-100"]
    assert newest_whole(three) == (three / "checkpoint-100", [])


def test_what_is_not_whole_is_passed_over_and_said(three):
    (three / "checkpoint-100" / "model.safetensors").write_text("")
    shutil.rmtree(three / "checkpoint-10")
    (three / "checkpoint-10").mkdir()
    found, problems = newest_whole(three)
    assert found == three / "checkpoint-9"
    assert [problem.split()[0] for problem in problems] == [
        str(three / "checkpoint-100" / "model.safetensors"),
        str(three / "checkpoint-10" / "manifest.json"),
    ]


def test_nothing_whole_is_nothing(tmp_path):
    assert newest_whole(tmp_path) == (None, [])
    assert newest_whole(tmp_path / "missing") == (None, [])


@pytest.mark.parametrize("exchange", [True, False])
def test_a_step_that_has_a_checkpoint_gets_the_new_one(three, monkeypatch, exchange):
    if not exchange:
        monkeypatch.setattr(checkpoint_folders, "_exchange", lambda *_: False)
    put_in_place(written(partial_path(three, 10), "new"), three / "checkpoint-10")
    assert content(three / "checkpoint-10") == "new"
    assert not list(three.glob("_*"))


def test_while_it_is_replaced_the_step_always_has_a_whole_one(tmp_path):
    final, done, missing = written(tmp_path / "checkpoint-4", "0"), threading.Event(), []

    def looks():
        while not done.is_set():
            if not final.is_dir():
                missing.append(True)

    thread = threading.Thread(target=looks)
    thread.start()
    for number in range(30):
        put_in_place(written(partial_path(tmp_path, 4), str(number)), final)
    done.set()
    thread.join()
    assert missing == []


@pytest.mark.parametrize("died_after", ["the first rename", "the second rename"])
def test_a_run_that_dies_between_two_renames_leaves_the_step_its_checkpoint(three, monkeypatch, died_after):
    final, partial = three / "checkpoint-10", written(partial_path(three, 10), "new")
    final.rename(three / "_replaced-10")
    if died_after == "the second rename":
        partial.rename(final)
    remove_leftovers(three)
    assert content(final) == ("10" if died_after == "the first rename" else "new")
    assert not list(three.glob("_*"))
