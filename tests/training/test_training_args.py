"""Training arguments: MAE's defaults beside the stock ones, derived values, and errors that name the field."""

import json
from dataclasses import fields

import pytest
import torch
import yaml
from transformers import HfArgumentParser, TrainingArguments

from dailymae_hf.errors import RecipeError
from dailymae_hf.training.training_args import DailyMAETrainingArguments


def arguments(tmp_path, **values) -> DailyMAETrainingArguments:
    return DailyMAETrainingArguments(**({"output_dir": str(tmp_path), "use_cpu": True} | values))


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("num_train_epochs", 800.0),
        ("weight_decay", 0.05),
        ("adam_beta2", 0.95),
        ("max_grad_norm", 0.0),
        ("dataloader_drop_last", True),
        ("remove_unused_columns", False),
        ("ddp_find_unused_parameters", False),
        ("ddp_static_graph", True),
        ("lr_scheduler_type", "cosine"),
        ("learning_rate", 1.5e-4 * 8 / 256),
    ],
)
def test_changed_defaults_differ_from_stock(tmp_path, name, ours):
    """A default that stock has taken over need not be stated any more."""
    stock = TrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    assert getattr(stock, name) != ours
    assert getattr(arguments(tmp_path), name) == ours


def test_adamw_is_the_fused_one_with_maes_first_beta(tmp_path):
    assert arguments(tmp_path).adam_beta1 == 0.9
    assert arguments(tmp_path).optim == "adamw_torch_fused"


@pytest.mark.parametrize(("batch", "accumulation", "rate"), [(256, 1, 1.5e-4), (64, 4, 1.5e-4), (512, 8, 2.4e-3)])
def test_learning_rate_follows_the_batch_of_an_optimizer_step(tmp_path, batch, accumulation, rate):
    built = arguments(tmp_path, per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation)
    assert built.effective_batch_size == batch * accumulation
    assert built.learning_rate == pytest.approx(rate)


def test_learning_rate_counts_devices(tmp_path, monkeypatch):
    monkeypatch.setattr(TrainingArguments, "world_size", property(lambda self: 8))
    assert arguments(tmp_path, per_device_train_batch_size=512).learning_rate == pytest.approx(2.4e-3)


def test_a_given_learning_rate_stands(tmp_path):
    assert arguments(tmp_path, learning_rate=3e-4, per_device_train_batch_size=512).learning_rate == 3e-4


@pytest.mark.parametrize(("epochs", "expected"), [(800, 40.0), (100, 5.0), (10, 0.5)])
def test_warm_up_is_maes_share_of_the_run(tmp_path, epochs, expected):
    assert arguments(tmp_path, num_train_epochs=epochs).warmup_epochs == pytest.approx(expected)
    assert arguments(tmp_path, num_train_epochs=epochs, warmup_epochs=2.5).warmup_epochs == 2.5


def test_bf16_is_off_on_a_cpu_unless_asked_for(tmp_path):
    assert arguments(tmp_path).bf16 is False
    assert arguments(tmp_path, bf16=True).bf16 is True


@pytest.mark.parametrize(("available", "supported"), [(True, True), (True, False), (False, True)])
def test_bf16_is_on_where_the_gpu_has_it(tmp_path, monkeypatch, available, supported):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: supported)
    monkeypatch.setattr(TrainingArguments, "__post_init__", lambda self: None)  # would look for the GPU itself
    monkeypatch.setattr(DailyMAETrainingArguments, "effective_batch_size", 256)
    built = DailyMAETrainingArguments(output_dir=str(tmp_path))
    assert built.bf16 is (available and supported)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"base_learning_rate": 0.0}, "base_learning_rate"),
        ({"base_learning_rate": -1e-4}, "base_learning_rate"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"num_train_epochs": 0}, "num_train_epochs"),
        ({"per_device_train_batch_size": 0}, "per_device_train_batch_size"),
        ({"gradient_accumulation_steps": 0}, "gradient_accumulation_steps"),
        ({"adam_beta2": 1.0}, "adam_beta2"),
        ({"weight_decay": -0.1}, "weight_decay"),
        ({"decoder_keep": 0.0}, "decoder_keep"),
        ({"decoder_keep": 1.5}, "decoder_keep"),
        ({"warmup_epochs": -1.0}, "warmup_epochs"),
        ({"warmup_epochs": 40.0, "num_train_epochs": 2}, "warmup_epochs.*num_train_epochs"),
        ({"warmup_steps": 10}, "warmup_steps.*warmup_epochs"),
        ({"lr_scheduler_type": "linear"}, "lr_scheduler_type: 'linear'"),
        ({"resolution_schedule": {"kind": "palindrom"}}, r"resolution_schedule\.kind.*'palindrome'"),
        ({"resolution_schedule": {"kind": "constant", "resolutions": [1]}}, r"resolution_schedule\.resolutions"),
        ({"resolution_schedule": "palindrome"}, "resolution_schedule: expected"),
    ],
)
def test_errors_name_the_field(tmp_path, values, named):
    with pytest.raises(RecipeError, match=named):
        arguments(tmp_path, **values)


SCHEDULE = {"kind": "palindrome", "resolutions": [224, 192, 224]}


def test_parsed_from_the_command_line(tmp_path):
    (parsed,) = HfArgumentParser(DailyMAETrainingArguments).parse_args_into_dataclasses(
        [
            "--output_dir",
            str(tmp_path),
            "--use_cpu",
            "--base_learning_rate",
            "1e-3",
            "--warmup_epochs",
            "1.5",
            "--num_train_epochs",
            "3",
            "--resolution_schedule",
            json.dumps(SCHEDULE),
        ]
    )
    assert parsed.learning_rate == pytest.approx(1e-3 * 8 / 256)
    assert (parsed.warmup_epochs, parsed.bf16, parsed.resolution_schedule) == (1.5, False, SCHEDULE)


def test_parsed_from_yaml(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.dump({"output_dir": str(tmp_path), "use_cpu": True, "resolution_schedule": SCHEDULE}))
    (parsed,) = HfArgumentParser(DailyMAETrainingArguments).parse_yaml_file(str(recipe))
    assert parsed.resolution_schedule == SCHEDULE


def test_every_field_has_a_help_text():
    assert all(field.metadata.get("help") for field in fields(DailyMAETrainingArguments) if field.init)
