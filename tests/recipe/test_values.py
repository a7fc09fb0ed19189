"""Each value that no run can have is refused where it is declared: one line that begins with its key."""

from dataclasses import fields
from typing import get_type_hints

import pytest

from dailymae_hf.errors import DailyMAEError, RecipeError
from dailymae_hf.recipe.downstream import EvaluationRecipe, FinetuneRecipe, KnnRecipe, LinearProbeRecipe
from dailymae_hf.recipe.recipe import PretrainRecipe, load_recipe
from dailymae_hf.recipe.shipped import find_recipe
from dailymae_hf.training.loaders import require_files
from dailymae_hf.training.training_args import DailyMAETrainingArguments

FILES = "train_beton: train.beton\noutput_dir: out\nuse_cpu: true\nreport_to: none\n"
LABELLED = FILES + "eval_beton: validation.beton\nmodel_name_or_path: encoder\n"
KINDS = {
    "pretrain": (PretrainRecipe, FILES),
    "finetune": (FinetuneRecipe, LABELLED),
    "linear-probe": (LinearProbeRecipe, LABELLED),
    "knn": (KnnRecipe, LABELLED),
    "evaluate": (
        EvaluationRecipe,
        "output_dir: out\nuse_cpu: true\nreport_to: none\nmodel_name_or_path: x\nbetons: {a: b}\n",
    ),
}

PRETRAIN = """
seed: -1
seed: 4294967296
data_seed: -3
max_steps: 0
max_steps: -2
num_train_epochs: .nan
num_train_epochs: .inf
num_train_epochs: 0
learning_rate: .nan
learning_rate: -1e-3
base_learning_rate: .inf
base_learning_rate: .nan
warmup_epochs: .nan
weight_decay: .nan
adam_beta1: 1.0
adam_epsilon: 0.0
max_grad_norm: -1
max_grad_norm: .nan
per_device_train_batch_size: -8
per_device_eval_batch_size: 0
gradient_accumulation_steps: 0
logging_steps: 0
logging_steps: -5
save_steps: 0
eval_steps: 0
eval_delay: -1
eval_accumulation_steps: 0
save_total_limit: 0
save_total_limit: -1
dataloader_num_workers: -3
dataloader_prefetch_factor: 0
dataloader_multiprocessing_context: thread
ddp_timeout: 0
ddp_backend: carrier_pigeon
torch_compile_backend: gcc
torch_compile_mode: fastest
optim: sgdd
report_to: trackr
report_to: [tensorboard, trackr]
log_level: loud
eval_strategy: sometimes
save_strategy: sometimes
logging_strategy: epochs
hub_strategy: always
lr_scheduler_type: linear
decoder_keep: .nan
image_size: 0
image_size: -224
patch_size: 0
mask_ratio: 1.0
mask_ratio: .nan
mask_ratio: 0
model_size: gigantic
initialization: zeros
crop_scale: [2, 3]
crop_scale: [0.5, 0.2]
crop_scale: [0.0, 1.0]
crop_scale: [.nan, 1.0]
crop_ratio: [-1, 1]
crop_ratio: [2, 1]
image_std: [0.2, 0, 0.2]
image_mean: [123.7, 116.3, 103.5]
image_mean: [.nan, 0.5, 0.5]
probe_every_n_steps: 0
probe_every_n_epochs: -1
knn_bank_size: 0
reconstruction_every_n_epochs: -1
reconstruction_images: 0
train_beton: ''
train_beton: []
resolution_schedule: {kind: stages, stages: [{resolution: 224, share: .nan}]}
"""
OTHERS = """
finetune layer_decay: 0
finetune layer_decay: .nan
finetune ema_decay: 1.0
finetune min_learning_rate: -1
finetune label_smoothing_factor: 1.5
finetune drop_path_rate: 1
finetune head_std: .inf
finetune mixup: -0.5
finetune cutmix: .nan
finetune color_jitter: 3
finetune pooling: max
finetune model_name_or_path: ''
finetune eval_beton: ''
linear-probe lars_momentum: 1.0
knn k: []
knn k: [0, 5]
knn temperature: 0
evaluate model_name_or_path: ''
"""
VALUES = [("pretrain", line) for line in PRETRAIN.split("\n") if line]
VALUES += [tuple(line.split(" ", 1)) for line in OTHERS.split("\n") if line]


def refusal(tmp_path, command, line, *words):
    kind, rest = KINDS[command]
    key = line.partition(":")[0]
    kept = [known for known in rest.splitlines() if known.partition(":")[0] != key]
    path = tmp_path / "recipe.yaml"
    path.write_text("\n".join([*kept, line]) + "\n")
    with pytest.raises(DailyMAEError) as caught:
        load_recipe(path, words, kind)
    return str(caught.value)


@pytest.mark.parametrize(("command", "line"), VALUES, ids=lambda value: value)
def test_a_value_that_cannot_be_is_one_line_with_its_key(tmp_path, command, line):
    said = refusal(tmp_path, command, line)
    assert said.startswith(line.partition(":")[0]), "the key comes first"
    assert "\n" not in said
    assert len(said) < 1500


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--crop_scale 2 3", "crop_scale: 2.0 is not above 0 and at most 1"),
        ("--output_dir my run", "output_dir: takes one value, and 2 words follow it"),
        ("--seed 1 2", "seed: takes one value"),
        ("--hflip true false", "hflip: takes one value"),
        ("--model_overrides.num_hidden_layers -1", "model_overrides.num_hidden_layers: -1 is below 1"),
        ("--model_overrides.num_hidden_layers 2.5", ".num_hidden_layers: expected a whole number, got 2.5"),
        ("--model_overrides.hidden_act relux", "model_overrides.hidden_act: 'relux' is not one of"),
        ("--model_overrides.hidden_dropout_prob 2", "hidden_dropout_prob: 2.0 is not at least 0 and below 1"),
        ("--model_overrides.num_layers 2", "num_layers: ViTMAEConfig has no such field; the nearest is"),
        ("--model_overrides [1]", "model_overrides: expected keys and values: {key: value}, got [1]"),
        ("--base_learning_rate 1,5e-4", "base_learning_rate: expected a number, such as 0.00015, got '1,5e-4'"),
        ("--crop_scale 0.3", "crop_scale: expected two numbers, such as 0.3 1.0, got"),
        ("--crop_scale little", "crop_scale: expected two numbers, such as 0.2 1.0, got"),
        ("--image_mean 0.5", "image_mean: expected three numbers, such as 0.5 1.0 1.0, got"),
        ("--initialization mea", "initialization: expected one of mae, mimetic, stock, got 'mea'"),
        ("--resolution_schedule palindrome", "such as {kind: palindrome, low: 160}, got 'palindrome'"),
        ("--lr 1e-3", "unknown key 'lr'; the nearest known one is 'learning_rate'"),
        ("--batch_size 8", "unknown key 'batch_size'; the nearest known one is 'per_device_train_batch_size'"),
        ("--epochs 8", "'num_train_epochs'"),
        ("--train-beton x", "'train_beton'"),
        ("--every_n_epochs 1", "'probe_every_n_epochs'"),
        ("--zzzzqqq 8", "unknown key 'zzzzqqq'; --help lists those there are"),
    ],
)  # fmt: skip
def test_words_that_cannot_be_are_one_line_with_their_key(tmp_path, words, said):
    assert said in refusal(tmp_path, "pretrain", "", *words.split())


def test_several_words_stay_a_list_where_the_key_takes_one(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(FILES)
    words = "--crop_scale 0.3 1.0 --train_beton a.beton b,c.beton --resolution_schedule.resolutions 224 192 224"
    recipe = load_recipe(path, [*words.split(), "--resolution_schedule.kind", "palindrome"])
    assert recipe.data.crop_scale == (0.3, 1.0)
    assert recipe.data.train_beton == ["a.beton", "b,c.beton"], "a comma is part of a name"
    assert recipe.training.resolution_schedule["resolutions"] == [224, 192, 224]


def test_one_word_is_a_list_of_one_where_the_key_is_a_list(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(LABELLED)
    assert load_recipe(path, ["--k", "5"], KnnRecipe).neighbours.k == (5,)
    assert load_recipe(path, ["--k", "5", "7"], KnnRecipe).neighbours.k == (5, 7)
    assert load_recipe(path, ["--k", "[5, 7]"], KnnRecipe).neighbours.k == (5, 7)
    with pytest.raises(RecipeError, match=r"^crop_scale: expected .*0\.5"):
        load_recipe(path, ["--crop_scale", "0.5"], KnnRecipe)


def test_what_was_most_likely_meant_is_named(tmp_path, monkeypatch):
    """Files and recipes with a letter wrong, and a folder of images where a file of them is wanted."""
    (tmp_path / "photos").mkdir()
    for name in ("ph.beton", "mine.yaml"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    for word in ("mien.yaml", "mien"):
        with pytest.raises(RecipeError, match=rf"{word}: no such recipe; did you mean mine\.yaml\?"):
            find_recipe(word)
    with pytest.raises(RecipeError, match=r"train_beton: there is no file ph\.betn; .* did you mean ph\.beton\?"):
        require_files("train_beton", "ph.betn")
    with pytest.raises(RecipeError, match=r"photos is a folder; `dailymae write photos train\.beton` makes"):
        require_files("train_beton", "photos")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (FILES.encode() + b"run_name: \xff\xfe\n", "byte 81 is not UTF-8 text"),
        (FILES.encode() + b"model_overrides: " + b"[" * 5000 + b"]" * 5000, "nested more than 20 deep"),
        (FILES.encode() + b"model_overrides: &a [*a]\n", "*a stands for a list"),
        (FILES.encode() + b"run_name: !!python/object/apply:os.system [ls]\n", "not readable as YAML"),
        (
            FILES.encode() + b"seed: !!int x\n",
            "a value is not what its form or its tag says: invalid literal for int()",
        ),
        (b"", "a recipe is a mapping"),
        (b"model_size = tiny\n", "line 1: write model_size: tiny, with a colon; a recipe is a mapping"),
        (FILES.encode() + b"model_size = tiny\n", "write model_size: tiny, with a colon; while scanning"),
    ],
)
def test_a_file_that_is_no_recipe_is_one_line_with_its_name(tmp_path, content, said):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("value", "said"), [("{kind: 3}", "keyword argument 'kind'"), ("nowhere.json", "No such file")]
)
def test_accelerate_s_settings_are_checked_with_their_key(tmp_path, value, said):
    path = tmp_path / "recipe.yaml"
    path.write_text(FILES + f"accelerator_config: {value}\n")
    with pytest.raises(RecipeError, match=rf"^accelerator_config: .*{said}"):
        load_recipe(path)


def test_a_word_may_be_repeated_by_name(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(FILES + "image_size: &side 96\npatch_size: *side\n")
    assert load_recipe(path).model.patch_size == 96


def test_python_is_checked_as_yaml_is(tmp_path):
    with pytest.raises(RecipeError, match="seed: -1 is below 0"):
        DailyMAETrainingArguments(output_dir=str(tmp_path), use_cpu=True, seed=-1)


@pytest.mark.parametrize("kind", [kind for kind, _ in KINDS.values()])
def test_every_number_of_ours_has_bounds(kind):
    """A number that is declared without bounds takes what no run can have."""
    for section in kind.sections().values():
        hints = get_type_hints(section)
        for declared in fields(section):
            if hints[declared.name] in (int, float, int | None, float | None):
                assert declared.metadata["allowed"].interval(), f"{section.__name__}.{declared.name}"
