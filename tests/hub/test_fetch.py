"""hf:// addresses in a recipe: fetched once, checked, the same file for every rank."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dailymae_hf.errors import BetonError, HubError, RecipeError
from dailymae_hf.hub.dataset import push_dataset
from dailymae_hf.hub.fetch import fetch_beton, fetch_betons, parse
from dailymae_hf.recipe.files import files_here
from dailymae_hf.recipe.recipe import load_recipe
from tests.support.loopback_hub import Repository

ADDRESS = "hf://datasets/tester/photos/train.beton"


def recipe(tmp_path, **given):
    path = tmp_path / "recipe.yaml"
    values = {"train_beton": ADDRESS, "eval_beton": None, "output_dir": str(tmp_path / "out"), "use_cpu": True, **given}
    path.write_text(json.dumps(values))
    return load_recipe(path)


def downloads(hub):
    return [path for method, path in hub.requests if method == "GET" and "/resolve/" in path and "beton" in path]


def test_a_recipe_fetches_once_and_is_saved_with_the_address(online, files, tmp_path):
    push_dataset([files / "train.beton"], "tester/photos", private=True)
    asked = recipe(tmp_path)
    for _ in range(2):
        local = files_here(asked.data, asked.training).train
        assert np.array_equal(np.fromfile(local, np.uint8), np.fromfile(files / "train.beton", np.uint8))
    assert len(downloads(online)) == 1
    assert asked.resolved()["train_beton"] == ADDRESS
    assert Path(local).name == "train.beton"
    mixed = fetch_betons([ADDRESS, "here.beton"], asked.training, field="train_beton")
    assert mixed == [local, "here.beton"]


def test_a_revision_can_be_named(online, files):
    push_dataset([files / "train.beton"], "tester/photos")
    first = online.repositories["datasets/tester/photos"].commits[-1][0]
    (other := files / "other").mkdir(exist_ok=True)
    (other / "train.beton").write_bytes((files / "validation.beton").read_bytes())
    push_dataset([other / "train.beton"], "tester/photos")
    pinned = fetch_beton(f"hf://datasets/tester/photos@{first}/train.beton")
    assert Path(pinned).read_bytes() == (files / "train.beton").read_bytes()
    assert Path(fetch_beton(ADDRESS)).read_bytes() == (files / "validation.beton").read_bytes()


def test_what_can_go_wrong_is_said(online, files, tmp_path, monkeypatch):
    push_dataset([files / "train.beton"], "tester/photos", private=True)
    online.files("tester/photos", "datasets")["damaged.beton"] = (files / "train.beton").read_bytes()[:5000]
    with pytest.raises(BetonError, match=r"damaged\.beton: .*delete the file"):
        fetch_beton("hf://datasets/tester/photos/damaged.beton")
    with pytest.raises(HubError, match="not there, or private"):
        fetch_beton("hf://datasets/tester/photos/missing.beton")
    with pytest.raises(HubError, match="cannot be reached"):
        fetch_beton(ADDRESS, only_cached=True)
    monkeypatch.setenv("HF_TOKEN", "")
    with pytest.raises(HubError, match="asks for a valid token"):
        fetch_beton(ADDRESS)


@pytest.mark.parametrize(
    "address",
    [
        "hf://models/a/b/x.beton",
        "hf://datasets/a/x.beton",
        "hf://datasets/a/b/",
        "hf://datasets/a/b/../../x",
        "hf://datasets/../b/x",
    ],
)
def test_other_addresses_are_refused(address):
    with pytest.raises(RecipeError, match=re.escape(address)):
        parse(address)


RANKS = """
import json, sys
from dailymae_hf.recipe.files import files_here
from dailymae_hf.recipe.recipe import load_recipe
recipe = load_recipe(sys.argv[1])
open(f"{sys.argv[2]}-{recipe.training.process_index}", "w").write(files_here(recipe.data, recipe.training).train)
"""


def test_ranks_of_a_machine_share_one_download(hub, files, tmp_path, monkeypatch):
    repository = Repository(private=True)
    repository.add("files", {"train.beton": (files / "train.beton").read_bytes()})
    hub.repositories["datasets/tester/photos"] = repository
    recipe(tmp_path)
    (tmp_path / "ranks.py").write_text(RANKS)
    for name, value in hub.environment(tmp_path / "home", token=hub.token).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    words = [str(tmp_path / "ranks.py"), str(tmp_path / "recipe.yaml"), str(tmp_path / "seen")]
    done = subprocess.run([*command, *words], capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    paths = {(tmp_path / f"seen-{rank}").read_text() for rank in range(2)}
    assert len(paths) == 1
    assert len(downloads(hub)) == 1
    assert len([path for method, path in hub.requests if method == "HEAD"]) == 1, "the second rank does not ask the Hub"
