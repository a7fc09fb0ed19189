"""What a .beton holds, told from its tables: no sample is decoded."""

from typing import Any

import numpy as np

from dailymae_hf.data.beton import MODE_NAMES, Beton
from dailymae_hf.data.shards import BetonSet, BetonSource, open_betons


def inspect_beton(source: BetonSource | Beton) -> dict[str, Any]:
    """Facts about a file, or several read as one, ready for JSON: counts, modes, image sizes in pixels, bytes per
    image, labels, and what its writer noted (`facts`; empty for files of stock ffcv). Raises BetonError as `open_beton`
    does.
    """
    beton = open_betons(source)
    files = beton.files if isinstance(beton, BetonSet) else (beton,)
    images, labels = beton.images, beton.labels
    modes, counts = np.unique(images["mode"], return_counts=True)
    info: dict[str, Any] = {
        "path": str(beton.path),
        "num_samples": len(beton),
        "file_bytes": sum(file.path.stat().st_size for file in files),
        "page_bytes": beton.page_size,
        "fields": {f.name: "dct" if f.is_packed else f.type_id for f in beton.fields},
        "modes": {MODE_NAMES[int(mode)]: int(count) for mode, count in zip(modes, counts, strict=True)},
        "width": _spread(images["width"]),
        "height": _spread(images["height"]),
        "bytes_per_image": _spread(beton.sizes),
        "facts": dict(beton.facts),
    }
    if labels is not None:
        info["num_classes"] = len(np.unique(labels[labels >= 0]))
        info["num_unlabelled"] = int(np.sum(labels < 0))
    return info


def _spread(values: np.ndarray) -> dict[str, float]:
    return {
        "min": int(values.min()),
        "median": float(np.median(values)),
        "mean": round(float(values.mean()), 1),
        "max": int(values.max()),
    }
