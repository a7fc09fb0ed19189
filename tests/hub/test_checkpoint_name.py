"""Names of checkpoints: a mistyped folder is told at once, and a name on the Hub is asked for once."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from dailymae_hf.errors import CheckpointError
from dailymae_hf.export import export_vit
from dailymae_hf.hub.checkpoint_name import require_checkpoint
from dailymae_hf.recipe import evaluate, segment
from dailymae_hf.recipe.build import build_trainer
from dailymae_hf.recipe.recipe import make_recipe
from tests.support.in_memory import tiny_model
from tests.support.loopback_hub import LoopbackHub

NEAR = r"outputs/labb does not exist; in the folder outputs, did you mean outputs/lab\? \(a model of the Hub is"


@pytest.fixture(autouse=True)
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model in outputs/lab below the current folder, an empty cache, and no Hub."""
    tiny_model().save_pretrained(tmp_path / "outputs" / "lab")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with LoopbackHub() as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
        yield hub


def test_a_mistyped_folder_is_no_name_on_the_hub(
    photograph_folder: Path, hub: LoopbackHub, caplog: pytest.LogCaptureFixture
) -> None:
    """Before, each of these asked the Hub for up to two minutes, and pretraining said that outputs/labb had no image
    processor."""
    from dailymae_hf.data import write_beton

    write_beton(photograph_folder, "train.beton", workers=1, progress=False)
    keys = {"model_name_or_path": "outputs/labb", "output_dir": "out", "use_cpu": True}
    with caplog.at_level(logging.WARNING), pytest.raises(CheckpointError, match=f"model_name_or_path: {NEAR}"):
        build_trainer(make_recipe(train_beton="train.beton", **keys))
    assert "image processor" not in caplog.text
    with pytest.raises(CheckpointError, match=f"model_name_or_path: {NEAR}"):
        segment.build_trainer(make_recipe(segment.SegmentationRecipe, dataset="photos", **keys))
    with pytest.raises(CheckpointError, match=f"model_name_or_path: {NEAR}"):
        evaluate.build_trainer(make_recipe(evaluate.EvaluationRecipe, betons={"a": "train.beton"}, **keys))
    with pytest.raises(CheckpointError, match=f"export: {NEAR}"):
        export_vit("outputs/labb", "x")
    assert hub.requests == []


@pytest.mark.parametrize("name", ["ouputs/lab", "./nowhere", "lab", "/nowhere/at/all", "hf://user/model"])
def test_what_can_only_be_a_path_is_not_asked_for(name: str, hub: LoopbackHub) -> None:
    with pytest.raises(CheckpointError, match=f"{name} does not exist; in the folder"):
        require_checkpoint(name)
    assert hub.requests == []


def test_a_file_is_no_checkpoint() -> None:
    with pytest.raises(CheckpointError, match="is a file; name the folder that it lies in"):
        require_checkpoint("outputs/lab/model.safetensors")


def test_the_hub_is_asked_once(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointError, match=r"the Hub has no model of that name .*; nor is there a folder user in"):
        require_checkpoint("user/model")
    assert len(hub.requests) == 1
    HfApi(endpoint=hub.endpoint, token=hub.token).create_repo(f"{hub.user}/model")
    require_checkpoint(f"{hub.user}/model")
    hub.fail("GET", "/api/models/", 503, 1)
    require_checkpoint("user/model")  # trouble that a later request may not meet
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # discard: nobody listens
    with pytest.raises(CheckpointError, match="the Hub cannot be reached"):
        require_checkpoint("user/model")


def test_what_is_cached_needs_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a folder has the user's name."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="HF_HUB_OFFLINE is set, and the model is not in the cache"):
        require_checkpoint("user/model")
    cached = tmp_path / "cache" / "models--user--model"
    for name, text in (("refs/main", "0" * 40), (f"snapshots/{'0' * 40}/config.json", "{}")):
        (cached / name).parent.mkdir(parents=True)
        (cached / name).write_text(text)
    require_checkpoint("user/model")
    os.mkdir("user")
    require_checkpoint("user/model")
