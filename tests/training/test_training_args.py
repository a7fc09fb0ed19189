"""Training arguments: MAE's defaults beside the stock ones, derived values, and errors that name the field."""

import json
from dataclasses import fields

import pytest
import torch
import yaml
from transformers import HfArgumentParser, TrainingArguments

from dailymae_hf.downstream.training_args import ClassifierTrainingArguments
from dailymae_hf.errors import RecipeError
from dailymae_hf.training.devices import bf16_instructions, what_asks_for_gpus
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


@pytest.mark.parametrize("instructions", ["AMX", None])
def test_bf16_is_on_where_the_cpu_has_instructions_for_it(tmp_path, monkeypatch, instructions):
    monkeypatch.setattr("dailymae_hf.training.training_args.bf16_instructions", lambda: instructions)
    assert arguments(tmp_path).bf16 is (instructions is not None)
    assert arguments(tmp_path, bf16=True).bf16 is True
    assert arguments(tmp_path, bf16=False).bf16 is False


@pytest.mark.parametrize(("available", "supported"), [(True, True), (True, False), (False, True)])
def test_bf16_is_on_where_the_gpu_has_it(tmp_path, monkeypatch, available, supported):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: available)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    monkeypatch.setattr("dailymae_hf.training.training_args.bf16_instructions", lambda: None)
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
        ({"warmup_epochs": 40.0, "num_train_epochs": 2}, "warmup_epochs.*num_train_epochs.*lower warmup_epochs"),
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


def test_parsed_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.setattr("dailymae_hf.training.training_args.bf16_instructions", lambda: None)
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


def test_warm_up_waits_for_the_length_that_max_steps_gives(tmp_path):
    assert arguments(tmp_path, max_steps=60).warmup_epochs is None
    assert arguments(tmp_path, max_steps=60, warmup_epochs=2.0).warmup_epochs == 2.0
    with pytest.raises(RecipeError, match=r"a run of 60 .* never reaches the learning rate: lower warmup_epochs"):
        arguments(tmp_path, max_steps=60, warmup_epochs=2.0).warmup_steps_in(60, 40)
    assert ClassifierTrainingArguments(str(tmp_path), use_cpu=True, max_steps=60).warmup_epochs is None
    assert ClassifierTrainingArguments(str(tmp_path), use_cpu=True, num_train_epochs=50).warmup_epochs == 5


@pytest.mark.parametrize(
    ("environment", "values", "named"),
    [
        ({"ACCELERATE_MIXED_PRECISION": "bf16"}, {}, r"mixed_precision: bf16"),
        ({"CUDA_VISIBLE_DEVICES": "0"}, {}, "CUDA_VISIBLE_DEVICES=0"),
        ({}, {"ddp_backend": "nccl"}, "ddp_backend"),
    ],
)
def test_a_gpu_that_was_asked_for_and_is_missing_is_an_error(tmp_path, monkeypatch, environment, values, named):
    """accelerate_configs/one_gpu.yaml and multi_node.yaml on a machine without a GPU: it trained on the CPU."""
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RecipeError, match=f"{named}.* asks for a GPU.*use_cpu: true"):
        DailyMAETrainingArguments(output_dir=str(tmp_path), **values)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert DailyMAETrainingArguments(output_dir=str(tmp_path), use_cpu=True).use_cpu


def test_no_gpu_is_no_error_where_none_was_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")  # `accelerate launch` without a configuration
    assert DailyMAETrainingArguments(output_dir=str(tmp_path)).use_cpu
    # accelerate_configs/cpu_ranks.yaml: accelerate keeps its `use_cpu` to itself.
    launched = {"ACCELERATE_MIXED_PRECISION": "no", "WORLD_SIZE": "2"}
    assert what_asks_for_gpus(arguments(tmp_path), launched) is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 amx_bf16", "AMX"),
        ("flags\t\t: fpu avx512f avx512_bf16", "AVX512-BF16"),
        ("flags\t\t: fpu avx512f avx2", None),
        ("Features\t: fp asimd bf16", "ARM BF16"),
    ],
)
def test_instructions_are_read_from_linux(tmp_path, line, expected):
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{line}\n")
    assert bf16_instructions(tmp_path / "cpuinfo") == expected
    assert bf16_instructions(tmp_path / "none") is None


def test_an_optimizer_of_ours_is_selected_by_its_name(tmp_path):
    assert arguments(tmp_path, optim="lars").optim == "lars"
    with pytest.raises(RecipeError, match="optim"):
        arguments(tmp_path, optim="adamm")


def test_every_field_has_a_help_text():
    assert all(field.metadata.get("help") for field in fields(DailyMAETrainingArguments) if field.init)
