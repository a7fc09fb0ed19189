"""A package that only a part of the work needs is asked for by the name of its extra."""

import re
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
