"""Photographs -> .beton -> batches. Names are imported when first used, so that none of this needs ffcv until then."""

from importlib import import_module
from typing import Any

_HOME = {
    "BetonLoader": "loader",
    "CropDecodeCenterCrop": "decode",
    "CropDecodeRandomResizedCrop": "decode",
    "PackedDCTField": "fields",
    "convert_beton": "convert",
    "inspect_beton": "beton",
    "verify_beton": "verify",
    "write_beton": "writer",
}

__all__ = [
    "BetonLoader",
    "CropDecodeCenterCrop",
    "CropDecodeRandomResizedCrop",
    "PackedDCTField",
    "convert_beton",
    "inspect_beton",
    "verify_beton",
    "write_beton",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
