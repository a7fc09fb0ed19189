"""README and docs say nothing that does not run: Python blocks are executed, commands run or are taken apart."""

import importlib
import os
import re
import shlex
import subprocess
import sys
import tarfile
from pathlib import Path

import pyarrow
import pytest
from accelerate.commands.launch import launch_command_parser
from pyarrow import parquet

from dailymae_hf.cli.main import main as dailymae
from dailymae_hf.cli.run import RUNS
from dailymae_hf.downstream.classifier import build_classifier
from dailymae_hf.downstream.trainer import classification_processor
from dailymae_hf.model.image_processors import image_processor
from dailymae_hf.model.modeling import DailyMAEForPreTraining, mae_config
from dailymae_hf.model.plain_vit import write_encoder_beside
from dailymae_hf.recipe.recipe import load_recipe
from scripts.demo_photographs import cut_tiles

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
# Set-up and tools of others: nothing of ours to check in them.
OTHERS = {"apt-get", "git", "hf", "pip"}


def blocks(language: str) -> list[tuple[str, str]]:
    """(name, text) of the pages' fenced blocks of a language."""
    return [
        (f"{page.name}-{number}", text)
        for page in PAGES
        for number, text in enumerate(re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S))
    ]


def commands(*programs: str) -> list[list[str]]:
    """The commands of the pages' shell blocks that start one of `programs` (all without any), as words."""
    found = []
    for _, block in blocks("bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words and (not programs or words[0] in programs):
                found.append(words)
    return found


def list_photographs(folder):
    """The same photographs as a list, as parquet and as a shard."""
    paths = sorted((folder / "photographs/train").glob("*/*.jpg"))
    (folder / "labels.csv").write_text(
        "path,label\n" + "".join(f"{path.relative_to(folder)},{path.parent.name}\n" for path in paths)
    )
    for place in ("data", "shards"):
        (folder / place).mkdir()
    images = [{"bytes": path.read_bytes(), "path": path.name} for path in paths]
    table = pyarrow.table({"image": images, "label": [path.parent.name for path in paths]})
    for split in ("train", "validation"):
        parquet.write_table(table, folder / f"data/{split}-00000-of-00001.parquet")
    with tarfile.open(folder / "shards/train-000000.tar", "w") as tar:
        for path in paths:
            tar.add(path, f"{path.stem}.jpg")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the pages take as given: photographs, the demo's checkpoint; and the .beton files that they write."""
    folder = tmp_path_factory.mktemp("newcomer")
    cut_tiles(folder / "photographs", {"train": 3, "validation": 2})
    list_photographs(folder)
    config = mae_config("tiny", image_size=64, num_hidden_layers=1, decoder_num_hidden_layers=1)
    DailyMAEForPreTraining(config).save_pretrained(folder / "outputs/demo")
    image_processor(64, (0.5,) * 3, (0.25,) * 3).save_pretrained(folder / "outputs/demo")
    write_encoder_beside(folder / "outputs/demo")
    classifier = folder / "outputs/demo-downstream/finetune"
    build_classifier(DailyMAEForPreTraining(config), ["cat", "coffee"]).save_pretrained(classifier)
    classification_processor(64, (0.5,) * 3, (0.25,) * 3).save_pretrained(classifier)
    (folder / "recipes").symlink_to(ROOT / "recipes")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for push in ("hub.push.push_model", "hub.dataset.push_dataset"):  # there is no Hub here
            patch.setattr(f"dailymae_hf.{push}", lambda what, repository, **given: repository)
        for command in commands("dailymae"):
            if "--measure" in command:  # takes a minute, and the demo's files; tests/plan does it with less
                continue
            assert dailymae(command[1:]) in (None, 0), " ".join(command)
    return folder


def test_written_files_are_where_the_pages_use_them(folder):
    assert (folder / "train.beton").is_file()
    assert (folder / "validation.beton").is_file()


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in blocks("python")])
def test_python_block_runs(text, folder):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", text]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_command_is_one_we_know(words):
    assert words[0] in {"make", "dailymae", "accelerate", "python", *OTHERS}


@pytest.mark.parametrize("words", commands("make"), ids=" ".join)
def test_make_target_exists(words):
    targets = re.findall(r"^(\S+):", (ROOT / "Makefile").read_text(), re.M)
    assert [word for word in words[1:] if "=" not in word and word not in targets] == []


@pytest.mark.parametrize("words", commands("accelerate"), ids=" ".join)
def test_launch_command_is_understood(words, monkeypatch):
    """accelerate takes its options, the files are there, and the recipe takes the keys that follow it."""
    monkeypatch.chdir(ROOT)
    launch = launch_command_parser().parse_args(words[2:])
    assert launch.config_file is None or Path(launch.config_file).is_file()
    assert Path(launch.training_script).is_file()
    recipe, *overrides = launch.training_script_args
    # On this machine there may be no device with bf16, which the large recipes ask for.
    load_recipe(recipe, [*overrides, "--bf16", "false", "--output_dir", os.devnull])


@pytest.mark.parametrize("words", commands("python"), ids=" ".join)
def test_recipe_command_is_understood(words, monkeypatch):
    """The entry point is there, and takes the recipe and the keys that follow it."""
    monkeypatch.chdir(ROOT)
    run = RUNS[Path(words[1]).stem.replace("_", "-")]
    kind = getattr(importlib.import_module(f"dailymae_hf.recipe.{run.module}"), run.kind)
    load_recipe(words[2], words[3:], kind)


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
