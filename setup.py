"""Builds the crop-decode kernel; everything else is in pyproject.toml.

The kernel is plain C without Python.h: setuptools' Extension only serves as the compiler driver,
and `dailymae_hf._native` opens the result with ctypes.
"""

from glob import glob

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "dailymae_hf._native._kernel",
            sources=sorted(glob("dailymae_hf/_native/**/*.c", recursive=True)),
            depends=sorted(glob("dailymae_hf/_native/**/*.h", recursive=True)),
            include_dirs=["dailymae_hf/_native"],
            libraries=["jpeg", "m"],
            extra_compile_args=[
                *("-std=c11", "-O3", "-g0", "-fvisibility=hidden", "-Wall", "-Wextra"),
                "-ffp-contract=off",  # no product is fused with a sum: every compiler and machine gives the same numbers
            ],
        )
    ]
)
