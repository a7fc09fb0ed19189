"""One storage mode into another, without loss: the coefficients stay what they are."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dailymae_hf import __version__
from dailymae_hf._native import codec
from dailymae_hf.data.beton import Beton, open_beton
from dailymae_hf.data.beton_writer import BetonOutput
from dailymae_hf.data.modes import MODES, MODES_BY_NUMBER
from dailymae_hf.data.workers import available_cores, ordered_map
from dailymae_hf.errors import BetonError, CorruptSampleError, RecipeError

_CHUNK = 32


def convert_beton(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    mode: str,
    *,
    workers: int | None = None,
    progress: bool = True,
) -> int:
    """Write `target` with the samples of `source` stored as `mode`, "jpg" or "dct"; returns how many there are.

    Every coefficient stays the same. JPEGs that are stored as such get restart markers and upright orientation. What
    cannot be packed (CMYK) stays a JPEG, and raw pixels stay raw.

    Raises:
        RecipeError: an unknown mode, or `workers` is no positive number.
        BetonError: `source` is damaged or has fields beside the image and an integer.
        CorruptSampleError: a damaged sample, named.
    """
    if mode not in MODES or mode == "raw":
        raise RecipeError(f"mode: {mode!r} is none of {', '.join(name for name in MODES if name != 'raw')}")
    if workers is not None and workers < 1:
        raise RecipeError(f"workers: {workers} is not a number of processes")
    beton = open_beton(source)
    kept = [beton.image_field] + ([beton.label_field] if beton.label_field else [])
    lost = [field.name for field in beton.fields if field not in kept]
    if lost:
        raise BetonError(f"{source}: has fields that would be lost: {', '.join(lost)}")
    total = len(beton)
    with (
        beton.path.open("rb") as stream,
        BetonOutput(
            target, total, field_magic=MODES[mode].field_magic, with_labels=beton.label_field is not None
        ) as output,
        tqdm(total=total, unit=" images", desc=f"convert {Path(target).name}", disable=not progress) as bar,
    ):

        def tasks() -> Iterator[tuple[Any, ...]]:
            for start in range(0, total, _CHUNK):
                indices = range(start, min(start + _CHUNK, total))
                yield [(int(beton.images["mode"][i]), beton.read(stream, i)) for i in indices], mode

        index = 0
        for chunk in ordered_map(convert_chunk, tasks(), min(workers or available_cores(), -(-total // _CHUNK))):
            for stored, data in chunk:
                if isinstance(data, str):
                    raise CorruptSampleError(f"{source}: sample {index}: {data}")
                _append(output, beton, index, stored, data)
                index += 1
            bar.update(len(chunk))
        facts = dict(beton.facts) | {"mode": mode, "converted_by": f"dailymae_hf {__version__}"}
        output.commit(facts)
    return total


def convert_chunk(samples: list[tuple[int, bytes]], mode: str) -> list[tuple[int, bytes | str]]:
    """(storage mode, bytes) pairs in `mode`; for a damaged sample the bytes are a string that says why."""
    results: list[tuple[int, bytes | str]] = []
    for stored, data in samples:
        try:
            results.append(_convert(stored, data, mode))
        except CorruptSampleError as error:
            results.append((stored, str(error)))
    return results


def _convert(stored: int, data: bytes, mode: str) -> tuple[int, bytes]:
    source, target = MODES_BY_NUMBER[stored], MODES[mode]
    if source is target and mode != "jpg":
        return stored, data
    jpeg = source.to_jpeg(data)
    if jpeg is None or (source is MODES["jpg"] and not codec.jpeg_header(jpeg).can_carry_over):
        return stored, data
    converted = jpeg if mode == "jpg" and source is not target else target.from_jpeg(jpeg)
    return (stored, data) if converted is None else (target.number, converted)


def _append(output: BetonOutput, beton: Beton, index: int, stored: int, data: bytes) -> None:
    _, width, height, _ = beton.images[index].item()
    label = None if beton.labels is None else int(beton.labels[index])
    output.append(stored, width, height, data, label)
