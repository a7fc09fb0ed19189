"""Every command that README, docs, recipes, launcher configurations, model cards and error messages print."""

import ast
import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PROGRAMS = ("make", "dailymae", "accelerate", "python", "sbatch", "apt-get", "git", "hf", "pip", "torchrun", "mkdir")
_STARTS = re.compile(rf"(?:{'|'.join(PROGRAMS)})\s")
_INLINE = re.compile(rf"`((?:{'|'.join(PROGRAMS)})(?: [^`\n]*)?)`")

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md")), *sorted(ROOT.glob("model_cards/**/*.md"))]
_RECIPES = [*sorted(ROOT.glob("recipes/configs/**/*.yaml")), *sorted(ROOT.glob("recipes/*.py"))]
_LAUNCHERS = [
    *sorted(ROOT.glob("accelerate_config*/*.yaml")),
    ROOT / "accelerate_config.yaml",
    *sorted((ROOT / "recipes" / "slurm").iterdir()),
]
_SOURCES = [*sorted(ROOT.glob("dailymae_hf/**/*.py")), *sorted(ROOT.glob("dailymae_hf/hub/templates/*.md"))]


class Printed(NamedTuple):
    """A command and the file that prints it."""

    words: tuple[str, ...]
    where: str

    @property
    def text(self) -> str:
        return shlex.join(self.words)


def commands() -> list[Printed]:
    """Commands that stand on lines of their own, to be typed as they are: each once, in the order of the pages."""
    found: dict[tuple[str, ...], str] = {}
    for path in [*PAGES, *_RECIPES, *_LAUNCHERS]:
        for line in _lines(path):
            for part in line.split("&&"):
                words = _words(part)
                if words:
                    found.setdefault(words, str(path.relative_to(ROOT)))
    return [Printed(words, where) for words, where in found.items()]


def mentions() -> list[Printed]:
    """Commands that sentences name, with or without all that they need: each once."""
    found: dict[tuple[str, ...], str] = {}
    for path in [*PAGES, *_RECIPES, *_LAUNCHERS, *_SOURCES]:
        for text in _sentences(path):
            for inline in _INLINE.findall(text):
                words = _words(inline)
                if words and not any("{" in word or "%" in word for word in words[1:2]):
                    found.setdefault(words, str(path.relative_to(ROOT)))
    return [Printed(words, where) for words, where in found.items()]


def _lines(path: Path) -> list[str]:
    text = path.read_text().replace("\\\n", "\\")
    if path.suffix == ".md":
        blocks = re.findall(r"^```(?:bash|sh|console)\n(.*?)^```", text, re.M | re.S)
        lines = "\n".join(blocks).splitlines()
    elif path.suffix == ".py":
        lines = (ast.get_docstring(ast.parse(path.read_text())) or "").replace("\\\n", "\\").splitlines()
    else:
        lines = [line.lstrip("#") for line in text.splitlines() if line.startswith("#")]
    joined = [re.sub(r"\\[#\s]*", " ", line).strip() for line in lines]
    return [line for line in joined if _STARTS.match(line)]


def _sentences(path: Path) -> list[str]:
    """The whole of a page; of a source file what its strings say, docstrings among them."""
    if path.suffix != ".py":
        return [path.read_text()]
    nodes = ast.walk(ast.parse(path.read_text()))
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def _words(line: str) -> tuple[str, ...]:
    plain = re.sub(r"\s\[--key value \.\.\.\]", "", line)
    return tuple(shlex.split(plain, comments=True))
