"""Recipes: one YAML file states a whole run, the command line overrides single keys, every key and type is checked.

Keys are the fields of a few dataclasses side by side, as with transformers' `HfArgumentParser`; a key belongs to one.
"""

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_type_hints

from dailymae_hf.errors import RecipeError
from dailymae_hf.recipe.values import convert, from_word, read_yaml, split_overrides, with_part, yaml_text
from dailymae_hf.training.training_args import DailyMAETrainingArguments


@dataclass
class ModelArguments:
    """The masked autoencoder."""

    model_size: str = "base"
    image_size: int = 224
    patch_size: int | None = None  # None: the size's own, 16 or for huge 14
    mask_ratio: float = 0.75
    model_overrides: dict[str, Any] = field(default_factory=dict)  # any other field of ViTMAEConfig
    # "mae" draws MAE's initial weights, "stock" those that transformers' class draws: for comparisons.
    initialization: Literal["mae", "stock"] = "mae"
    model_name_or_path: str | None = None  # weights to start from instead: a folder or a name on the Hub


@dataclass
class DataArguments:
    """The .beton files and what is done to a training image."""

    # A path, a pattern (train-*.beton) or a list of both: several files are read as one.
    train_beton: str | list[str] = ""
    eval_beton: str | list[str] | None = None
    local_folder: str | None = None  # a disk of this machine: the files are copied there first, once for all ranks
    crop_scale: tuple[float, float] = (0.2, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    hflip: bool = True
    on_error: Literal["raise", "zero"] = "raise"
    image_mean: tuple[float, float, float] | None = None  # None: as measured when the training file was written
    image_std: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        if not self.train_beton:
            raise RecipeError("train_beton is missing: the training file has to be named")


@dataclass
class CallbackArguments:
    """What is measured and drawn during training."""

    online_probe: bool = True
    probe_every_n_steps: int = 1
    probe_every_n_epochs: int = 1
    knn_bank_size: int = 20_000
    reconstruction_every_n_epochs: int = 10
    reconstruction_images: int = 8
    plan: str | None = None  # what `dailymae plan --out` wrote: the run is held beside it

    def __post_init__(self) -> None:
        counts = ("probe_every_n_steps", "probe_every_n_epochs", "knn_bank_size", "reconstruction_images")
        for name in counts:
            if getattr(self, name) < 1:
                raise RecipeError(f"{name}: {getattr(self, name)} is below 1")
        if self.reconstruction_every_n_epochs < 0:
            raise RecipeError(f"reconstruction_every_n_epochs: {self.reconstruction_every_n_epochs} is below 0")


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
    for key, raw in split_overrides(overrides):
        name, *inner = key.split(".")
        _require_known(name, known, "command line")
        if inner:
            values[name] = with_part(values.get(name), inner, from_word(raw, Any, key))
        else:
            values[name] = from_word(raw, known[name], name)
    checked = {key: convert(value, known[key], key) for key, value in values.items()}
    try:
        built = {
            section: cls(**{f.name: checked.pop(f.name) for f in fields(cls) if f.name in checked})
            for section, cls in kind.sections().items()
        }
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from None
    if "output_dir" not in checked:
        raise RecipeError(f"{path}: output_dir is missing: the run has to write somewhere")
    training = get_type_hints(kind)["training"](**checked)
    return kind(**built, training=training, given=checked, named=frozenset(values))


def _require_known(key: str, known: Mapping[str, Any], where: str) -> None:
    if key == "hub_token":
        raise RecipeError(
            f"{where}: hub_token has no place in a recipe: `hf auth login` or the variable HF_TOKEN gives it"
        )
    if key not in known:
        nearest = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)[0]
        raise RecipeError(f"{where}: unknown key {key!r}; the nearest known one is {nearest!r}")
