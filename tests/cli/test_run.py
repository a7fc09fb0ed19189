"""Recipes are started as people start them: as a script, through a launcher, by name through the command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import dailymae_hf
from dailymae_hf.cli.main import main
from dailymae_hf.cli.run import RUNS, ending_on_user_errors
from dailymae_hf.recipe.shipped import find_recipe, shipped_recipes
from dailymae_hf.training.stop_signals import EXIT_PREEMPTED, Preempted

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "recipes").glob("*.py"))
LAUNCH = [str(Path(sys.executable).with_name("accelerate")), "launch", "--num_processes", "1", "--num_machines", "1"]
LAUNCH += ["--mixed_precision", "no", "--dynamo_backend", "no", "--cpu", "--quiet"]
EVALUATE = str(ROOT / "recipes" / "evaluate.py")


@pytest.mark.parametrize(("start", "code"), [([sys.executable, EVALUATE], 2), ([*LAUNCH, EVALUATE], 1)])
def test_a_script_s_folder_hides_no_package_and_a_mistake_is_one_line(tmp_path, start, code):
    """recipes/evaluate.py must not hide the package `evaluate`; tests/test_commands.py runs all to their end."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*start, "nowhere.yaml"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stderr.splitlines()[-1].startswith("RecipeError: nowhere.yaml: no such recipe")
    assert "Traceback" not in done.stderr
    assert done.returncode == code, "a launcher has one code for every failure"


def test_each_script_is_a_command():
    assert {path.stem.replace("_", "-") for path in SCRIPTS} == set(RUNS)


def test_recipes_lists_every_file_with_its_command(capsys):
    assert main(["recipes"]) == 0
    out = capsys.readouterr().out
    files = sorted((ROOT / "recipes" / "configs").rglob("*.yaml"))
    assert len(shipped_recipes()) == len(files) > 10
    for recipe in shipped_recipes():
        assert f"dailymae {recipe.command} {recipe.name}\n" in out
        assert f"recipes/{recipe.command.replace('-', '_')}.py" in recipe.path.read_text(), "as its header says"
        assert len(recipe.about) > 20
    assert main(["recipes", "demo"]) == 0
    assert capsys.readouterr().out == (ROOT / "recipes" / "configs" / "demo.yaml").read_text()


@pytest.mark.parametrize("word", ["demo", "demo.yaml"])
def test_a_name_finds_a_recipe_of_the_package_and_a_file_goes_first(tmp_path, monkeypatch, word):
    monkeypatch.chdir(tmp_path)
    assert find_recipe(word).samefile(ROOT / "recipes" / "configs" / "demo.yaml")
    Path(word).write_text("")
    assert find_recipe(word) == Path(word)


def test_version_is_the_package_s(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"dailymae_hf {dailymae_hf.__version__}\n"


def test_a_run_that_was_asked_to_stop_ends_with_its_status_and_one_line(capsys):
    """75 says "continue me"; a script's own `sys.exit` keeps its meaning."""
    with pytest.raises(SystemExit) as caught, ending_on_user_errors():
        raise Preempted("stopped by SIGTERM at step 3")
    assert caught.value.code == EXIT_PREEMPTED == 75
    assert capsys.readouterr().err == "stopped by SIGTERM at step 3\n"
    with pytest.raises(SystemExit) as caught, ending_on_user_errors():
        raise SystemExit("nothing to do")
    assert (caught.value.code, capsys.readouterr().err) == (1, "nothing to do\n")
