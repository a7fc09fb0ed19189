"""`dailymae pretrain`, `finetune`, ...: a recipe, any of its keys after it, and the run that they say.

The scripts in recipes/ start here as well, so that both are one and the same.
"""

import os
import pickle
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from dailymae_hf.errors import DailyMAEError


class Run(NamedTuple):
    """A command that runs a recipe: one sentence about it, its module in `dailymae_hf.recipe`, and the recipe's class.

    The module has `run(recipe)` and `summary(recipe, result)`; importing it takes torch and seconds.
    """

    about: str
    module: str
    kind: str


RUNS = {
    "pretrain": Run("pretrain a masked autoencoder", "pretrain", "PretrainRecipe"),
    "finetune": Run("fine-tune a classifier", "finetune", "FinetuneRecipe"),
    "linear-probe": Run("train a linear probe on a frozen encoder", "linear_probe", "LinearProbeRecipe"),
    "knn": Run("score frozen features by nearest neighbours; nothing is trained", "knn", "KnnRecipe"),
    "evaluate": Run("score a classifier on files, other qualities and originals", "evaluate", "EvaluationRecipe"),
    "segment": Run("segment images with a linear head on patch tokens", "segment", "SegmentationRecipe"),
}


def run_recipe(name: str, words: Sequence[str]) -> int:
    """Run the recipe that `words` name, as command `name`; returns the exit code."""
    if not words:
        print(f"{_usage(name)}; `dailymae recipes` lists some, --help every key", file=sys.stderr)
        return 2
    if {"-h", "--help"} & set(words):
        print(_help(name))
        return 0
    with ending_on_user_errors():
        from dailymae_hf.recipe.recipe import load_recipe
        from dailymae_hf.recipe.shipped import find_recipe

        module: Any = import_module(f"dailymae_hf.recipe.{RUNS[name].module}")
        from dailymae_hf.training.ranks import ending_together

        with ending_together():
            recipe = load_recipe(find_recipe(words[0]), words[1:], recipe_kind(name))
            result = module.run(recipe)
    if recipe.training.process_index == 0:
        print(module.summary(recipe, result), flush=True)
    return 0


def run_script(name: str) -> NoReturn:
    """The whole of a script in recipes/: command `name` on this process's arguments.

    Python puts a script's folder first on the path, where evaluate.py would hide the package `evaluate`.
    """
    folder = Path(sys.argv[0]).resolve().parent
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != folder]
    end_process(run_recipe(name, sys.argv[1:]))


def end_process(code: int) -> NoReturn:
    """End this process; where it is one of several ranks, without the interpreter's teardown."""
    if "torch" in sys.modules:
        from dailymae_hf.training.ranks import leave_rank

        leave_rank(code)
    sys.exit(code)


@contextmanager
def ending_on_user_errors() -> Iterator[None]:
    """What a user can mend ends the process with one line and exit code 2 instead of a traceback.

    Of several ranks the first that fails has its error repeated at the end by the launcher, which ends the others.
    """
    try:
        yield
    except Exception as error:
        if "TORCHELASTIC_ERROR_FILE" in os.environ:
            from dailymae_hf.training.ranks import tell_launcher

            tell_launcher(error)
        if isinstance(error, DailyMAEError | OSError):
            print(f"{type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
            end_process(2)
        if isinstance(error, pickle.UnpicklingError):  # torch's own words advise to load it whatever it does
            print("a file of the checkpoint holds other objects than weights; it was not opened", file=sys.stderr)
            end_process(2)
        raise
    except KeyboardInterrupt:
        print("interrupted: --resume_from_checkpoint auto continues from the last checkpoint", file=sys.stderr)
        end_process(128 + signal.SIGINT)
    except SystemExit as stopped:  # a run that was asked to stop; what it left is whole
        if str(stopped):
            print(stopped, file=sys.stderr)
        end_process(stopped.code if isinstance(stopped.code, int) else 1)


def recipe_kind(name: str) -> Any:
    """The class of the recipes that command `name` reads."""
    return getattr(import_module(f"dailymae_hf.recipe.{RUNS[name].module}"), RUNS[name].kind)


def _usage(name: str) -> str:
    return f"usage: dailymae {name} RECIPE [--key value ...]"


def _help(name: str) -> str:
    from dailymae_hf.recipe.key_list import key_text

    about = RUNS[name].about
    return (
        f"{_usage(name)}\n\n{about[0].upper()}{about[1:]}.\n"
        "RECIPE is a YAML file, or the name of one that `dailymae recipes` lists. Any key can follow it, parts of a\n"
        "mapping as --key.part value. Defaults are in brackets.\n"
        f"{key_text(recipe_kind(name))}"
    )
