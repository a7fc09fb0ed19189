"""Downstream recipes from files on disk to results on disk, on packaged photographs and a tiny encoder."""

import json
import re
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification, pipeline

from dailymae_hf.data import inspect_beton, write_beton
from dailymae_hf.errors import BetonError, CheckpointError, RecipeError
from dailymae_hf.recipe import evaluate, finetune, knn, linear_probe, segment
from dailymae_hf.recipe.recipe import load_recipe
from dailymae_hf.recipe.shipped import CONFIGS as SHIPPED
from dailymae_hf.run_files import read_log, read_result
from scripts.demo_mosaics import write_mosaics
from tests.support.in_memory import tiny_model

CONFIGS = SHIPPED / "downstream"
KINDS = {
    "finetune": (finetune, finetune.FinetuneRecipe),
    "linear": (linear_probe, linear_probe.LinearProbeRecipe),
    "knn": (knn, knn.KnnRecipe),
    "evaluate": (evaluate, evaluate.EvaluationRecipe),
    "segment": (segment, segment.SegmentationRecipe),
}
FAST = ("--use_cpu", "--report_to", "none", "--disable_tqdm", "--per_device_train_batch_size", "10")


@pytest.fixture(scope="module")
def place(tmp_path_factory, photograph_folder) -> Path:
    """train.beton, validation.beton (the same photographs at another quality) and an encoder."""
    folder = tmp_path_factory.mktemp("downstream")
    write_beton(photograph_folder, folder / "train.beton", max_resolution=160, progress=False, workers=1)
    write_beton(
        photograph_folder, folder / "validation.beton", max_resolution=160, quality=80, progress=False, workers=1
    )
    encoder = tiny_model()
    encoder.save_pretrained(folder / "encoder")
    return folder


def recipe_for(name, place, output, *words):
    keys = {
        "model_name_or_path": place / "encoder",
        "output_dir": output,
        "train_beton": place / "train.beton",
        "eval_beton": place / "validation.beton",
    }
    given = [word for key, value in keys.items() for word in (f"--{key}", str(value))]
    return load_recipe(CONFIGS / f"{name}_demo.yaml", [*given, *FAST, *words], KINDS[name][1])


def evaluation(checkpoint, output, *words):
    given = ("--model_name_or_path", str(checkpoint), "--output_dir", str(output), *FAST)
    return load_recipe(CONFIGS / "evaluate_demo.yaml", [*given, *words], evaluate.EvaluationRecipe)


@pytest.fixture(scope="module")
def classifier(place, tmp_path_factory) -> Path:
    """A classifier fine-tuned for three epochs, as the recipe leaves it."""
    output = tmp_path_factory.mktemp("finetuned")
    finetune.run(recipe_for("finetune", place, output, "--num_train_epochs", "3"))
    return output


def test_fine_tuning_leaves_a_plain_classifier_that_scores_as_reported(place, classifier):
    result = read_result(classifier)
    model = AutoModelForImageClassification.from_pretrained(classifier)
    facts = inspect_beton(place / "train.beton")["facts"]
    assert list(model.config.id2label.values()) == facts["class_names"]
    processor = AutoImageProcessor.from_pretrained(classifier)
    assert processor.image_mean == pytest.approx(facts["mean"]), "the files' statistics"
    assert processor.image_std == pytest.approx(facts["std"])
    assert (classifier / "recipe.yaml").is_file()
    assert read_log(classifier / "log.jsonl")[-1]["eval_accuracy"] == result.scores["accuracy"]
    assert result.eval_images == 50
    assert result.protocol == "fine-tuning"


def test_the_pipeline_of_plain_transformers_names_the_classes(classifier, photographs):
    answers = pipeline("image-classification", model=str(classifier), device="cpu")(photographs[0][1], top_k=3)
    assert {answer["label"] for answer in answers} <= {name for name, _ in photographs}


def test_the_saved_recipe_is_the_same_run_again(place, classifier):
    again = load_recipe(classifier / "recipe.yaml", kind=finetune.FinetuneRecipe)
    first = recipe_for("finetune", place, classifier, "--num_train_epochs", "3")
    assert again.resolved() == first.resolved()
    assert again.training.learning_rate == first.training.learning_rate


@pytest.mark.parametrize("cached", ["true", "false"])
def test_a_linear_probe_is_stored_as_a_plain_classifier(place, tmp_path, cached):
    words = ("--cached_features", cached, "--num_train_epochs", "2", "--warmup_epochs", "1")
    result = linear_probe.run(recipe_for("linear", place, tmp_path, *words))
    model = AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    encoder = tiny_model().vit.state_dict()
    stored = model.base_model.state_dict()["layers.1.mlp.fc1.weight"]
    assert torch.equal(stored, encoder["layers.1.mlp.fc1.weight"]), "the encoder is frozen"
    words = ("--betons", f"{{again: {place / 'validation.beton'}}}", "--images", "null", "--variants", "[]")
    scored = evaluate.run(evaluation(tmp_path, tmp_path / "evaluation", *words))
    # BatchNorm is folded: the plain classifier's score is the probe's.
    assert scored[0].accuracy == pytest.approx(result.scores["accuracy"], abs=0.021)
    assert scored[0].loss == pytest.approx(result.scores["loss"], rel=1e-3)
    assert result.details["pooling"] == "mean"


def test_knn_writes_every_k_and_finds_an_image_in_its_own_file(place, tmp_path):
    words = ("--k", "1", "10", "--eval_beton", str(place / "train.beton"))
    result = knn.run(recipe_for("knn", place, tmp_path, *words))
    assert set(result.scores) == {"knn_accuracy_1", "knn_accuracy_10"}
    assert result.scores["knn_accuracy_1"] == 1.0
    assert read_log(tmp_path / "log.jsonl")[-1]["knn_accuracy_10"] == result.scores["knn_accuracy_10"]


def test_a_masked_autoencoder_is_no_classifier(place, tmp_path):
    """Before, a traceback of transformers, with all the classes that it knows."""
    with pytest.raises(CheckpointError, match=r"encoder is a masked autoencoder, .* fine-tune it .* or probe it"):
        evaluate.build_trainer(evaluation(place / "encoder", tmp_path))


def test_compression_shift_is_one_table(place, classifier, photograph_folder, tmp_path):
    words = ("--betons", f"{{as trained: {place / 'train.beton'}}}", "--images", str(photograph_folder))
    variants = "[{max_resolution: 160, quality: 95}, {max_resolution: 12, quality: 5}]"
    scores = evaluate.run(evaluation(classifier, tmp_path, *words, "--variants", variants))
    assert [row.images for row in scores] == [50] * 4
    trained, same, ruined, originals = scores
    assert abs(same.loss - trained.loss) < abs(ruined.loss - trained.loss), "12 pixels at quality 5 cost more"
    assert ruined.bytes_per_image < same.bytes_per_image
    assert abs(originals.loss - trained.loss) < 0.3
    assert originals.bytes_per_image is None
    records = json.loads((tmp_path / "evaluation.json").read_text())
    assert [record["accuracy"] for record in records] == [row.accuracy for row in scores]


def test_originals_are_matched_by_the_names_of_their_classes(place, classifier, photographs, tmp_path):
    names = sorted((name for name, _ in photographs), reverse=True)
    rows = {"picture": [image for _, image in photographs], "kind": [names.index(name) for name, _ in photographs]}
    features = datasets.Features({"picture": datasets.Image(), "kind": datasets.ClassLabel(names=names)})
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "data")
    words = ("--images", str(tmp_path / "data"), "--label_column", "kind", "--betons", "{}", "--variants", "[]")
    recipe = evaluation(classifier, tmp_path / "out", *words)
    trainer = evaluate.build_trainer(recipe)
    model, processor = trainer.model.eval(), trainer.processing_class
    right = 0
    for name, image in photographs:
        with torch.no_grad():
            logits = model(processor(images=image, return_tensors="pt").pixel_values).logits
        right += model.config.id2label[int(logits.argmax())] == name
    assert evaluate.score(trainer, recipe.evaluation)[0].accuracy == pytest.approx(right / len(photographs))


def test_segmentation_learns_mosaics(place, tmp_path):
    write_mosaics(tmp_path / "mosaics", {"train": 12, "validation": 4})
    keys = {"dataset": tmp_path / "mosaics", "model_name_or_path": place / "encoder", "output_dir": tmp_path / "out"}
    words = [word for key, value in keys.items() for word in (f"--{key}", str(value))]
    words += ["--num_train_epochs", "3", *FAST]
    result = segment.run(load_recipe(CONFIGS / "segment_demo.yaml", words, segment.SegmentationRecipe))
    assert 0 < result.scores["mean_iou"] < 1
    losses = [line["loss"] for line in read_log(tmp_path / "out" / "log.jsonl") if line["loss"] is not None]
    assert (tmp_path / "out" / "results.json").is_file()
    assert all(np.isfinite(losses))


def test_class_names_are_held_against_the_masks(place, tmp_path):
    """Before, 40 lines that ended in an IndexError of the loss."""
    write_mosaics(tmp_path / "mosaics", {"train": 4, "validation": 2})
    keys = {"dataset": tmp_path / "mosaics", "model_name_or_path": place / "encoder", "output_dir": tmp_path / "out"}
    words = [word for key, value in keys.items() for word in (f"--{key}", str(value))]
    words += ["--class_names", "[sky, building, pole]", *FAST, "--per_device_train_batch_size", "2"]
    trainer = segment.build_trainer(load_recipe(CONFIGS / "segment_demo.yaml", words, segment.SegmentationRecipe))
    for read in (trainer.train, trainer.evaluate):
        with pytest.raises(RecipeError, match=r"class_names: there are 3 classes, 0 to 2, and mask \d+ .* holds class"):
            read()


def test_mosaics_say_where_each_photograph_is(tmp_path, photographs):
    write_mosaics(tmp_path, {"validation": 3})
    dataset = datasets.load_dataset(str(tmp_path), split="validation")
    assert dataset.column_names == ["image", "mask"]
    for row in dataset:
        classes = np.unique(np.asarray(row["mask"]))
        assert len(classes) == 4
        assert classes.max() < len(photographs)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_recipes_load_and_open_with_their_command(path):
    entry, kind = KINDS[path.stem.split("_")[0]]
    # Where the files are not there, the recipe itself is still read and checked.
    load_recipe(path, ["--use_cpu"], kind)
    head = path.read_text().split("\n\n")[0].replace("\\\n#", "")
    assert f"recipes/{Path(entry.__file__).name}" in head
    assert re.search(rf"recipes/configs/downstream/{path.name}", head)


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("finetune", ("--layer_decai", "1"), "layer_decay"),
        ("finetune", ("--layer_decay", "2"), "layer_decay"),
        ("finetune", ("--ema_decay", "1"), "ema_decay"),
        ("finetune", ("--pooling", "max"), "pooling"),
        ("finetune", ("--model_name_or_path", ""), "model_name_or_path is missing"),
        ("finetune", ("--class_names", "[a, b]"), "class_names: 2 names"),
        ("knn", ("--k", "0", "5"), "k: 0 is below 1"),
    ],
)
def test_what_cannot_be_is_named(place, tmp_path, name, words, message):
    with pytest.raises(RecipeError, match=message):
        KINDS[name][0].run(recipe_for(name, place, tmp_path, *words))


def test_files_without_labels_or_with_other_classes_are_refused(place, tmp_path, photographs, monkeypatch):
    images = [image.resize((64, 64)) for _, image in photographs]
    unlabelled = datasets.Dataset.from_dict({"image": images}, features=datasets.Features({"image": datasets.Image()}))
    write_beton(unlabelled, tmp_path / "unlabelled.beton", progress=False, workers=1)
    with pytest.raises(BetonError, match="no labels"):
        finetune.run(recipe_for("finetune", place, tmp_path, "--train_beton", str(tmp_path / "unlabelled.beton")))
    monkeypatch.setattr(knn, "load_encoder", lambda _: pytest.fail("the files are looked at first"))
    for key in ("train_beton", "eval_beton"):
        with pytest.raises(BetonError, match=r"unlabelled\.beton: has no labels"):
            knn.run(recipe_for("knn", place, tmp_path, f"--{key}", str(tmp_path / "unlabelled.beton")))
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["x", "y"])})
    other = datasets.Dataset.from_dict({"image": images, "label": [0, 1] * 5}, features=features)
    write_beton(other, tmp_path / "other.beton", progress=False, workers=1)
    with pytest.raises(RecipeError, match=r"class 0 is 'x', the model's is 'astronaut'"):
        finetune.run(recipe_for("finetune", place, tmp_path, "--eval_beton", str(tmp_path / "other.beton")))


def test_numbers_serve_as_names_where_the_file_has_none(place, tmp_path, photographs):
    rows = {"image": [image.resize((64, 64)) for _, image in photographs] * 2, "label": list(range(10)) * 2}
    plain = datasets.Dataset.from_dict(
        rows, features=datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    )
    write_beton(plain, tmp_path / "plain.beton", progress=False, workers=1)
    files = ("--train_beton", str(tmp_path / "plain.beton"), "--eval_beton", str(tmp_path / "plain.beton"))
    finetune.run(recipe_for("finetune", place, tmp_path / "out", *files, "--num_train_epochs", "1"))
    model = AutoModelForImageClassification.from_pretrained(tmp_path / "out")
    assert model.config.id2label == {number: str(number) for number in range(10)}


def test_originals_of_other_modes_are_scored_too(classifier, tmp_path):
    for name, mode, value in (("astronaut", "L", 99), ("cat", "RGBA", (9, 99, 9, 128))):
        (tmp_path / "odd" / name).mkdir(parents=True)
        Image.new(mode, (90, 120), value).save(tmp_path / "odd" / name / "0.png")
    words = ("--images", str(tmp_path / "odd"), "--variants", "[]", "--betons", "{}")
    scores = evaluate.run(evaluation(classifier, tmp_path / "out", *words))
    assert scores[0].images == 2
