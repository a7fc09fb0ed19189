"""What a run leaves behind: files that plain transformers loads, and a card that states what was measured."""

import json
import re
from contextlib import chdir
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from transformers import AutoImageProcessor, AutoModelForPreTraining, Trainer, ViTForImageClassification, ViTMAEModel

from dailymae_hf.downstream.classifier import build_classifier
from dailymae_hf.downstream.trainer import ClassifierTrainer
from dailymae_hf.downstream.training_args import ClassifierTrainingArguments
from dailymae_hf.errors import HubError
from dailymae_hf.hub.card import model_card, write_card
from dailymae_hf.model.image_processors import image_processor
from dailymae_hf.recipe.recipe import load_recipe
from dailymae_hf.recipe.run_folder import finish_run, save_recipe
from dailymae_hf.run_files import Result, write_result
from dailymae_hf.training.callbacks import LogFileCallback, OnlineProbeCallback, ThroughputCallback
from dailymae_hf.training.mae_trainer import DailyMAETrainer
from dailymae_hf.training.run_facts import write_facts
from tests.support.card_facts import placeholders
from tests.support.in_memory import ArrayLoader, coloured_images, tiny_model
from tests.support.runs import arguments, loader, normalised, validation


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A short palindrome run with probe and evaluation, released as recipes/pretrain.py does."""
    folder = tmp_path_factory.mktemp("released")
    path = folder / "given.yaml"
    path.write_text(f"train_beton: train.beton\noutput_dir: {folder}/out\nmodel_size: tiny\nuse_cpu: true\n")
    recipe = load_recipe(path)
    args = arguments(
        folder / "out",
        num_train_epochs=3,
        resolution_schedule={"kind": "palindrome", "resolutions": [32, 24, 32]},
        eval_strategy="epoch",
    )
    bank = loader(batch=4, shuffle=False, drop_last=False)
    trainer = DailyMAETrainer(
        tiny_model(),
        args,
        train_beton=loader(),
        eval_beton=validation(),
        callbacks=[ThroughputCallback(), LogFileCallback(), OnlineProbeCallback(bank=bank)],
    )
    save_recipe(trainer, recipe)
    trainer.train()
    return trainer, finish_run(trainer, recipe)


def test_the_folder_holds_model_processor_recipe_card_and_log(released):
    _, folder = released
    names = {path.name for path in folder.iterdir()}
    assert {
        "model.safetensors", "config.json", "preprocessor_config.json", "recipe.yaml", "README.md", "log.jsonl",
        "run_facts.json", "images", "encoder",
    } <= names  # fmt: skip
    assert "training_args.bin" not in names
    assert load_recipe(folder / "recipe.yaml").model.model_size == "tiny"


def test_plain_transformers_loads_all_of_it(released):
    trainer, folder = released
    images, _ = coloured_images(3)
    inputs = AutoImageProcessor.from_pretrained(folder)(
        [image.permute(1, 2, 0).numpy() for image in images], return_tensors="pt"
    )
    assert torch.allclose(inputs["pixel_values"], trainer.normalize(images), atol=1e-5)
    noise = torch.rand(3, 16)
    stock = AutoModelForPreTraining.from_pretrained(folder).eval()
    assert type(stock).__module__.startswith("transformers.")
    with torch.no_grad():
        losses = [m.eval()(normalised(images), noise=noise).loss.item() for m in (stock, trainer.model)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for kind in (ViTMAEModel, ViTForImageClassification):
        _, report = kind.from_pretrained(folder, output_loading_info=True)
        backbone = {name for name in report["missing_keys"] if "classifier" not in name and "layernorm" not in name}
        assert backbone == set(), kind


def test_the_cards_code_gives_the_whole_images_tokens_in_plain_transformers(released, photographs, tmp_path):
    """Before, it advertised a pipeline that hid three quarters of the patches, other ones at each call."""
    trainer, folder = released
    photographs[0][1].save(tmp_path / "photograph.jpg")
    code = re.findall(r"^```python\n(.*?)^```", (folder / "README.md").read_text(), re.M | re.S)
    names = {}
    with chdir(tmp_path):
        exec("\n".join(code).replace('from_pretrained(".', f'from_pretrained("{folder}'), names)
    assert type(names["encoder"]).__name__ == "ViTModel"
    model = trainer.model.eval()
    with torch.no_grad():
        expected = model.vit.layernorm(model.encode(names["inputs"]["pixel_values"]))
    torch.testing.assert_close(names["patches"], expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(names["features"], expected.mean(dim=1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(torch.tensor(names["tokens"])[:, 1:], expected, atol=1e-5, rtol=1e-4)


def test_the_card_states_what_the_run_measured(released):
    trainer, folder = released
    card = ModelCard.load(folder / "README.md")
    history = trainer.state.log_history
    loss, probe, evaluation = (
        next(entry[key] for entry in reversed(history) if key in entry)
        for key in ("loss", "probe_accuracy", "eval_loss")
    )
    assert f"training loss {loss:.4f}, validation loss {evaluation:.4f}" in card.text
    assert f"{100 * probe:.1f} % (chance 25.0 %, 4 classes)" in card.text
    assert "| 1 | 32 | 0.75 |\n| 1 | 24 | 0.75 |\n| 1 | 32 | 0.75 |" in card.text
    assert f"({trainer.state.global_step * 8:,} images)" in card.text
    assert f"{trainer.state.total_flos:.3g} FLOP" in card.text
    data = card.data.to_dict()
    assert data["library_name"] == "transformers"
    assert "pipeline_tag" not in data, "no pipeline takes the autoencoder itself"
    assert {"vit_mae", "masked-autoencoder"} <= set(data["tags"])
    metrics = {m["name"]: m["value"] for m in data["model-index"][0]["results"][0]["metrics"]}
    assert metrics["online linear probe, accuracy"] == round(probe, 4)


def test_a_run_shorter_than_its_logging_interval_states_its_mean_loss(tmp_path):
    trainer = DailyMAETrainer(
        tiny_model(), arguments(tmp_path, max_steps=2, warmup_epochs=0, logging_steps=500), train_beton=loader()
    )
    mean = trainer.train().training_loss
    write_facts(trainer.run_facts(), tmp_path)
    assert f"training loss {mean:.4f}" in write_card(tmp_path).read_text()


def classifier(folder, trained):
    """A classifier's trainer, with its facts in `folder`, and a result if it was trained."""
    images, labels = coloured_images(16)
    args = ClassifierTrainingArguments(
        str(folder), num_train_epochs=1, warmup_epochs=0, per_device_train_batch_size=8, use_cpu=True,
        report_to="none", disable_tqdm=True, save_strategy="no", logging_steps=1,
    )  # fmt: skip
    model = build_classifier(tiny_model(), ["a", "b", "c", "d"])
    data = ArrayLoader(images, labels, 8)
    trainer = ClassifierTrainer(model, args, train_beton=data, callbacks=[LogFileCallback(), ThroughputCallback()])
    if trained:
        trainer.train()
        result = Result(
            "fine-tuning", "image-classification", "x", None, "v.beton", 16, {"accuracy": 0.5}, {"epochs": 1}
        )
        write_result(folder, result)
    write_facts(trainer.run_facts(), folder)
    return trainer


@pytest.mark.parametrize("kind", ["pretraining", "classification"])
@pytest.mark.parametrize("measured", ["everything", "nothing"])
def test_no_placeholder_survives(released, tmp_path, kind, measured):
    folder = released[1]
    if kind == "classification":
        classifier(folder := tmp_path, measured == "everything")
    elif measured == "nothing":
        write_facts(
            DailyMAETrainer(tiny_model(), arguments(tmp_path), train_beton=loader()).run_facts(), folder := tmp_path
        )
    card = write_card(folder).read_text()
    assert placeholders(card) == []
    assert "\n\n\n" not in card
    metadata = yaml.safe_load(card.split("---")[1])
    assert metadata["library_name"] == "transformers"
    assert metadata.get("pipeline_tag") in (None, "image-classification")
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", card)
    assert all((folder / picture).is_file() for picture in pictures)
    assert "images/schedule.png" in pictures
    assert ("images/curves.png" in pictures) == (measured == "everything")


def test_scores_of_later_runs_join_the_index(released, tmp_path):
    _, folder = released
    scores = {"knn_accuracy_10": 0.71, "knn_accuracy_20": 0.72, "loss": 3.0}
    write_result(tmp_path, Result("kNN", "image-classification", "x", "t.beton", "data/v.beton", 300, scores, {"k": 1}))
    card = ModelCard(model_card(folder, source="me/model", results=[tmp_path]))
    entries = [(r.task_name, r.dataset_name, r.metric_name, r.metric_value) for r in card.data.eval_results]
    assert ("kNN", "v.beton", "10 nearest neighbours, top-1 accuracy", 0.71) in entries
    assert not [name for *_, name, _ in entries if "loss" in name]
    assert "| kNN | `v.beton` | 300 | 20 nearest neighbours, top-1 accuracy | 72.0 |" in card.text
    with pytest.raises(HubError, match=r"results\.json"):
        model_card(folder, results=[tmp_path / "nowhere"])


def test_the_index_names_metrics_and_data_as_what_they_are(released, tmp_path):
    scores = {"mean_iou": 0.3, "pixel_accuracy": 0.8}
    write_result(tmp_path, Result("linear", "image-segmentation", "x", None, "masks, validation", 9, scores, {}))
    index = ModelCard(model_card(released[1], source="me/model", results=[tmp_path])).data.eval_results
    found = {(r.dataset_type, r.metric_type, r.metric_name) for r in index if r.task_name == "linear"}
    data = "masks, validation"
    assert found == {(data, "mean_iou", "mean IoU"), (data, "accuracy", "pixel accuracy")}


def test_metadata_names_where_model_and_data_come_from(released):
    trainer, folder = released
    facts = trainer.run_facts() | {"base_model": "a/b", "datasets": ["c/d"], "license": "mit"}
    write_facts(trainer.run_facts(), folder)
    stored = (folder / "run_facts.json").read_text()
    try:
        (folder / "run_facts.json").write_text(json.dumps(facts))
        data = ModelCard(model_card(folder, source="me/model")).data
        assert (data.base_model, data.datasets, data.license) == ("a/b", ["c/d"], "mit")
        assert ModelCard(model_card(folder, source="me/model", license="cc0-1.0")).data.license == "cc0-1.0"
    finally:
        (folder / "run_facts.json").write_text(stored)


def test_a_run_that_went_back_says_so(released):
    trainer, folder = released
    facts = trainer.run_facts()
    stored = (folder / "run_facts.json").read_text()
    try:
        write_facts(facts, folder)
        assert "went back" not in model_card(folder)
        write_facts(facts | {"rewinds": [{"step": 1205, "to": 1200}, {"step": 1301, "to": 1300}]}, folder)
        text = model_card(folder)
    finally:
        (folder / "run_facts.json").write_text(stored)
    assert "| went back | from step 1,205, whose loss was not a number, to 1,200; from step 1,301," in text


def test_a_folder_of_no_run_is_refused(tmp_path):
    with pytest.raises(HubError, match=r"run_facts\.json"):
        model_card(tmp_path)


def test_utilisation_is_stated_where_the_peak_is_known(released, monkeypatch):
    trainer, folder = released
    throughput = next(c for c in trainer.callback_handler.callbacks if isinstance(c, ThroughputCallback))
    assert "utilisation" not in model_card(folder)
    monkeypatch.setattr(throughput, "_peak", lambda: 4 * throughput.totals.rates()["model_flops_per_second"])
    try:
        write_facts(trainer.run_facts(), folder)
        assert "| model FLOPs utilisation | 25.0 % of" in model_card(folder)
    finally:
        monkeypatch.undo()
        write_facts(trainer.run_facts(), folder)


def test_a_fact_that_the_template_lacks_is_an_error():
    from jinja2 import Environment, StrictUndefined, UndefinedError

    with pytest.raises(UndefinedError):
        Environment(undefined=StrictUndefined).from_string("{{ accuracy }}").render()
    assert placeholders("{{ accuracy }} and [More Information Needed]"), "the search finds what it should"


def test_the_stock_card_does_not_come_back(released):
    """`push_to_hub` calls `create_model_card`, which in the stock Trainer writes stubs over README.md."""
    trainer, folder = released
    ours = (folder / "README.md").read_text()
    trainer.create_model_card(model_name="x")
    assert (folder / "README.md").read_text() == ours
    Trainer.create_model_card(trainer, model_name="x")
    assert "More information needed" in (folder / "README.md").read_text(), "the stock card is no stub any more"
    (folder / "README.md").write_text(ours)


def test_processor_file_is_what_transformers_4_wrote(tmp_path):
    image_processor(96, (0.4, 0.5, 0.6), (0.1, 0.2, 0.3)).save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert saved["image_processor_type"] == "ViTImageProcessor"
    assert saved["size"] == {"height": 96, "width": 96}
    assert (saved["image_mean"], saved["image_std"], saved["resample"]) == ([0.4, 0.5, 0.6], [0.1, 0.2, 0.3], 3)
    assert Path(tmp_path).is_dir()
