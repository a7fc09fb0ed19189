"""The demo's record holds what its logs hold."""

import json
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, Features, Image
from demo_scores import afterwards, record

from dailymae_hf.data import write_beton
from dailymae_hf.run_files import Result, write_result

LINES = [
    {"epoch": 1.0, "data_wait": 0.04, "probe_accuracy": None},
    {"epoch": 5.0, "data_wait": None, "probe_accuracy": 0.25, "knn_accuracy": 0.5},
    {"epoch": 10.0, "data_wait": 0.02, "probe_accuracy": 0.75, "knn_accuracy": 0.625},
    {"epoch": 10.0, "train_runtime": 12.5},
]


@pytest.fixture
def run(tmp_path, photographs):
    rows = {"image": [image.resize((32, 32)) for _, image in photographs[:4]], "label": [0, 1, 2, 3]}
    dataset = Dataset.from_dict(rows, features=Features({"image": Image(), "label": ClassLabel(names=list("abcd"))}))
    write_beton(dataset, tmp_path / "validation.beton", workers=1, progress=False)
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES))
    (tmp_path / "recipe.yaml").write_text(f"eval_beton: {tmp_path}/validation.beton\ninitialization: stock\n")
    return tmp_path


def test_record_is_what_the_log_says(run):
    assert record(run) == {
        "initialization": "stock",
        "train_seconds": 12.5,
        "data_wait_mean": 0.03,
        "chance": 0.25,
        "validation_images": 4,
        "scores": [
            {"epoch": 5.0, "probe_accuracy": 0.25, "knn_accuracy": 0.5},
            {"epoch": 10.0, "probe_accuracy": 0.75, "knn_accuracy": 0.625},
        ],
    }


def test_later_scores_keep_their_encoder_and_their_protocol(tmp_path):
    for folder, accuracy in (("linear", 0.5), ("demo-stock/linear", 0.25), ("random/linear", 0.75)):
        result = Result("linear probe", "image-classification", "x", None, "v.beton", 4, {"accuracy": accuracy}, {})
        write_result(tmp_path / folder, result)
    assert afterwards(tmp_path) == {
        "demo": {"linear probe": {"accuracy": 0.5}},
        "demo-stock": {"linear probe": {"accuracy": 0.25}},
        "never trained": {"linear probe": {"accuracy": 0.75}},
    }


@pytest.mark.parametrize(("page", "names"), [
    ("README.md", ("`make demo`", "`make demo-stock`", "never trained")),
    ("docs/downstream.md", ("pretrained", "pretrained from stock weights", "never trained")),
])  # fmt: skip
def test_the_pages_show_the_record_under_its_own_names(page, names):
    """Before, README called the online probe a linear probe, and left the untrained encoder out."""
    root = Path(__file__).parents[2]
    record = json.loads((root / "benchmarks/results/demo.json").read_text())
    lines = (root / page).read_text().splitlines()
    for name, run in zip(names, ("demo", "demo-stock", "never trained"), strict=True):
        (row,) = [line.strip("| ").split(" | ") for line in lines if line.startswith(f"| {name} |")]
        cells = [cell.strip("| %") for cell in row[1:]]
        later = record["afterwards"][run]
        expected = [later["kNN"]["knn_accuracy_20"], later["linear probe on cached features"]["accuracy"]]
        if page != "README.md":
            expected.append(later["linear segmentation, frozen encoder"]["mean_iou"])
        if run in record["runs"]:
            expected.insert(0, record["runs"][run]["scores"][-1]["probe_accuracy"])
        assert [cell for cell in cells if cell] == [f"{100 * score:.1f}" for score in expected]
