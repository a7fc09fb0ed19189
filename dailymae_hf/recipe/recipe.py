"""Recipes: one YAML file states a whole run, the command line overrides single keys, every key and type is checked.

Keys are the fields of a few dataclasses side by side, as with transformers' `HfArgumentParser`; a key belongs to one.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from dailymae_hf.errors import RecipeError
from dailymae_hf.recipe.arguments import CallbackArguments, DataArguments, ModelArguments
from dailymae_hf.recipe.nearest import nearest_key
from dailymae_hf.recipe.values import convert, from_words, read_yaml, split_overrides, with_part, yaml_text
from dailymae_hf.training.training_args import DailyMAETrainingArguments


@dataclass(kw_only=True)
class Recipe:
    """A checked recipe; a subclass names the sections that its keys belong to, each a dataclass.

    `training` are the Trainer's arguments, `given` those of them that the file or the command line named, and `named`
    every key of any section that they named.
    """

    training: DailyMAETrainingArguments
    given: dict[str, Any]
    named: frozenset[str] = frozenset()

    @classmethod
    def sections(cls) -> dict[str, type]:
        """The sections besides `training`, by the name of their attribute."""
        hints = get_type_hints(cls)
        return {f.name: hints[f.name] for f in fields(cls) if f.name != "training" and is_dataclass(hints[f.name])}

    @classmethod
    def known_keys(cls) -> dict[str, Any]:
        """Every key that a recipe of this kind may have, with its type."""
        known: dict[str, Any] = {}
        for section in (*cls.sections().values(), get_type_hints(cls)["training"]):
            hints = get_type_hints(section)
            known |= {f.name: hints[f.name] for f in fields(section) if f.init}
        # `true` continues from the newest checkpoint; the stock field is a string, which `train` takes as a folder.
        known.pop("hub_token")  # recipes are saved, pushed and passed around
        return known | {"resume_from_checkpoint": str | bool | None}

    def resolved(self) -> dict[str, Any]:
        """Every key of the sections, and the training keys that were given: the same run again."""
        keys: dict[str, Any] = {}
        for section in self.sections():
            keys |= asdict(getattr(self, section))
        return keys | self.given

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `resolved()` as YAML that `load_recipe` reads back to the same recipe."""
        Path(path).write_text(yaml_text(self.resolved()))


@dataclass(kw_only=True)
class PretrainRecipe(Recipe):
    """What `recipes/pretrain.py` reads."""

    model: ModelArguments
    data: DataArguments
    callbacks: CallbackArguments

    def resolved(self) -> dict[str, Any]:
        keys = super().resolved()
        if (
            self.model.model_name_or_path
        ):  # a checkpoint has its own sizes: defaults that nobody named are not the run's
            unused = {f.name for f in fields(ModelArguments)} - self.named - {"model_name_or_path"}
            keys = {name: value for name, value in keys.items() if name not in unused}
        return keys


Kind = TypeVar("Kind", bound=Recipe)


def load_recipe(
    path: str | os.PathLike[str],
    overrides: Sequence[str] = (),
    kind: type[Kind] = PretrainRecipe,  # type: ignore[assignment]
) -> Kind:
    """Read a recipe and apply command-line overrides (`--key value`, `--key=value`, `--key.part value`, `--flag`).

    Raises:
        RecipeError: the file cannot be read as a mapping, a key is unknown (the nearest known one is named) or given
            twice, a value has the wrong type, or a required key is missing.
    """
    values = read_yaml(Path(path))
    known = kind.known_keys()
    for key in values:
        _require_known(key, known, str(path))
    for key, words in split_overrides(overrides):
        name, *inner = key.split(".")
        _require_known(name, known, "command line")
        if inner:
            values[name] = with_part(values.get(name), inner, from_words(words, Any, key))
        else:
            values[name] = from_words(words, known[name], name)
    return _checked(kind, values, str(path))


def make_recipe(kind: type[Kind] = PretrainRecipe, **keys: Any) -> Kind:  # type: ignore[assignment]
    """A recipe of Python values instead of a file, checked alike: what notebooks start from.

    Raises:
        RecipeError: as `load_recipe`.
    """
    known = kind.known_keys()
    for key in keys:
        _require_known(key, known, "make_recipe")
    return _checked(kind, keys, "make_recipe")


def _checked(kind: type[Kind], values: Mapping[str, Any], where: str) -> Kind:
    known = kind.known_keys()
    checked = {key: convert(value, known[key], key) for key, value in values.items()}
    built = {
        section: cls(**{f.name: checked.pop(f.name) for f in fields(cls) if f.name in checked})
        for section, cls in kind.sections().items()
    }
    if "output_dir" not in checked:
        raise RecipeError(f"{where}: output_dir is missing: the run has to write somewhere")
    training = get_type_hints(kind)["training"](**checked)
    return kind(**built, training=training, given=checked, named=frozenset(values))


def _require_known(key: str, known: Mapping[str, Any], where: str) -> None:
    if key == "hub_token":
        raise RecipeError(
            f"{where}: hub_token has no place in a recipe: `hf auth login` or the variable HF_TOKEN gives it"
        )
    if key not in known:
        nearest = nearest_key(str(key), known)
        hint = f"; the nearest known one is {nearest!r}" if nearest else "; --help lists those there are"
        raise RecipeError(f"{where}: unknown key {key!r}{hint}")
