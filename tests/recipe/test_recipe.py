"""Recipes: what is written is what runs, and what cannot be is refused by name."""

from pathlib import Path

import pytest
import yaml

from dailymae_hf.errors import RecipeError
from dailymae_hf.model.flops import TRAINING_FACTOR, mae_flops
from dailymae_hf.recipe.build import model_config
from dailymae_hf.recipe.planning import stages_of
from dailymae_hf.recipe.recipe import load_recipe
from dailymae_hf.recipe.values import convert
from dailymae_hf.schedule import ResolutionSchedule

IMAGENET = ["mae_base_in1k", "mae_base_in1k_constant", "mae_base_in1k_fast", "mae_large_in1k", "mae_huge_in1k"]
CONFIGS = sorted((Path(__file__).parents[2] / "recipes" / "configs").glob("*.yaml"))
MINIMAL = "train_beton: train.beton\noutput_dir: out\nuse_cpu: true\n"


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "recipe.yaml"
        path.write_text(MINIMAL + text)
        return path

    return write


def test_yaml_then_command_line(write):
    path = write("num_train_epochs: 10\nmodel_size: tiny\nresolution_schedule: {kind: palindrome, low: 64}\n")
    words = "--num_train_epochs 2 --seed=7 --bf16 --crop_scale 0.5 1 --resolution_schedule.low 80 --run_name 12"
    recipe = load_recipe(path, words.split())
    assert recipe.model.model_size == "tiny"
    assert recipe.training.num_train_epochs == 2.0
    assert recipe.training.seed == 7
    assert recipe.training.bf16 is True
    assert recipe.training.run_name == "12", "digits are a name where a name is asked for"
    assert recipe.data.crop_scale == (0.5, 1.0)
    assert recipe.training.resolution_schedule == {"kind": "palindrome", "low": 80}


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("base_learning_rate: 1e-3", 1e-3),  # YAML 1.1 reads a string
        ("base_learning_rate: 1", 1.0),
        ("eval_strategy: no", "no"),  # YAML 1.1 reads False
        ("save_total_limit: null", None),
        ("resume_from_checkpoint: true", True),
        ("resume_from_checkpoint: out/checkpoint-3", "out/checkpoint-3"),
        ("report_to: [tensorboard]", ["tensorboard"]),
        ("hflip: false", False),
    ],
)
def test_values_arrive_as_they_are_meant(write, line, value):
    recipe = load_recipe(write(line + "\n"))
    key = line.split(":")[0]
    holder = recipe.data if hasattr(recipe.data, key) else recipe.training
    assert getattr(holder, key) == value
    assert type(getattr(holder, key)) is type(value) or key == "eval_strategy"


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("num_train_epoch: 3", "'num_train_epoch'; the nearest known one is 'num_train_epochs'"),
        ("mdel_size: tiny", "'mdel_size'; the nearest known one is 'model_size'"),
        ("num_train_epochs: many", "num_train_epochs: expected a number, got 'many'"),
        ("per_device_train_batch_size: 2.5", "per_device_train_batch_size: expected a whole number, got 2.5"),
        ("per_device_train_batch_size: true", "per_device_train_batch_size: expected a whole number, got True"),
        ("hflip: 1", "hflip: expected true or false, got 1"),
        ("crop_scale: [0.2, 0.5, 1.0]", "crop_scale"),
        ("on_error: ignore", "on_error"),
        ("seed: 1\nseed: 2", "'seed' is given twice"),
        ("resolution_schedule: {kind: palindrom}", "palindrome"),
        ("- 1", "not readable"),
    ],
)
def test_what_cannot_be_is_refused_by_name(write, line, named):
    with pytest.raises(RecipeError) as caught:
        load_recipe(write(line + "\n"))
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--num_epochs", "3"], "'num_epochs'; the nearest known one is 'num_train_epochs'"),
        (["--seed", "x"], "seed: expected a whole number"),
        (["7"], "follows no --key"),
        (["--seed"], "seed: expected a whole number, got True"),
    ],
)
def test_overrides_are_checked_alike(write, words, named):
    with pytest.raises(RecipeError, match=named):
        load_recipe(write(""), words)


def test_missing_keys_and_files_are_named(tmp_path):
    with pytest.raises(RecipeError, match="no such recipe"):
        load_recipe(tmp_path / "x.yaml")
    for key in ("train_beton", "output_dir"):
        path = tmp_path / "recipe.yaml"
        path.write_text("".join(line + "\n" for line in MINIMAL.splitlines() if key not in line))
        with pytest.raises(RecipeError, match=f"{key} is missing"):
            load_recipe(path)


def test_the_resolved_recipe_is_the_same_recipe(write, tmp_path):
    text = "model_size: small\nbase_learning_rate: 1e-3\neval_strategy: no\nrun_name: '7'\n"
    text += "model_overrides: {qkv_bias: true}\n"
    first = load_recipe(
        write(text), ["--num_train_epochs", "2", "--resolution_schedule", "{kind: increasing, low: 64}"]
    )
    first.save(tmp_path / "resolved.yaml")
    again = load_recipe(tmp_path / "resolved.yaml")
    assert again.resolved() == first.resolved()
    assert (again.model, again.data, again.callbacks) == (first.model, first.data, first.callbacks)
    assert again.training.to_dict() == first.training.to_dict()
    plain = yaml.safe_load((tmp_path / "resolved.yaml").read_text())
    assert plain["run_name"] == "7"
    assert plain["crop_scale"] == [0.2, 1.0]


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [([1, 2], tuple[float, ...], (1.0, 2.0)), (None, int | None, None), ([], list[str], []), ("x", int | str, "x")],
)
def test_convert(value, annotation, expected):
    assert convert(value, annotation, "key") == expected


# ---- the recipes that come with the package -----------------------------------------------------------------------


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_recipes_load_and_open_with_their_command(path):
    opening = path.read_text().split("\n\n")[0]
    assert opening.startswith("#")
    assert f"recipes/pretrain.py recipes/configs/{path.name}" in opening
    assert "takes" in opening.lower()
    recipe = load_recipe(path, ["--use_cpu", "--bf16=false"])
    patch_size = model_config(recipe).patch_size
    schedule = ResolutionSchedule.from_dict(
        recipe.training.resolution_schedule,
        epochs=recipe.training.num_train_epochs,
        patch_size=patch_size,
        resolution=recipe.model.image_size,
        mask_ratio=recipe.model.mask_ratio,
    )
    assert schedule.resolutions[-1] == recipe.model.image_size, "the last stage is at full resolution"


@pytest.mark.parametrize("name", IMAGENET)
def test_imagenet_recipes_are_the_papers(name):
    """PAPER.md's figures: 4096 images a step on 8 GPUs, base rate 1.5e-4, 40 of 800 epochs warm-up, AdamW (.9, .95)."""
    recipe = load_recipe(CONFIGS[0].with_name(f"{name}.yaml"), ["--use_cpu", "--bf16=false"])
    training = recipe.training
    assert 8 * training.per_device_train_batch_size * training.gradient_accumulation_steps == 4096
    assert (training.base_learning_rate, training.weight_decay) == (1.5e-4, 0.05)
    assert (training.num_train_epochs, training.warmup_epochs) == (800, 40)
    assert (training.adam_beta1, training.adam_beta2, training.max_grad_norm) == (0.9, 0.95, 0.0)
    assert (recipe.data.crop_scale, recipe.model.mask_ratio, recipe.model.image_size) == ((0.2, 1.0), 0.75, 224)


def test_palindrome_and_constant_differ_in_the_schedule_only():
    palindrome, constant = (
        load_recipe(CONFIGS[0].with_name(f"{name}.yaml"), ["--use_cpu", "--bf16=false"]).resolved()
        for name in ("mae_base_in1k", "mae_base_in1k_constant")
    )
    differing = {key for key in palindrome | constant if palindrome.get(key) != constant.get(key)}
    assert differing == {"resolution_schedule", "output_dir"}


@pytest.mark.parametrize(("line", "words"), [("hub_token: hf_secret", []), ("", ["--hub_token", "hf_secret"])])
def test_a_token_has_no_place_in_a_recipe(write, line, words):
    """It would be saved with the run, and pushed."""
    with pytest.raises(RecipeError, match=r"hub_token has no place in a recipe.*HF_TOKEN") as caught:
        load_recipe(write(line), words)
    assert "hf_secret" not in str(caught.value)


def test_the_fast_recipe_states_its_flops():
    """Beside the faithful recipe's: at both sizes, over the run, and as a share of it."""
    faithful, fast = (CONFIGS[0].with_name(f"{name}.yaml") for name in ("mae_base_in1k", "mae_base_in1k_fast"))
    totals = []
    for path in (faithful, fast):
        recipe = load_recipe(path, ["--use_cpu", "--bf16=false", "--torch_compile=false"])
        config, keep = model_config(recipe), recipe.training.decoder_keep
        sizes = [stage.resolution for stage in stages_of(recipe.training.resolution_schedule, 800, config)]
        per_size = {size: mae_flops(config, size, decoder_keep=keep) / 1e9 for size in (224, 192)}
        mean = sum(per_size[size] for size in sizes) / len(sizes)
        totals.append(TRAINING_FACTOR * mean * 800 * 1_281_167 / 1e9)
        row = f"{per_size[224]:9.2f} {per_size[192]:9.2f} {mean:17.2f}   {totals[-1]:.1f}e18"
        assert row in fast.read_text()
    assert f"{totals[1] / totals[0]:.2f} of the faithful" in fast.read_text()
