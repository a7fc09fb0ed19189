"""Values of a recipe: read from YAML and from command-line words, as the types that its keys ask for.

YAML is read by version 1.2's rules where 1.1's surprise: `no` is a word and `1e-4` a number.
"""

import re
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import yaml

from dailymae_hf.errors import RecipeError


def convert(value: Any, annotation: Any, name: str) -> Any:
    """`value` as the type that `annotation` asks for. Only lossless steps: 1 becomes 1.0, a list a tuple.

    Raises:
        RecipeError: the value is of another type; the message names the key, the type wanted and the value.
    """
    for attempt in _alternatives(annotation):
        converted = _convert_one(value, attempt)
        if converted is not MISSING:
            return converted
    wanted = " or ".join(_in_words(a, value) for a in _alternatives(annotation) if a is not types.NoneType)
    raise RecipeError(f"{name}: expected {wanted}, got {value!r}")


_IN_WORDS = {int: "a whole number", bool: "true or false", str: "text", dict: "keys and values: {key: value}"}
_COUNTS = {2: "two", 3: "three"}


def _in_words(annotation: Any, value: Any) -> str:
    """What a key takes, with an example made of a value that nearly is one: `two numbers, such as 0.2 1.0`."""
    plain, inner = _plain_type(annotation), get_args(annotation)
    if plain is float:
        meant = _number_with_comma(value)
        return "a number" if meant is None else f"a number, such as {meant}"
    if plain is tuple and inner[:1] == (float,) and inner[-1] is not Ellipsis:
        items = value if isinstance(value, list) else [value]
        first = next((item for item in items if isinstance(item, float)), 0.2)
        example = " ".join([f"{first:g}", *["1.0"] * (len(inner) - 1)])
        return f"{_COUNTS.get(len(inner), len(inner))} numbers, such as {example}"
    if plain in (list, tuple):
        return "a list: [first, second]"
    if plain is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if isinstance(plain, type) and issubclass(plain, Enum):
        return f"one of {', '.join(str(member.value) for member in plain)}"
    return _IN_WORDS.get(plain, getattr(plain, "__name__", str(plain)))


def _number_with_comma(value: Any) -> str | None:
    """`0.00015` of `1,5e-4`."""
    if not isinstance(value, str) or "," not in value:
        return None
    try:
        return f"{float(value.replace(',', '.')):g}"
    except ValueError:
        return None


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _plain_type(annotation: Any) -> Any:
    return get_origin(annotation) or annotation


def _convert_one(value: Any, annotation: Any) -> Any:
    """`value` as `annotation`, which is no union; MISSING where it does not fit."""
    plain = _plain_type(annotation)
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


_DEEPEST = 20  # lists and mappings inside each other; a recipe has four


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
    """The value of a YAML text. What is nested beyond any use, or repeats itself inside itself, is refused at once."""
    depth, words = 0, set()
    for event in yaml.parse(text, Loader=_Loader):
        line = event.start_mark.line + 1
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise RecipeError(f"line {line}: nested more than {_DEEPEST} deep")
        if isinstance(event, yaml.ScalarEvent):
            words.add(event.anchor)
        elif isinstance(event, yaml.AliasEvent) and event.anchor not in words:
            raise RecipeError(f"line {line}: *{event.anchor} stands for a list or mapping; write it out")
    try:
        return yaml.load(text, Loader=_Loader)
    except (ValueError, TypeError, OverflowError, AttributeError) as error:  # of a date, or behind a type's name
        if isinstance(error, RecipeError | yaml.YAMLError):
            raise
        raise RecipeError(f"a value is not what its form or its tag says: {error}") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """Keys and values of a YAML file. Raises RecipeError if it is missing or no mapping; the message names it."""
    if not path.is_file():
        raise RecipeError(f"{path}: no such recipe")
    text = ""
    try:
        text = path.read_text(encoding="utf-8")
        values = _parse(text)
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: byte {error.start} is not UTF-8 text") from None
    except yaml.YAMLError as error:
        raise RecipeError(f"{path}: not readable as YAML: {_hint_of_equals(text)}{error}") from error
    if not isinstance(values, dict):
        raise RecipeError(f"{path}: {_hint_of_equals(text)}a recipe is a mapping of keys to values, key: value")
    return values


def _hint_of_equals(text: str) -> str:
    """`line 3: write model_size: tiny; ` for the first line that sets a key as TOML and Python do."""
    for number, line in enumerate(text.splitlines(), start=1):
        found = re.fullmatch(r"\s*(\w+)\s*=\s*(.*)", line)
        if found:
            return f"line {number}: write {found[1]}: {found[2]}, with a colon; "
    return ""


def split_overrides(words: Sequence[str]) -> list[tuple[str, list[str]]]:
    """`--key value`, `--key=value`, `--flag` and `--key several values` as pairs of the key and its words."""
    pairs: list[tuple[str, list[str]]] = []
    for word in words:
        if word.startswith("--"):
            key, equals, value = word[2:].partition("=")
            pairs.append((key, [value] if equals else []))
        elif not pairs:
            raise RecipeError(f"command line: {word!r} follows no --key")
        else:
            pairs[-1][1].append(word)
    return pairs


def from_words(words: Sequence[str], annotation: Any, name: str) -> Any:
    """What a command line says of a key: true without a word, the value of one, a list of several.

    Raises:
        RecipeError: the value is of another type, or there are several words for a key that takes one.
    """
    if not words:
        return convert(True, annotation, name)
    takes_several = any(plain in (Any, list, tuple) for plain in map(_plain_type, _alternatives(annotation)))
    if len(words) > 1 and not takes_several:
        text = " ".join(words)
        raise RecipeError(f"{name}: takes one value, and {len(words)} words follow it; with quotes, {text!r} is one")
    if len(words) == 1:
        try:
            return _from_word(words[0], annotation, name)
        except RecipeError:
            if not takes_several or isinstance(_value_of(words[0]), list):
                raise
    try:
        return convert([_value_of(word) for word in words], annotation, name)
    except RecipeError as error:
        try:
            return convert(list(words), annotation, name)
        except RecipeError:
            raise error from None


def _from_word(word: str, annotation: Any, name: str) -> Any:
    """A word as YAML, or as the plain string it is where only that fits (`--run_name 7`)."""
    try:
        return convert(_value_of(word), annotation, name)
    except RecipeError:
        if any(_convert_one(word, attempt) is not MISSING for attempt in _alternatives(annotation)):
            return word
        raise


def _value_of(word: str) -> Any:
    try:
        return _parse(word)
    except (yaml.YAMLError, RecipeError):
        return word


def with_part(whole: Any, path: list[str], value: Any) -> dict[str, Any]:
    """The mapping `whole` with `value` at the keys `path`, one inside the other."""
    head, *rest = path
    base = dict(whole) if isinstance(whole, Mapping) else {}
    base[head] = with_part(base.get(head), rest, value) if rest else value
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


def yaml_text(values: Mapping[str, Any]) -> str:
    """YAML that `read_yaml` reads back to the same values, tuples as lists."""
    return yaml.dump(_plain(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True)
