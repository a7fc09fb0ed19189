"""Seeded damage to recipes, in their values and in their text: reading one gives a recipe or raises one of our errors.

    python -m tests.recipe.fuzz_recipe --count 100000 --seed 0

One body, two callers: the tests run some hundreds of inputs, this command as many as a night allows.
"""

import contextlib
import io
import os
import random
import warnings
from pathlib import Path

from dailymae_hf.errors import DailyMAEError
from dailymae_hf.recipe.recipe import PretrainRecipe, load_recipe
from tests.support.fuzz_command import fuzz_command

_START = {
    "model_size": "tiny",
    "train_beton": "train.beton",
    "output_dir": "out",
    "use_cpu": "true",
    "report_to": "none",
}
_VALUES = [
    *("", "null", "~", "true", "no", "0", "-1", "1", "3.5", "1e-3", "1e400", "-1e400", ".nan", ".inf", "0x10", "010"),
    *("9" * 30, "1_000", "12:30:45", "2026-11-24", "2026-11-24T01:02:03Z", "''", '"\\0"', "a b", "[]", "{}", "[1, 2]"),
    *("[0.2, 1.0]", "[1.0, 0.2]", "[a, b, c]", "{a: 1}", "{kind: palindrome, resolutions: [32, 24, 32]}", "[[1], [2]]"),
    *(
        "{kind: palindrome}",
        "{kind: 3}",
        "{? [1] : 2}",
        "&a [*a]",
        "&a {x: *a}",
        "*nowhere",
        "!!binary aGk=",
        "!!set {a}",
    ),
    *("!!python/object/apply:os.getpid []", "!!python/name:os.system", "!!float 1", "!!int x", "!custom 3", "|", ">-"),
    *(
        "'\u2028'",
        "'\U0001f600'",
        "../..",
        "hf://a/../b",
        "hf://",
        "/",
        "nan",
        "inf",
        "-0",
        "+5",
        "0.1.2",
        "%",
        "@x",
        "`",
    ),
    *(
        "[" * 300,
        "{a: " * 300,
        "'" + "x" * 5000 + "'",
        "[" + "1, " * 500 + "]",
        "2**3",
        "None",
        "cuda:7",
        "adamw",
        "steps",
    ),
]
_BYTES = [
    b"\x00",
    b"\xff",
    b"\xfe\xff",
    b"\t",
    b"\r",
    b":",
    b"- ",
    b"#",
    b"\n---\n",
    b"\n...\n",
    b"&x ",
    b"*x",
    b"<<: ",
    b"{",
]
_BYTES += [b"}", b"[", b"]", b"'", b'"', b"|", b"? ", b"!", b"%YAML 9.9\n", b"\xc3", b"\xed\xa0\x80", b"\n", b"  "]


def text_of(draw: random.Random, keys: list[str]) -> bytes:
    """A recipe with up to four values that nobody would write, its text damaged in one of three."""
    lines = dict(_START)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        lines[draw.choice(keys)] = draw.choice(_VALUES)
    text = "".join(f"{key}: {value}\n" for key, value in lines.items()).encode()
    if draw.random() < 0.34:
        for _ in range(draw.choice((1, 2, 5))):
            start = draw.randrange(len(text) + 1)
            new = draw.choice(_BYTES) if draw.random() < 0.7 else bytes([draw.randrange(256)])
            text = text[:start] + new + text[start + draw.choice((0, 0, 1, 3)) :]
    return text


def fuzz(count: int, seed: int, folder: Path) -> int:
    """Run `count` inputs; returns how many were accepted. Raises an error that is not ours, with the input's number."""
    path, keys, accepted = folder / "recipe.yaml", sorted(PretrainRecipe.known_keys()), 0
    environment = dict(os.environ)
    for number in range(count):
        path.write_bytes(text_of(random.Random(f"{seed}/{number}"), keys))
        try:
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")
                load_recipe(path)
            accepted += 1
        except DailyMAEError:
            pass
        except Exception as error:
            raise AssertionError(f"input {number} of seed {seed}: {type(error).__name__}: {error}") from error
        os.environ.clear()  # stock arguments set some
        os.environ.update(environment)
    return accepted


if __name__ == "__main__":
    fuzz_command(__doc__, fuzz)
