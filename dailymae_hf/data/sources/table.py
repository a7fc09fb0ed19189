"""A list of image files with labels: CSV, TSV, or JSON lines."""

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dailymae_hf.data.sources.image_source import ListedImages, SourceOptions, printable
from dailymae_hf.data.sources.labels import number_labels
from dailymae_hf.errors import RecipeError

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl")
IMAGE_COLUMNS = ("image", "path", "file_name", "filename", "file", "image_path", "filepath", "img")
LABEL_COLUMNS = ("label", "class", "cls", "target", "category", "class_name")


def table_images(path: Path, options: SourceOptions) -> ListedImages:
    """The image files that a table lists, by paths relative to its folder, with its labels.

    The first line of a CSV names the columns, or is the first image where its first cell is a file's path. Labels are
    integers, or text whose sorted values become the classes; an empty one is a missing one.

    Raises RecipeError naming the file and the line or the columns, where it cannot be read.
    """
    options.require_no_folders(str(path))
    try:
        columns, rows = _read_lines(path) if path.suffix == ".jsonl" else _read_csv(path)
    except (csv.Error, ValueError, RecursionError) as error:
        raise RecipeError(f"source: {path}: {error}") from error
    if not rows:
        raise RecipeError(f"source: {path} lists no images")
    image_column = choose_column(columns, options.image_column, IMAGE_COLUMNS, "image_column")
    if image_column is None:
        raise RecipeError(
            f"image_column: none of {path}'s columns {', '.join(columns)} is known to hold paths; name it"
        )
    label_column = None
    if options.label_column is not None:
        wanted = None if options.label_column == "auto" else options.label_column
        label_column = choose_column(columns, wanted, LABEL_COLUMNS, "label_column")
    names = [str(row.get(image_column) or "") for row in rows]
    files = [os.path.join(path.parent, name) for name in names]
    if not any(name and os.path.exists(file) for name, file in zip(names, files, strict=True)):
        raise RecipeError(f"source: {path}: none of its {len(files)} files exists, such as {files[0]}")
    labels, class_names = None, None
    if label_column is not None:
        labels, class_names = number_labels([row.get(label_column) for row in rows], f"{path}: {label_column}")
    return ListedImages(files, [printable(name) for name in names], labels, class_names)


def choose_column(columns: Sequence[str], wanted: str | None, known: Sequence[str], what: str) -> str | None:
    """The column that was asked for, or the first whose name is known. Raises RecipeError where it is not there."""
    if wanted is None:
        return next((column for name in known for column in columns if column.lower() == name), None)
    if wanted not in columns:
        raise RecipeError(f"{what}: no column {wanted!r} among {', '.join(columns)}")
    return wanted


def _read_csv(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        head = stream.readline()
        stream.seek(0)
        delimiter = "\t" if path.suffix == ".tsv" else max(",;\t", key=head.count)
        lines = [(number, cells) for number, cells in enumerate(csv.reader(stream, delimiter=delimiter), 1) if cells]
    if not lines:
        return [], []
    first = [cell.strip() for cell in lines[0][1]]
    if os.path.exists(os.path.join(path.parent, first[0])):
        columns = [*IMAGE_COLUMNS[:1], *LABEL_COLUMNS[:1]][: len(first)]
        columns += [str(number) for number in range(len(columns), len(first))]
    else:
        columns, lines = first, lines[1:]
    for number, cells in lines:
        if len(cells) != len(columns):
            raise ValueError(f"line {number} has {len(cells)} cells, the first has {len(columns)}")
    return columns, [dict(zip(columns, (cell.strip() for cell in cells), strict=True)) for _, cells in lines]


def _read_lines(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    rows = []
    with path.open(encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError(f"line {number} is not a JSON object")
                rows.append(row)
    return list(dict.fromkeys(key for row in rows for key in row)), rows
