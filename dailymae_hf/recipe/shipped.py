"""The recipes that come with the package: found by name, listed with what each does."""

import difflib
from pathlib import Path
from typing import NamedTuple

from dailymae_hf.errors import RecipeError

CONFIGS = Path(__file__).parent / "configs"
# The folder downstream/ holds the recipes of several commands; the first word of a name says of which.
_COMMANDS = {
    "finetune": "finetune",
    "linear": "linear-probe",
    "knn": "knn",
    "evaluate": "evaluate",
    "segment": "segment",
}


class Shipped(NamedTuple):
    """A recipe of the package: its name, the command that takes it, its file, and one sentence about it."""

    name: str
    command: str
    path: Path
    about: str


def shipped_recipes() -> list[Shipped]:
    """Every recipe of the package, those of pretraining first."""
    found = []
    for path in (*sorted(CONFIGS.glob("*.yaml")), *sorted((CONFIGS / "downstream").glob("*.yaml"))):
        command = "pretrain" if path.parent == CONFIGS else _COMMANDS[path.stem.partition("_")[0]]
        found.append(Shipped(path.stem, command, path, _about(path)))
    return found


def find_recipe(word: str) -> Path:
    """The file that a command line names: a path, or the name of a recipe of the package.

    Raises:
        RecipeError: there is neither; the message names the nearest one beside it or of the package.
    """
    path = Path(word)
    if path.is_file():
        return path
    by_name = {recipe.name: recipe.path for recipe in shipped_recipes()}
    if path.parent == Path() and path.stem in by_name and path.suffix in ("", ".yaml"):
        return by_name[path.stem]
    if path.is_dir():
        raise RecipeError(f"{word}: a folder; a recipe is a YAML file")
    here = [recipe.name for recipe in path.parent.glob("*.yaml")]
    beside = difflib.get_close_matches(path.name if path.suffix else f"{path.name}.yaml", here, n=1, cutoff=0.7)
    nearest = difflib.get_close_matches(path.stem, by_name, n=1, cutoff=0.5)
    hint = f"; the package has a recipe called {nearest[0]}" if nearest else ""
    if beside:
        hint = f"; did you mean {path.parent / beside[0]}?"
    raise RecipeError(f"{word}: no such recipe{hint} (`dailymae recipes` lists them)")


def _about(path: Path) -> str:
    """The first sentence after the command that opens the file."""
    comment = [line.lstrip("#").strip() for line in path.read_text().split("\n\n")[0].splitlines()]
    text = " ".join(comment[comment.index("") + 1 :]) if "" in comment else ""
    sentence, _, _ = text.partition(". ")
    return sentence.rstrip(".") + "."
