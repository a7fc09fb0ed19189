"""Pushes with the real client to a Hub on the loopback interface: one commit, retries, errors that say what to do."""

import json
import re

import pytest

from dailymae_hf.cli.main import main
from dailymae_hf.errors import HubError
from dailymae_hf.hub.client import with_retries
from dailymae_hf.hub.push import push_model
from dailymae_hf.model.image_processors import image_processor
from tests.support.card_facts import FACTS
from tests.support.in_memory import tiny_model


@pytest.fixture
def run(tmp_path):
    """The folder of a finished run, and what only training needs beside it."""
    folder = tmp_path / "run"
    tiny_model().save_pretrained(folder)
    image_processor(32, (0.5,) * 3, (0.25,) * 3).save_pretrained(folder)
    (folder / "run_facts.json").write_text(json.dumps(FACTS))
    (folder / "recipe.yaml").write_text("model_size: tiny\n")
    (folder / "log.jsonl").write_text(json.dumps({"epoch": 1.0, "loss": 0.5}) + "\n")
    (folder / "reconstructions").mkdir()
    (folder / "reconstructions" / "epoch_0002.png").write_bytes(b"a picture")
    for unwanted in (
        "checkpoint-5/optimizer.pt",
        "checkpoint-5/model.safetensors",
        "runs/events",
        "train.beton",
        ".env",
    ):
        (folder / unwanted).parent.mkdir(exist_ok=True)
        (folder / unwanted).write_bytes(b"not to be shared")
    return folder


def test_what_is_pushed(online, run):
    address = push_model(run, "tester/model", message="first")
    assert (
        address == f"{online.endpoint}/tester/model/commit/{online.repositories['models/tester/model'].commits[-1][0]}"
    )
    files = online.files("tester/model")
    assert set(files) == {
        ".gitattributes", "README.md", "config.json", "preprocessor_config.json", "model.safetensors", "recipe.yaml",
        "log.jsonl", "images/reconstruction.png", "images/curves.png", "images/schedule.png",
        "encoder/config.json", "encoder/model.safetensors", "encoder/preprocessor_config.json",
    }  # fmt: skip
    assert files["model.safetensors"] == (run / "model.safetensors").read_bytes()
    assert 'from_pretrained("tester/model")' in files["README.md"].decode()
    assert online.messages("tester/model") == ["initial commit", "first"], "everything in one commit"
    assert not online.repositories["models/tester/model"].private


def test_a_second_push_keeps_what_people_wrote_and_sends_only_what_changed(online, run):
    push_model(run, "tester/model", private=True)
    assert online.repositories["models/tester/model"].private
    files = online.files("tester/model")
    files["README.md"] += b"\n## Thanks\n\nto the photographers\n"
    uploads = len([path for method, path in online.requests if method == "PUT"])
    (run / "log.jsonl").write_text(json.dumps({"epoch": 2.0, "loss": 0.25}) + "\n")
    push_model(run, "tester/model", message="second")
    after = online.files("tester/model")
    assert b"to the photographers" in after["README.md"]
    assert b'"loss": 0.25' in after["log.jsonl"]
    sent = [path for method, path in online.requests if method == "PUT"]
    assert len(sent) == uploads + 1, "the new curves, not the old weights"
    assert online.messages("tester/model")[-1] == "second"


@pytest.mark.parametrize("place", [("POST", "/api/repos/create"), ("PUT", "/objects/"), ("POST", "/commit/")])
def test_a_server_error_in_the_middle_is_tried_again_and_nothing_is_half_visible(online, run, place, caplog):
    push_model(run, "tester/model", message="before")
    before = dict(online.files("tester/model"))
    tiny_model(seed=1).save_pretrained(run)
    # The client itself tries some requests six times, and two files of weights go up.
    online.fail(*place, 500, times=14 if place[0] == "PUT" else 7)
    seen = []
    push_model(
        run, "tester/model", message="after", waits=(0.0,) * 9,
        pause=lambda seconds: seen.append(online.files("tester/model") == before),
    )  # fmt: skip
    assert seen, "the fault did not reach us"
    assert all(seen), "readers saw a part of the push"
    assert "trying again" in caplog.text
    assert online.files("tester/model")["model.safetensors"] == (run / "model.safetensors").read_bytes()
    assert online.messages("tester/model")[-1] == "after"


def test_a_server_that_stays_away_is_one_error(online, run):
    online.fail("POST", "/commit/", 503, times=100)
    with pytest.raises(HubError, match="push to tester/model: the Hub answered 503"):
        push_model(run, "tester/model", waits=(0.0,))


@pytest.mark.parametrize(
    "case",
    [
        ("", "tester/model", "asks for a valid token; `hf auth login`"),
        ("hf_wrongwrong", "tester/model", "asks for a valid token"),
        ("hf_loopbackonly", "somebody/model", "may not do this"),
        ("hf_loopbackonly", "a/b/c", "a/b/c"),
    ],
)
def test_refusals_say_what_to_do_and_are_not_repeated(online, run, capsys, monkeypatch, case):
    token, repository, message = case
    monkeypatch.setenv("HF_TOKEN", token)
    assert main(["push", str(run), "--repo", repository]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert len([path for _, path in online.requests if path == "/api/repos/create"]) <= 1


def test_offline_is_said(online, run, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
        push_model(run, "tester/model")


@pytest.mark.parametrize(
    ("missing", "message"), [("run_facts.json", "run_facts.json"), ("model.safetensors", "weights")]
)
def test_a_folder_that_is_no_model_is_refused_before_anything_is_made(online, run, missing, message):
    (run / missing).unlink()
    with pytest.raises(HubError, match=re.escape(message)):
        push_model(run, "tester/model")
    assert online.requests == []


def test_command_line(online, run, tmp_path, capsys):
    words = ["push", str(run), "--repo", "tester/model", "--private", "--license", "mit", "--base-model", "a/b"]
    assert main([*words, "--message", "by hand"]) == 0
    assert "/tester/model/commit/" in capsys.readouterr().out
    assert online.messages("tester/model")[-1] == "by hand"
    card = online.files("tester/model")["README.md"].decode()
    assert "license: mit\n" in card
    assert "base_model: a/b\n" in card
    assert online.repositories["models/tester/model"].private
    assert json.loads((run / "run_facts.json").read_text())["repository"] == "tester/model"
    assert main(["push", "--dataset", "x.beton", "--repo", "a/b", "--results", "x"]) == 2


def test_programming_errors_are_not_dressed_up():
    with pytest.raises(KeyError):
        with_retries(lambda: {}["x"], "push", waits=(0.0,))
