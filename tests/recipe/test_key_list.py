"""What --help and docs/recipe-keys.md say of each key: all of them, with type, default and meaning."""

import pytest

from dailymae_hf.cli.run import RUNS, recipe_kind, run_recipe
from dailymae_hf.recipe.key_list import keys_of
from scripts.recipe_keys import PAGE, page


def test_the_page_is_the_one_that_the_classes_make():
    assert PAGE.read_text() == page(), "`python scripts/recipe_keys.py` writes it anew"


@pytest.mark.parametrize("command", RUNS)
def test_help_lists_every_key_with_its_meaning(command, capsys):
    kind = recipe_kind(command)
    assert run_recipe(command, ["demo", "--help"]) == 0
    out = capsys.readouterr().out
    listed = [key for keys in keys_of(kind).values() for key in keys]
    assert {key.name for key in listed} == set(kind.known_keys())
    for key in listed:
        assert f"  --{key.name}  {key.takes}" in out
        assert key.takes
        assert len(key.meaning) > 8, f"{key.name} has no help text"


def test_types_and_defaults_are_those_of_the_classes():
    shown = {key.name: key for keys in keys_of(recipe_kind("finetune")).values() for key in keys}
    assert shown["train_beton"].default == "", "it has to be given"
    assert (shown["crop_scale"].takes, shown["crop_scale"].default) == (
        "number number, above 0 and at most 1", "0.08 1"
    )  # fmt: skip
    assert (shown["pooling"].takes, shown["pooling"].default) == ("mean, cls", "mean")
    assert (shown["weight_decay"].takes, shown["weight_decay"].default) == ("number, at least 0", "0.05")
    assert shown["label_smoothing_factor"].default == "0.1"
    assert shown["hub_strategy"].takes == "end, every_save, checkpoint, all_checkpoints"
    assert "base_learning_rate" in shown["learning_rate"].meaning


def test_a_command_without_a_recipe_says_what_it_wants(capsys):
    assert run_recipe("knn", []) == 2
    assert "usage: dailymae knn RECIPE [--key value ...]" in capsys.readouterr().err
