"""The real timm without torchvision, of which no CPU wheel may be at hand: its models need none of it.

timm is taken from where it is installed, else from the folder `timm` of COMPAT_ENVIRONMENTS, where `make test-compat`
puts it.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import types
from typing import Any

import pytest


class _Anything(type):
    """A class of any name, with any attribute: enough for `import`, subclassing and tables of constants."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return f"{cls.__name__}.{name}"


class _Module(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything(name, (), {})


class _StubTorchvision(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        wanted = fullname.partition(".")[0] == "torchvision"
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True) if wanted else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def import_timm() -> Any:
    """timm, or a skipped test with the reason."""
    if "timm" in sys.modules:
        return sys.modules["timm"]
    folder = os.path.join(os.environ.get("COMPAT_ENVIRONMENTS", ""), "timm")
    if importlib.util.find_spec("timm") is None and not os.path.isdir(folder):
        pytest.skip("timm is not installed; `make test-compat` runs this with it")
    stub = _StubTorchvision()
    finders, paths = list(sys.meta_path), list(sys.path)
    sys.meta_path.append(stub)  # behind the finder of a torchvision that is there
    sys.path.append(folder)
    try:
        return importlib.import_module("timm")
    finally:  # nobody else may take the stub for torchvision
        sys.meta_path[:], sys.path[:] = finders, paths
        for name, module in list(sys.modules.items()):
            if isinstance(module, _Module):
                del sys.modules[name]
