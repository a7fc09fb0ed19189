"""The demo's closing lines say what its log says."""

import json

import pytest
from datasets import ClassLabel, Dataset, Features, Image

from dailymae_hf.data import write_beton
from scripts.demo_summary import resolutions, summary

LINES = [
    {"epoch": 1.0, "step": 10, "loss": 0.9, "resolution": 128, "images_per_second": 100.0, "probe_accuracy": None},
    {"epoch": 2.0, "step": 20, "loss": 0.8, "resolution": 96, "images_per_second": 300.0, "probe_accuracy": 0.25},
    {"epoch": 3.0, "step": 30, "loss": 0.7, "resolution": 96, "images_per_second": 200.0, "probe_accuracy": 0.5},
    {"epoch": 4.0, "step": 40, "loss": 0.6, "resolution": 128, "images_per_second": 210.0, "probe_accuracy": 0.625,
     "knn_accuracy": 0.75},
    {"epoch": 4.0, "step": 40, "loss": None, "resolution": 128, "images_per_second": None, "train_runtime": 8.0},
]  # fmt: skip


def write_run(folder, lines):
    folder.mkdir(parents=True)
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def run(tmp_path, photographs):
    write_run(tmp_path / "demo", LINES)
    (tmp_path / "data").mkdir()
    rows = {"image": [image.resize((32, 32)) for _, image in photographs[:4]], "label": [0, 1, 2, 3]}
    features = Features({"image": Image(), "label": ClassLabel(names=["a", "b", "c", "d"])})
    dataset = Dataset.from_dict(rows, features=features)
    write_beton(dataset, tmp_path / "data" / "validation.beton", workers=1, progress=False)
    (tmp_path / "demo" / "recipe.yaml").write_text(f"eval_beton: {tmp_path}/data/validation.beton\n")
    return tmp_path / "demo"


def test_summary_says_what_the_log_says(run):
    (run / "reconstructions").mkdir()
    for epoch in (2, 4):
        (run / "reconstructions" / f"epoch_{epoch:04d}.png").touch()
    text = summary(run)
    for expected in ("4 epochs, 40 steps", "128 > 96 > 128", "205 images/s", "0.900 at first, 0.600 at last",
                     "online probe 62.5%", "20 nearest neighbours 75.0%", "of 4 right; chance is 25.0%",
                     "epoch_0004.png", f'from_pretrained("{run}", subfolder="encoder")'):  # fmt: skip
        assert expected in text
    assert "stock" not in text


def test_another_run_is_put_beside(run):
    stock = run.parent / "stock"
    assert "stock" not in summary(run, stock)
    write_run(stock, [{"probe_accuracy": 0.125}])
    assert "online probe 12.5%" in summary(run, stock)


def test_resolutions_follow_the_log():
    assert resolutions([{"resolution": r} for r in (224, 224, None, 192, 192, 224)]) == "224 > 192 > 224"
