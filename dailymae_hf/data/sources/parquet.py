"""Parquet files with images in a column, read with pyarrow alone."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dailymae_hf.data.sources.image_source import Row, SourceOptions
from dailymae_hf.data.sources.labels import number_labels
from dailymae_hf.data.sources.table import IMAGE_COLUMNS, LABEL_COLUMNS, choose_column
from dailymae_hf.errors import MissingDependencyError, RecipeError

_BATCH = 16
_BINARY = ("binary", "large_binary")
_TEXT = ("string", "large_string")


class ParquetImages:
    """Rows of parquet files, file after file; an `ImageSource`.

    The image column holds encoded images, `{bytes, path}` as `datasets` writes it, or paths relative to the file's
    folder. Class names are those that `datasets` has noted in the file, or the sorted values of a text column.

    Raises RecipeError naming the file or the columns, MissingDependencyError without pyarrow.
    """

    def __init__(self, files: Sequence[Path], options: SourceOptions) -> None:
        try:
            import pyarrow
        except ImportError:
            raise MissingDependencyError("parquet files are read with pyarrow: pip install pyarrow") from None
        options.require_no_folders(str(files[0]))
        self.damage = (pyarrow.ArrowException, OSError)
        self.paths = list(files)
        self.group_sizes: list[list[int]] = []  # rows, per file and row group
        schema = None
        for path in self.paths:
            file = self._open(path)
            schema = schema or file.schema_arrow
            if file.schema_arrow.names != schema.names:
                raise RecipeError(f"source: {path} has other columns than {self.paths[0]}")
            self.group_sizes.append([file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)])
        self.features = _noted_features(schema)
        self.image_column = self._choose_image_column(schema, options.image_column)
        self.label_column = self._choose_label_column(schema, options.label_column)
        self.has_labels = self.label_column is not None
        self.class_names: list[str] | None = None
        self.text_numbers: dict[str, int] | None = None
        self.other_files: list[str] = []
        self.count = sum(sum(sizes) for sizes in self.group_sizes)
        if self.count == 0:
            raise RecipeError(f"source: {self.paths[0]} has no rows")
        if self.label_column is not None:
            self._open_labels(self.label_column)

    def _open(self, path: Path) -> Any:
        from pyarrow import parquet

        try:
            return parquet.ParquetFile(path)
        except self.damage as error:
            raise RecipeError(f"source: {path}: {error}") from error

    def _choose_image_column(self, schema: Any, wanted: str | None) -> str:
        if wanted is not None:
            choose_column(schema.names, wanted, (), "image_column")
            chosen: str | None = wanted
        else:
            noted = [name for name, feature in self.features.items() if feature.get("_type") == "Image"]
            structs = [name for name in schema.names if _is_stored_image(schema.field(name).type)]
            named = choose_column(schema.names, None, IMAGE_COLUMNS, "image_column")
            binary = [name for name in schema.names if str(schema.field(name).type) in _BINARY]
            chosen = next(iter([*noted, *structs, *([named] if named else []), *binary]), None)
        if chosen is None:
            raise RecipeError(f"image_column: no image column among {', '.join(schema.names)}; name one")
        kind = schema.field(chosen).type
        if not (_is_stored_image(kind) or str(kind) in (*_BINARY, *_TEXT)):
            raise RecipeError(f"image_column: {chosen!r} holds {kind}, not images")
        return chosen

    def _choose_label_column(self, schema: Any, wanted: str | None) -> str | None:
        if wanted is None:
            return None
        if wanted != "auto":
            return choose_column(schema.names, wanted, (), "label_column")
        classes = [name for name, feature in self.features.items() if feature.get("_type") == "ClassLabel"]
        known = choose_column([name for name in schema.names if name != self.image_column], None, LABEL_COLUMNS, "")
        return known if known in ("label", None) and known else next(iter(classes), known)

    def _open_labels(self, column: str) -> None:
        noted = self.features.get(column, {})
        if noted.get("_type") == "ClassLabel":
            self.class_names = list(noted["names"])
            return
        values: list[Any] = []
        for path in self.paths:
            try:
                values += self._open(path).read(columns=[column]).column(column).to_pylist()
            except self.damage as error:
                raise RecipeError(f"source: {path}: {error}") from error
        _, self.class_names = number_labels(values, f"{self.paths[0]}: {column}")
        if self.class_names is not None:
            self.text_numbers = {name: number for number, name in enumerate(self.class_names)}

    def rows(self, start: int, stop: int | None) -> Iterator[Row]:
        """Rows `start` to `stop`; row groups before and behind them are not read."""
        columns = [self.image_column] + ([self.label_column] if self.label_column else [])
        wanted = range(start, self.count if stop is None else stop)
        first = 0
        for path, sizes in zip(self.paths, self.group_sizes, strict=True):
            file = None
            for group, size in enumerate(sizes):
                if first < wanted.stop and first + size > wanted.start:
                    file = file or self._open(path)
                    batches = file.iter_batches(_BATCH, row_groups=[group], columns=columns)
                    for index, row in enumerate(self._dicts(path, batches), first):
                        if index in wanted:
                            yield self._row(path, row)
                first += size

    def _dicts(self, path: Path, batches: Iterator[Any]) -> Iterator[dict[str, Any]]:
        try:
            for batch in batches:
                yield from batch.to_pylist()
        except self.damage as error:
            raise RecipeError(f"source: {path}: {error}") from error

    def _row(self, path: Path, row: dict[str, Any]) -> Row:
        image, name = row[self.image_column], None
        if isinstance(image, dict):
            name = image.get("path")
            image = name if image["bytes"] is None else image["bytes"]
        if isinstance(image, str):
            name, image = image, str(path.parent / image)
        label = row[self.label_column] if self.label_column else None
        if self.text_numbers is not None:
            label = self.text_numbers[label] if label else None
        elif isinstance(label, str):  # integers written as text
            label = int(label) if label else None
        return Row(image, label, name)


def _is_stored_image(kind: Any) -> bool:
    """Whether a column's type is `{bytes, path}`."""
    fields = {kind.field(i).name: str(kind.field(i).type) for i in range(getattr(kind, "num_fields", 0))}
    return fields.get("bytes") in _BINARY


def _noted_features(schema: Any) -> dict[str, dict[str, Any]]:
    """What `datasets` has noted of the columns; nothing where it has not."""
    try:
        noted = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return {name: feature for name, feature in noted.items() if isinstance(feature, dict) and name in schema.names}
