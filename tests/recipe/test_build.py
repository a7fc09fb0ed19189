"""What a recipe describes is what is built: files of several shards, and copies on a disk of this machine."""

from pathlib import Path

import pytest
import torch

from dailymae_hf.data import write_beton
from dailymae_hf.recipe.build import Setup, build_model, build_trainer
from dailymae_hf.recipe.recipe import load_recipe

RECIPE = """
model_size: tiny
image_size: 48
patch_size: 8
model_overrides: {num_hidden_layers: 1, decoder_num_hidden_layers: 1}
train_beton: shards/train-*.beton
output_dir: out
num_train_epochs: 1
per_device_train_batch_size: 10
online_probe: false
reconstruction_every_n_epochs: 0
report_to: none
use_cpu: true
dataloader_num_workers: 1
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, photograph_folder):
    """A recipe, and the 50 photographs in three shards."""
    folder = tmp_path_factory.mktemp("build")
    (folder / "shards").mkdir()
    for number in range(3):
        path = folder / "shards" / "train.beton"
        write_beton(photograph_folder, path, workers=1, progress=False, shard=(number, 3))
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder


def indices(words, workplace, monkeypatch):
    """Sample numbers of an epoch in order, and the files that the trainer reads them from."""
    monkeypatch.chdir(workplace)
    trainer = build_trainer(load_recipe("recipe.yaml", words))
    loader = trainer.get_train_dataloader()
    loader.set_epoch(0)
    seen = [index for batch in loader for index in batch["index"].tolist()]
    source = trainer.train_beton
    trainer.close()
    return seen, source


def test_a_recipe_reads_shards_as_one_file(workplace, monkeypatch):
    seen, _ = indices([], workplace, monkeypatch)
    assert sorted(seen) == list(range(50))
    assert Setup(load_recipe("recipe.yaml")).training_images == 50


def test_a_local_folder_changes_where_is_read_and_nothing_else(workplace, monkeypatch, tmp_path):
    far, _ = indices([], workplace, monkeypatch)
    near, source = indices(["--local_folder", str(tmp_path / "disk")], workplace, monkeypatch)
    assert near == far
    assert [Path(path).parent.parent for path in source] == [tmp_path / "disk"] * 3
    for path in source:
        assert Path(path).read_bytes() == (workplace / "shards" / Path(path).name).read_bytes()


@pytest.mark.parametrize("size", [48, 40, 32])
def test_stock_weights_have_no_positions_on_any_grid(workplace, monkeypatch, size):
    """As in the stock model: its encoder gives an image's patches, moved, the same tokens, moved."""
    monkeypatch.chdir(workplace)
    model = build_model(load_recipe("recipe.yaml", ["--initialization", "stock"])).eval()
    grid = size // 8
    pixels = torch.randn(1, 3, size, size)
    moved = pixels.unflatten(3, (grid, 8)).flip(3).flatten(3)
    with torch.no_grad():
        expected = model.encode(pixels).unflatten(1, (grid, grid)).flip(2).flatten(1, 2)
        torch.testing.assert_close(model.encode(moved), expected, atol=1e-5, rtol=1e-4)
