"""Decode every sample of a .beton and say which are broken."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dailymae_hf import _native
from dailymae_hf.data.beton import MODE_NAMES, open_beton
from dailymae_hf.data.workers import available_cores
from dailymae_hf.errors import DailyMAEError, RecipeError

_SIDE = 16  # of the decoded thumbnails: all coefficients are read, few pixels are made


@dataclass
class VerifyReport:
    """What `verify_beton` found. `broken` holds (sample index, what is wrong with it), by index."""

    path: Path
    num_samples: int
    broken: list[tuple[int, str]] = field(default_factory=list)


def verify_beton(path: str | os.PathLike[str], *, workers: int | None = None, progress: bool = True) -> VerifyReport:
    """Decode all of every sample, and compare labels with the class names.

    Args:
        path: the file.
        workers: threads; None takes one per available core.
        progress: show a progress bar.

    Raises:
        BetonError: the file's tables are damaged: then no sample can be trusted.
        RecipeError: `workers` is no positive number.
    """
    if workers is not None and workers < 1:
        raise RecipeError(f"workers: {workers} is not a number of threads")
    beton = open_beton(path)
    report = VerifyReport(beton.path, len(beton))
    images, labels, classes = beton.images, beton.labels, beton.class_names

    with beton.path.open("rb") as stream, ThreadPoolExecutor(workers or available_cores()) as pool:

        def check(index: int) -> str | None:
            mode, width, height, _ = images[index].item()
            data = np.frombuffer(beton.read(stream, index), np.uint8)
            try:
                _native.crop_decode(
                    data, (0, 0, width, height), (_SIDE, _SIDE), height=height, width=width, mode=MODE_NAMES[mode]
                )
            except DailyMAEError as error:
                return str(error)
            if labels is not None and classes is not None and labels[index] >= len(classes):
                return f"label {labels[index]}, but there are {len(classes)} classes"
            return None

        results = pool.map(check, range(len(beton)), chunksize=64)
        for index, problem in enumerate(
            tqdm(results, total=len(beton), unit=" images", desc=f"verify {beton.path.name}", disable=not progress)
        ):
            if problem is not None:
                report.broken.append((index, problem))
    return report
