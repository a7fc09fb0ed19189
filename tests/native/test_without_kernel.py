"""Where the kernel cannot be compiled, the package installs without it and says so at the first .beton."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from dailymae_hf import _native
from dailymae_hf.errors import MissingDependencyError

ROOT = Path(__file__).parents[2]


def test_without_a_compiler_a_wheel_for_every_machine_is_made(tmp_path: Path) -> None:
    """`pip install` of the source: setup.py, with a compiler that does not exist."""
    shutil.copytree(
        ROOT / "dailymae_hf", tmp_path / "dailymae_hf", ignore=shutil.ignore_patterns("*.so", "__pycache__")
    )
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    command = [sys.executable, "setup.py", "--quiet", "bdist_wheel"]
    environment = os.environ | {"CC": "/nonexistent/cc"}
    done = subprocess.run(command, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    [wheel] = (tmp_path / "dist").iterdir()
    assert wheel.name.endswith("-py3-none-any.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "dailymae_hf/py.typed" in names
    assert "dailymae_hf/recipe/configs/demo.yaml" in names
    assert not [name for name in names if name.endswith((".so", ".c", ".h"))]


def test_the_first_beton_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_native, "__file__", str(tmp_path / "__init__.py"))
    _native.load.cache_clear()
    try:
        with pytest.raises(MissingDependencyError, match=r"gcc libc6-dev libjpeg-dev.*pip install --force-reinstall"):
            _native.load()
    finally:
        _native.load.cache_clear()
