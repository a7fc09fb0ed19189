"""Photographs -> .beton -> batches. Names are imported when first used, so that none of this needs ffcv until then."""

from ..lazy import lazy_names

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

__getattr__, __dir__ = lazy_names(__name__, _HOME)
