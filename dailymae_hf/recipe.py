"""Recipes: one YAML file states a whole run, the command line overrides single keys, every key and type is checked.

Keys are the fields of a few dataclasses side by side, as with transformers' `HfArgumentParser`; a key belongs to one.
YAML is read by version 1.2's rules where 1.1's surprise: `no` is a word and `1e-4` a number.
"""

import argparse
import difflib
import os
import re
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from .errors import DailyMAEError, RecipeError
from .training_args import DailyMAETrainingArguments

RECIPE_NAME = "recipe.yaml"


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


@dataclass(kw_only=True)
class Recipe:
    """A checked recipe; a subclass names the sections that its keys belong to, each a dataclass.

    `training` are the Trainer's arguments, `given` those of them that the file or the command line named.
    """

    training: DailyMAETrainingArguments
    given: dict[str, Any]
    command: str = ""

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
        text = yaml.dump(_plain(self.resolved()), Dumper=_Dumper, sort_keys=False, allow_unicode=True)
        Path(path).write_text(text)


@dataclass(kw_only=True)
class PretrainRecipe(Recipe):
    """What `recipes/pretrain.py` reads."""

    model: ModelArguments
    data: DataArguments
    callbacks: CallbackArguments


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
    values = _read(Path(path))
    known = kind.known_keys()
    for key in values:
        _require_known(key, known, str(path))
    for key, raw in _split_overrides(overrides):
        name, *inner = key.split(".")
        _require_known(name, known, "command line")
        if inner:
            values[name] = _with_part(values.get(name), inner, _first_fit(raw, Any, key))
        else:
            values[name] = _first_fit(raw, known[name], name)
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
    return kind(**built, training=get_type_hints(kind)["training"](**checked), given=checked)


@contextmanager
def exit_on_user_errors() -> Iterator[None]:
    """An entry point's block: what a user can mend ends it with one line instead of a traceback.

    Of several ranks the first that fails has its error repeated at the end by the launcher, which ends the others.
    """
    try:
        yield
    except Exception as error:
        if "TORCHELASTIC_ERROR_FILE" in os.environ:
            from torch.distributed.elastic.multiprocessing.errors import get_error_handler

            get_error_handler().record_exception(error)
        if isinstance(error, DailyMAEError):
            sys.exit(f"{type(error).__name__}: {error}")
        raise


def recipe_from_command_line(kind: type[Kind], description: str | None) -> Kind:
    """The recipe that an entry point was started with: a YAML file, then any of its keys as `--key value`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", help="a YAML file; any key of it can follow as --key value")
    arguments, overrides = parser.parse_known_args()
    return load_recipe(arguments.recipe, overrides, kind)


def _require_known(key: str, known: Mapping[str, Any], where: str) -> None:
    if key == "hub_token":
        raise RecipeError(
            f"{where}: hub_token has no place in a recipe: `hf auth login` or the variable HF_TOKEN gives it"
        )
    if key not in known:
        nearest = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)[0]
        raise RecipeError(f"{where}: unknown key {key!r}; the nearest known one is {nearest!r}")


# ---- types ---------------------------------------------------------------------------------------------------------


def convert(value: Any, annotation: Any, name: str) -> Any:
    """`value` as the type that `annotation` asks for. Only lossless steps: 1 becomes 1.0, a list a tuple.

    Raises:
        RecipeError: the value is of another type; the message names the key, the type wanted and the value.
    """
    for attempt in _alternatives(annotation):
        converted = _convert_one(value, attempt)
        if converted is not MISSING:
            return converted
    wanted = getattr(annotation, "__name__", None) if get_origin(annotation) is None else None
    raise RecipeError(f"{name}: expected {wanted or annotation}, got {value!r} ({type(value).__name__})")


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _convert_one(value: Any, annotation: Any) -> Any:
    """`value` as `annotation`, which is no union; MISSING where it does not fit."""
    plain = get_origin(annotation) or annotation
    if plain in (list, tuple) and isinstance(value, list | tuple):
        return _convert_items(value, plain, get_args(annotation))
    if plain is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value if _fits(value, annotation, plain) else MISSING


def _fits(value: Any, annotation: Any, plain: Any) -> bool:
    if annotation is Any:
        return True
    if plain is Literal:
        return value in get_args(annotation)
    if plain is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if not isinstance(plain, type):
        return False
    return value in [member.value for member in plain] if issubclass(plain, Enum) else isinstance(value, plain)


def _convert_items(value: Sequence[Any], kind: Callable[[Any], Any], arguments: tuple[Any, ...]) -> Any:
    if kind is tuple and arguments and arguments[-1] is not Ellipsis and len(arguments) != len(value):
        return MISSING
    each = [arguments[0]] * len(value) if kind is list or arguments[-1:] == (Ellipsis,) else list(arguments)
    items = []
    for item, annotation in zip(value, each or [Any] * len(value), strict=True):
        converted = next((c for a in _alternatives(annotation) if (c := _convert_one(item, a)) is not MISSING), MISSING)
        if converted is MISSING:
            return MISSING
        items.append(converted)
    return kind(items)


# ---- YAML and command line -----------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """YAML 1.2's booleans and floats, and no key twice."""


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads: strings that only YAML 1.1 takes for booleans need no quotes, others do."""


for _class in (_Loader, _Dumper):
    _class.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":float"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    _class.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(true|True|false|False)$"), list("tTfF"))
    _class.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?((\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.inf|\.nan)$"),
        list("-+0123456789."),
    )


def _mapping_without_duplicates(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key) for key, _ in node.value]
    twice = next((key for i, key in enumerate(keys) if key in keys[:i]), None)
    if twice is not None:
        raise RecipeError(f"line {node.start_mark.line + 1}: the key {twice!r} is given twice")
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_duplicates)


def _parse(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise RecipeError(f"{path}: no such recipe")
    try:
        values = _parse(path.read_text())
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from None
    except yaml.YAMLError as error:
        raise RecipeError(f"{path}: not readable as YAML: {error}") from error
    if not isinstance(values, dict):
        raise RecipeError(f"{path}: a recipe is a mapping of keys to values")
    return values


def _split_overrides(words: Sequence[str]) -> list[tuple[str, str | None]]:
    """`--key value`, `--key=value` and `--flag` as pairs; several words after a key make a YAML list."""
    pairs: list[tuple[str, list[str] | None]] = []
    for word in words:
        if word.startswith("--"):
            key, equals, value = word[2:].partition("=")
            pairs.append((key, [value] if equals else None))
        elif not pairs:
            raise RecipeError(f"command line: {word!r} follows no --key")
        else:
            key, earlier = pairs[-1]
            pairs[-1] = (key, [*(earlier or []), word])
    return [(k, None if v is None else v[0] if len(v) == 1 else f"[{', '.join(v)}]") for k, v in pairs]


def _first_fit(raw: str | None, annotation: Any, name: str) -> Any:
    """A command-line word as YAML, or as the plain string it is where only that fits (`--run_name 7`)."""
    if raw is None:
        return convert(True, annotation, name)
    try:
        value = _parse(raw)
    except yaml.YAMLError:
        value = raw
    try:
        return convert(value, annotation, name)
    except RecipeError:
        if any(_convert_one(raw, attempt) is not MISSING for attempt in _alternatives(annotation)):
            return raw
        raise


def _with_part(whole: Any, path: list[str], value: Any) -> dict[str, Any]:
    head, *rest = path
    base = dict(whole) if isinstance(whole, Mapping) else {}
    base[head] = _with_part(base.get(head), rest, value) if rest else value
    return base


def _plain(value: Any) -> Any:
    """Tuples, enums and paths as what YAML knows."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value
