"""Every command that is printed anywhere is typed here: run, or taken apart where only its recipe differs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from accelerate.commands.launch import launch_command_parser

from dailymae_hf.cli.main import command_parser
from dailymae_hf.cli.run import RUNS, recipe_kind
from dailymae_hf.recipe.recipe import load_recipe
from dailymae_hf.recipe.shipped import find_recipe
from tests.support.newcomer import LEFT_OUT, really_run, script_of, why_left_out
from tests.support.printed_commands import ROOT, commands, mentions

PRINTED = commands()
RUN = really_run(PRINTED)
TAKEN_APART = [c for c in PRINTED if c not in RUN and why_left_out(c.words) is None]
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))


def ids(command):
    return f"{command.where}: {command.text}"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("command", RUN, ids=ids)
def test_it_runs(newcomer, command):
    done = newcomer.run(command.words)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Traceback" not in done.stderr


def test_the_demo_s_files_are_written_as_make_demo_writes_them(newcomer):
    makefile = (ROOT / "Makefile").read_text().replace("$(demo)", "outputs/demo")
    for words in newcomer.given:
        assert " ".join(words) in makefile
        done = newcomer.run(words)
        assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("command", TAKEN_APART, ids=ids)
def test_it_is_understood(command, monkeypatch):
    """The launcher takes its options, the files are there, and the recipe takes the keys that follow it."""
    monkeypatch.chdir(ROOT)
    words = list(command.words[1:])
    if command.words[0] == "accelerate":
        numbers = [word.replace("R", "0") if word == "R" else word for word in words[1:]]
        launch = launch_command_parser().parse_args(numbers)
        assert launch.config_file is None or Path(launch.config_file).is_file()
        words = [launch.training_script, *launch.training_script_args]
    name = script_of(command.words).replace("_", "-")
    if name in words:  # dailymae NAME, or -m dailymae_hf NAME
        words = words[words.index(name) :]
    else:
        assert Path(words[0]).is_file()
    # On this machine there may be no device with bf16, which the large recipes ask for.
    load_recipe(find_recipe(words[1]), [*words[2:], "--bf16", "false", "--use_cpu", "true"], recipe_kind(name))


@pytest.mark.parametrize("command", [*PRINTED, *mentions()], ids=ids)
def test_what_is_named_is_there(command):
    """A sentence may leave out what a command needs, but its program, file, target and options are there."""
    program, *rest = command.words
    if program == "make":
        assert {word for word in rest if "=" not in word} <= TARGETS
    elif program == "python":
        named = rest[0] if rest[0] != "-m" else rest[1].replace(".", "/")
        assert any((ROOT / place).exists() for place in (named, f"{named}.py"))
    elif program == "dailymae" and rest:
        options = [word for word in rest if word.startswith("--")]
        if rest[0] in RUNS:
            known = {f"--{key}" for key in recipe_kind(rest[0]).known_keys()} | {"--help"}
        else:
            known = set(command_parser(rest[0])._option_string_actions)
        assert {option.partition("=")[0].partition(".")[0] for option in options} <= known
    else:
        assert program in {"accelerate", "dailymae", "sbatch", "hf", "pip", "git", "apt-get", "torchrun", "mkdir"}


@pytest.mark.parametrize("target", sorted(TARGETS & {w for c in [*PRINTED, *mentions()] for w in c.words}))
def test_make_knows_what_it_would_do(target):
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_what_is_left_out_is_still_printed():
    """A reason for a command that nobody prints any more is a line too many."""
    for start in LEFT_OUT:
        assert any(command.words[: len(start)] == start for command in PRINTED), start


def test_every_script_is_printed_and_runs():
    assert {script_of(c.words) for c in RUN} >= {path.stem for path in (ROOT / "recipes").glob("*.py")}


def test_the_interpreter_is_this_one():
    """Commands run with the packages that the tests run with."""
    assert Path(sys.executable).with_name("accelerate").is_file()
