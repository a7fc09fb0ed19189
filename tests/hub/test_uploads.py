"""Uploads beside training: nothing waits for them, the newest state wins, and no failure reaches the run."""

import threading

import pytest
from transformers import AutoModelForPreTraining

from dailymae_hf.errors import HubError, RecipeError
from dailymae_hf.hub.uploads import Uploads, snapshot
from dailymae_hf.training.callbacks import LogFileCallback
from dailymae_hf.training.mae_trainer import DailyMAETrainer
from tests.support.in_memory import tiny_model
from tests.support.runs import arguments, loader


@pytest.fixture
def folders(tmp_path):
    made = [tmp_path / str(number) for number in range(4)]
    for folder in made:
        folder.mkdir()
    return made


def test_the_newest_of_those_that_wait_is_uploaded_and_all_are_removed(folders):
    release, begun, seen = threading.Event(), threading.Event(), []

    def upload(folder, message, pause):
        seen.append(message)
        begun.set()
        assert release.wait(10)
        return message

    uploads = Uploads(upload)
    uploads.submit(folders[0], "0")
    assert begun.wait(10)
    for number in (1, 2, 3):  # returns at once, although the first upload has not ended
        uploads.submit(folders[number], str(number))
    release.set()
    uploads.wait()
    assert seen == ["0", "3"]
    assert uploads.address == "3"
    assert [folder for folder in folders if folder.exists()] == []


def test_a_newer_state_ends_the_waiting_for_an_older_one(folders):
    waiting, seen = threading.Event(), []

    def upload(folder, message, pause):
        seen.append(message)
        if message == "0":
            waiting.set()
            pause(60.0)
        return message

    uploads = Uploads(upload)
    uploads.submit(folders[0], "0")
    assert waiting.wait(10)
    uploads.submit(folders[1], "1")
    uploads.wait()
    assert (seen, uploads.error) == (["0", "1"], None)


def test_a_failure_is_kept_and_the_next_upload_comes(folders, caplog):
    def upload(folder, message, pause):
        if message == "0":
            raise HubError("the Hub is on fire")
        return message

    uploads = Uploads(upload)
    uploads.submit(folders[0], "0")
    uploads.wait()
    assert "the Hub is on fire" in str(uploads.error)
    assert "not uploaded: the Hub is on fire" in caplog.text
    uploads.submit(folders[1], "1")
    uploads.wait()
    assert (uploads.error, uploads.address) == (None, "1")


def test_a_snapshot_outlives_the_checkpoint_and_does_not_grow_with_the_log(tmp_path):
    weights, log = tmp_path / "model.safetensors", tmp_path / "log.jsonl"
    weights.write_bytes(b"weights")
    log.write_text("1\n")
    copy = snapshot({"model.safetensors": weights, "log.jsonl": log}, tmp_path)
    assert (copy / "model.safetensors").stat().st_ino == weights.stat().st_ino, "linked, not copied"
    weights.unlink()
    with log.open("a") as file:
        file.write("2\n")
    assert (copy / "model.safetensors").read_bytes() == b"weights"
    assert (copy / "log.jsonl").read_text() == "1\n"


def pushing(tmp_path, **given):
    settings = {"push_to_hub": True, "hub_model_id": "model", "save_strategy": "steps", "save_steps": 4, **given}
    args = arguments(tmp_path / "out", num_train_epochs=2, hub_license="mit", **settings)
    return DailyMAETrainer(tiny_model(), args, train_beton=loader(), callbacks=[LogFileCallback()])


def test_training_pushes_checkpoints_and_its_end(online, tmp_path):
    trainer = pushing(tmp_path, save_total_limit=1)
    assert trainer.hub_model_id == "tester/model", "the full name"
    trainer.train()
    pushed = online.messages("tester/model")
    assert pushed[1:] == [m for m in [f"Training in progress, step {step}" for step in (4, 8, 10)] if m in pushed]
    assert pushed[-1] == "Training in progress, step 10", "the end of training waits for the last checkpoint"
    assert trainer.push_to_hub().startswith(f"{online.endpoint}/tester/model/commit/")
    files = online.files("tester/model")
    assert online.messages("tester/model")[-1] == "End of training"
    assert not {name for name in files if "optimizer" in name or "checkpoint" in name or "training_args" in name}
    assert files["model.safetensors"] == (tmp_path / "out" / "model.safetensors").read_bytes()
    card = files["README.md"].decode()
    assert "| epochs, optimizer steps | 2, 10 |" in card
    assert "license: mit" in card
    assert list((tmp_path / "out").glob("_push-*")) == [], "snapshots are removed"
    (tmp_path / "read").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "read" / name).write_bytes(files[name])
    AutoModelForPreTraining.from_pretrained(tmp_path / "read")


def test_a_hub_that_fails_does_not_end_the_run(online, tmp_path, caplog):
    trainer = pushing(tmp_path)
    online.fail("POST", "/commit/", 403, times=1000)
    trainer.train()
    assert trainer.state.global_step == 10
    assert trainer.push_to_hub() is None
    assert "may not do this" in caplog.text
    assert f"`dailymae push {tmp_path / 'out'} --repo tester/model` tries again" in caplog.text


def test_a_hub_that_is_away_at_the_start_is_asked_again_at_the_first_push(online, tmp_path):
    online.fail("POST", "/api/repos/create", 503, times=1)
    trainer = pushing(tmp_path, hub_model_id="tester/model")
    assert online.repositories == {}
    trainer.train()
    assert online.messages("tester/model")[-1] == "Training in progress, step 10"


def test_a_wrong_token_shows_before_training(online, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(HubError, match="valid token"):
        pushing(tmp_path)


def test_the_token_of_the_arguments_is_used_and_stored_nowhere(online, tmp_path, monkeypatch, caplog):
    monkeypatch.delenv("HF_TOKEN")
    trainer = pushing(tmp_path, hub_token=online.token)
    online.fail("POST", "/commit/", 500, times=1)
    trainer.train()
    trainer.push_to_hub()
    assert len(online.messages("tester/model")) > 1
    stored = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(stored) > 10
    assert [path for path in stored if online.token.encode() in path.read_bytes()] == []
    assert [name for name, content in online.files("tester/model").items() if online.token.encode() in content] == []
    assert online.token not in caplog.text


def test_only_models_with_a_card_are_pushed(online, tmp_path):
    model = tiny_model().vit
    with pytest.raises(RecipeError, match="push_to_hub"):
        DailyMAETrainer(model, arguments(tmp_path, push_to_hub=True, hub_model_id="x"), train_dataset=[1])
