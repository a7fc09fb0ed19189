"""Every key of a recipe with its type, default and meaning, from the classes that declare them: text and Markdown."""

import textwrap
import types
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from enum import Enum
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from dailymae_hf.keys import Allowed, default_of
from dailymae_hf.recipe.recipe import Recipe

_MANY = 12  # words beyond this are not listed


class Key(NamedTuple):
    """A key as it is shown: its name, what it takes, its default ("" where it has to be given) and its meaning."""

    name: str
    takes: str
    default: str
    meaning: str


def keys_of(kind: type[Recipe]) -> dict[str, list[Key]]:
    """Title of a section -> its keys, for one kind of recipe; each key once, the Trainer's own last."""
    known = kind.known_keys()
    listed = {}
    training = get_type_hints(kind)["training"]
    for section in (*kind.sections().values(), training):
        title = "The Trainer" if section is training else _first_line(section)
        listed[title] = [_key(section, f, known[f.name]) for f in fields(section) if f.name in known]
    return listed


def _key(section: type, declared: Any, annotation: Any) -> Key:
    allowed = declared.metadata.get("allowed") or _values_beside(section).get(declared.name)
    default = default_of(declared)
    required = declared.name == "output_dir" or (allowed is not None and allowed.required and not default)
    shown = "" if default is MISSING or required else _value(default)
    return Key(declared.name, _takes(annotation, allowed), shown, meaning_of(section, declared.name))


def meaning_of(section: type, name: str) -> str:
    """The help text of a field: its class's own, else that of the nearest base class that gives one.

    Of transformers' texts, which go on to other uses, the first sentence.
    """
    for base in section.__mro__:
        if name not in vars(base).get("__annotations__", {}):
            continue
        declared = next(f for f in fields(base) if f.name == name).metadata.get("help")
        if declared:
            text = " ".join(declared.replace("%%", "%").split())
            return text.split(". ")[0].rstrip(".") + "." if base.__module__.startswith("transformers.") else text
    return ""


def _values_beside(section: type) -> Mapping[str, Allowed]:
    """Bounds of the Trainer's arguments, which stand beside their fields."""
    from dailymae_hf.downstream.training_args import CLASSIFIER_VALUES
    from dailymae_hf.training.stock_arguments import STOCK_VALUES
    from dailymae_hf.training.training_args import OWN_VALUES

    return STOCK_VALUES | OWN_VALUES | CLASSIFIER_VALUES


def _takes(annotation: Any, allowed: Allowed | None) -> str:
    alternatives = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    if allowed is not None and 0 < len(allowed.choices) <= _MANY:
        words = [", ".join(allowed.choices)]
    else:
        enums = [a for a in alternatives if isinstance(a, type) and issubclass(a, Enum)]
        named = [a for a in alternatives if not (enums and a is str)]
        words = [_type_name(a) for a in named if a is not type(None)]
    bounds = allowed.interval() if allowed is not None else ""
    return " or ".join(dict.fromkeys(words)) + (f", {bounds}" if bounds else "")


def _type_name(annotation: Any) -> str:
    plain, inner = get_origin(annotation) or annotation, get_args(annotation)
    if plain is Literal:
        return ", ".join(str(value).lower() for value in inner)
    if isinstance(plain, type) and issubclass(plain, Enum):
        return "text" if len(plain) > _MANY else ", ".join(str(member.value) for member in plain)
    if plain is tuple and inner[-1:] != (Ellipsis,):
        return " ".join(map(_type_name, inner))
    if plain in (list, tuple):
        return f"list of {_type_name(inner[0])}" if inner else "list"
    names = {str: "text", bool: "true or false", int: "whole number", float: "number", dict: "mapping"}
    return names.get(plain, getattr(plain, "__name__", str(plain)))


def _value(value: Any) -> str:
    if value is None or value == "":
        return "none"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, list | tuple):
        return " ".join(map(_value, value)) or "none"
    if isinstance(value, Mapping):
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _first_line(section: type) -> str:
    return (section.__doc__ or section.__name__).strip().splitlines()[0].rstrip(".")


def key_text(kind: type[Recipe], width: int = 100) -> str:
    """The keys as a terminal shows them, by section."""
    lines: list[str] = []
    for title, keys in keys_of(kind).items():
        lines += ["", f"{title}:"]
        for key in keys:
            lines.append(f"  --{key.name}  {key.takes}" + (f"  [{key.default}]" if key.default else "  (required)"))
            lines += textwrap.wrap(key.meaning, width, initial_indent=" " * 8, subsequent_indent=" " * 8)
    return "\n".join(lines)


def key_page(kinds: Mapping[str, type[Recipe]]) -> str:
    """The keys of several commands as a page of Markdown: what is each one's own, then the Trainer's for all."""
    parts = [_INTRODUCTION]
    shared: dict[str, dict[str, Key]] = {}
    for command, kind in kinds.items():
        sections = keys_of(kind)
        shared[command] = {key.name: key for key in sections.pop("The Trainer")}
        parts.append(f"## `dailymae {command}`\n")
        parts += [f"### {title}\n\n{_table(keys)}" for title, keys in sections.items()]
    parts.append(f"## The Trainer's keys, in every recipe\n\n{_table(_merged(shared))}")
    return "\n".join(parts)


_INTRODUCTION = """# Every key of a recipe

A recipe is a YAML file of these keys; each can follow it on the command line, as `--key value`, and parts of a mapping
as `--key.part value`. `dailymae pretrain --help` prints the same list. This page is made from the classes that declare
the keys. A default of "none" means that nothing is set, "required" that the recipe has to say it.
"""


def _merged(shared: Mapping[str, Mapping[str, Key]]) -> list[Key]:
    """The Trainer's keys of all commands, each once: the default of most, and those of the others by name."""
    merged = []
    for name in dict.fromkeys(name for keys in shared.values() for name in keys):
        having = {command: keys[name] for command, keys in shared.items() if name in keys}
        defaults = {command: key.default for command, key in having.items()}
        usual = Counter(defaults.values()).most_common(1)[0][0]
        others = [f"{command} {value}" for command, value in defaults.items() if value != usual]
        key = next(iter(having.values()))
        meaning = key.meaning if len(having) == len(shared) else f"{key.meaning} ({', '.join(having)} only)"
        merged.append(key._replace(default="; ".join([usual, *others]), meaning=meaning))
    return merged


def _table(keys: Iterable[Key]) -> str:
    rows = ["| key | takes | default | meaning |", "|---|---|---|---|"]
    for key in keys:
        cells = (f"`{key.name}`", key.takes, key.default or "required", key.meaning)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"
