"""Photographs -> .beton -> batches. Names are imported when first used, so that none of this needs ffcv until then."""

from dailymae_hf._lazy import lazy_names

_HOME = {
    "BetonLoader": "loader",
    "CropDecodeCenterCrop": "ffcv_ext.operations",
    "CropDecodeRandomResizedCrop": "ffcv_ext.operations",
    "PackedDCTField": "ffcv_ext.fields",
    "convert_beton": "convert",
    "inspect_beton": "inspect",
    "verify_beton": "verify",
    "write_beton": "write",
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
