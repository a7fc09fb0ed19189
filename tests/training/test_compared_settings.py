"""What a resume compares: everything, but for a list of which each entry is known to change no training step."""

from dataclasses import fields

import pytest

from dailymae_hf.training.compared_settings import MAY_CHANGE, compared_settings
from dailymae_hf.training.training_args import DailyMAETrainingArguments
from tests.support.in_memory import tiny_model


def settings(tmp_path, config=None, **arguments):
    args = DailyMAETrainingArguments(str(tmp_path), report_to="none", use_cpu=True, **arguments)
    return compared_settings(args, tiny_model().config if config is None else config, {"crop_scale": (0.2, 1.0)})


@pytest.mark.parametrize(
    "changed",
    [
        {"max_grad_norm": 1.0},
        {"optim": "sgd"},
        {"adam_epsilon": 1e-6},
        {"seed": 4},
        {"learning_rate": 1.0},
        {"gradient_accumulation_steps": 2},
        {"dataloader_drop_last": False},
        {"resolution_schedule": {"kind": "constant"}},
    ],
)
def test_a_changed_argument_is_seen(tmp_path, changed):
    before, after = settings(tmp_path), settings(tmp_path, **changed)
    different = {name for name in before | after if before.get(name) != after.get(name)}
    assert different >= set(changed)


@pytest.mark.parametrize("changed", [{"norm_pix_loss": False}, {"mask_ratio": 0.5}, {"num_attention_heads": 4}])
def test_a_changed_model_is_seen(tmp_path, changed):
    before, after = settings(tmp_path), settings(tmp_path, config=tiny_model(**changed).config)
    assert {name: after[name] for name in before if before[name] != after[name]} == changed


def test_where_it_runs_and_what_it_writes_is_free(tmp_path):
    free = {"logging_steps": 7, "save_steps": 9, "dataloader_num_workers": 3, "run_name": "x", "hub_model_id": "a/b"}
    assert settings(tmp_path) == settings(tmp_path / "elsewhere", **free)


def test_an_argument_that_a_new_transformers_brings_is_compared():
    """The list names what is free; whatever it does not name is not."""
    known = {field.name for field in fields(DailyMAETrainingArguments)}
    assert {"num_train_epochs", "weight_decay", "torch_compile", "decoder_keep", "float8", "fsdp"} <= known - MAY_CHANGE


def test_values_are_as_json_gives_them_back(tmp_path):
    assert settings(tmp_path)["crop_scale"] == [0.2, 1.0]


def test_of_a_recipe_what_nothing_else_says(tmp_path):
    args = DailyMAETrainingArguments(str(tmp_path), report_to="none", use_cpu=True)
    recipe = {
        "pooling": "mean",
        "image_size": None,
        "warmup_epochs": 3.0,
        "knn_bank_size": 5,
        "loader_engine": "native",
    }
    compared = compared_settings(args, tiny_model().config, {}, recipe)
    assert compared["pooling"] == "mean"
    assert (compared["image_size"], compared["warmup_epochs"]) == (32, args.warmup_epochs)
    assert not {"knn_bank_size", "loader_engine"} & compared.keys()
