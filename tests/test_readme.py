"""README and docs say nothing that does not run: Python blocks are executed, links lead somewhere.

tests/test_commands.py runs what they print for a shell.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dailymae_hf.recipe.recipe import load_recipe

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]


def blocks(language: str) -> list[tuple[str, str]]:
    """(name, text) of the pages' fenced blocks of a language."""
    return [
        (f"{page.name}-{number}", text)
        for page in PAGES
        for number, text in enumerate(re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S))
    ]


# What the blocks open; the commands that stand before them make it.
USED = (
    "train.beton",
    "validation.beton",
    "packed.beton",
    "outputs/demo/model.safetensors",
    "outputs/demo-downstream/finetune",
)


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in blocks("python")])
def test_python_block_runs(text, newcomer):
    newcomer.need(*USED)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", text]
    done = subprocess.run(command, cwd=newcomer.folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in blocks("yaml")])
def test_yaml_block_is_a_recipe_or_a_part_of_one(text, tmp_path):
    needed = {"train_beton": "train.beton", "output_dir": str(tmp_path)}
    missing = "".join(f"{key}: {value}\n" for key, value in needed.items() if not re.search(f"^{key}:", text, re.M))
    (tmp_path / "recipe.yaml").write_text(text + missing)
    load_recipe(tmp_path / "recipe.yaml", ["--bf16", "false"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    assert [t for t in targets if "://" not in t and not (page.parent / t).exists()] == []
