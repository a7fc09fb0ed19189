"""A package that only a part of the work needs is asked for by the name of its extra."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from dailymae_hf.errors import EXTRAS, MissingDependencyError, extra

ROOT = Path(__file__).parents[1]


def test_a_missing_package_names_the_extra() -> None:
    message = r"pictures: matplotlib is not installed: pip install 'dailymae-hf\[plots\]'"
    with pytest.raises(MissingDependencyError, match=message), extra("plots", "pictures"):
        raise ModuleNotFoundError("No module named 'matplotlib.figure'", name="matplotlib.figure")


def test_a_fault_inside_a_package_stays_what_it_is() -> None:
    with pytest.raises(ModuleNotFoundError, match="kiwisolver"), extra("plots", "pictures"):
        raise ModuleNotFoundError("No module named 'kiwisolver'", name="kiwisolver")


def test_every_extra_of_the_errors_is_one_that_pip_knows() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for name, packages in EXTRAS.items():
        assert set(packages) == {re.split("[<>=]", requirement)[0] for requirement in extras[name]}


LEFT_OUT = ("datasets", "evaluate", "matplotlib", "tensorboard", "ffcv", "numba", "cv2", "pyarrow", "pandas", "onnx")


def test_training_imports_nothing_that_a_bare_install_lacks() -> None:
    """What `dailymae pretrain` imports, without any optional package."""
    script = f"""
import sys
from importlib.machinery import PathFinder

class Bare(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {LEFT_OUT!r} else PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Bare
import dailymae_hf.cli.main
from dailymae_hf import BetonLoader, DailyMAEForPreTraining, DailyMAETrainer, DailyMAETrainingArguments, write_beton
import dailymae_hf.recipe.pretrain, dailymae_hf.recipe.measure, dailymae_hf.hub.card, dailymae_hf.hub.push
from dailymae_hf.recipe.build import can_draw
assert not can_draw()
print("imported")
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, cwd=ROOT, env=environment
    )
    assert done.stdout == "imported\n", done.stderr[-2000:]
