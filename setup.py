"""Builds the crop-decode kernel; everything else is in pyproject.toml.

The kernel is plain C without Python.h: setuptools' Extension only serves as the compiler driver,
and `dailymae_hf._native` opens the result with ctypes. One file, and one wheel, serves every Python.
"""

from glob import glob
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext


class BuildKernel(build_ext):
    def finalize_options(self) -> None:
        super().finalize_options()
        for extension in self.extensions:
            # Without a compiler or jpeglib.h `pip install` succeeds without the kernel; `build_ext --inplace` says why.
            extension.optional = not self.inplace

    def get_ext_filename(self, fullname: str) -> str:
        return str(Path(*fullname.split(".")).with_suffix(".so"))  # no Python's version, no platform


class KernelWheel(bdist_wheel):
    def get_tag(self) -> tuple[str, str, str]:
        _, _, platform = super().get_tag()
        kernels = self.get_finalized_command("build_ext").get_outputs()
        return "py3", "none", platform if all(map(Path.exists, map(Path, kernels))) else "any"


setup(
    cmdclass={"build_ext": BuildKernel, "bdist_wheel": KernelWheel},
    ext_modules=[
        Extension(
            "dailymae_hf._native._kernel",
            sources=sorted(glob("dailymae_hf/_native/**/*.c", recursive=True)),
            depends=sorted(glob("dailymae_hf/_native/**/*.h", recursive=True)),
            include_dirs=["dailymae_hf/_native"],
            libraries=["jpeg", "m"],
            extra_compile_args=[
                *("-std=c11", "-O3", "-g0", "-fvisibility=hidden", "-Wall", "-Wextra"),
                "-ffp-contract=off",  # no product is fused with a sum: all machines give the same numbers
            ],
        )
    ],
)
