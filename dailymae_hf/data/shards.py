"""Several .beton files read as one: samples numbered through, bytes mapped into one stretch of memory.

FFCV's engine reads a sample from one array at the place that the sample's record names. So the files are mapped one
behind the other into reserved addresses, and each record's place is moved by where its file begins. Engine, kernel,
order, ranks and resume see one file; nothing is copied, and a page is read when a sample on it is.
"""

import ctypes
import glob
import mmap
import os
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from dailymae_hf.data.beton import Beton, open_beton
from dailymae_hf.data.pixel_statistics import pooled
from dailymae_hf.errors import BetonError

BetonSource = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
_MAP_FIXED = 0x10  # the same on Linux and macOS; Python's mmap module does not name it
_COUNTS = ("carried_over", "skipped", "measured_images", "measured_pixels")


@dataclass(frozen=True)
class BetonSet(Beton):
    """What `Beton` is, over several files. `starts` (len(files) + 1) are the numbers of the files' first samples."""

    files: tuple[Beton, ...]
    starts: np.ndarray = field(repr=False)
    offsets: tuple[int, ...] = field(repr=False)

    def locate(self, index: int) -> tuple[Path, int]:
        """The file that holds a sample, and the sample's number there."""
        place = int(np.searchsorted(self.starts, index, side="right")) - 1
        return self.files[place].path, index - int(self.starts[place])

    def map(self) -> np.ndarray:
        """All files' bytes at their offsets: uint8, read-only; between files lie unmapped addresses nobody is sent to.

        Raises BetonError when the system refuses the addresses or a file was cut, OSError when a file cannot be opened.
        """
        return _map_behind_each_other(self.files, self.offsets)


def is_beton_source(source: Any) -> TypeGuard[BetonSource]:
    """Whether `source` names .beton files: a path, a pattern, or a list of them."""
    if isinstance(source, list | tuple):
        return bool(source) and all(isinstance(entry, str | os.PathLike) for entry in source)
    return isinstance(source, str | os.PathLike)


def name_of(source: Any) -> str:
    """What people call it: the file's or pattern's name, or the first of a list and how many more."""
    if isinstance(source, list | tuple) and source:
        more = f" and {len(source) - 1} more" if len(source) > 1 else ""
        return f"{Path(source[0]).name}{more}"
    return Path(str(source)).name


def find_betons(source: BetonSource) -> list[Path]:
    """The files that a path, a pattern (`train-*.beton`) or a list of both names: patterns in the order of the names.

    Raises BetonError for a pattern that no file matches and for a file named twice.
    """
    found: list[Path] = []
    for entry in [source] if isinstance(source, str | os.PathLike) else source:
        text = os.fspath(entry)
        if os.path.exists(text) or not glob.has_magic(text):
            found.append(Path(text))
            continue
        matches = sorted(glob.glob(text))
        if not matches:
            raise BetonError(f"{text}: no file matches this pattern")
        found.extend(Path(match) for match in matches)
    if not found:
        raise BetonError("no .beton file is named")
    resolved = [path.resolve() for path in found]
    twice = next((path for path in found if resolved.count(path.resolve()) > 1), None)
    if twice is not None:
        raise BetonError(f"{twice}: named twice; its samples would come twice per epoch")
    return found


def open_betons(source: BetonSource | Beton) -> Beton:
    """`open_beton` for a path, a pattern or a list: one file's tables, or those of all files as one `BetonSet`.

    Files written with `dailymae write --shard I/N` are put in the order of I, and all N must be there.

    Raises:
        BetonError: a file is damaged, a shard is missing, or two files do not fit each other (fields, classes).
    """
    if isinstance(source, Beton):
        return source
    paths = find_betons(source)
    files = _in_order([open_beton(path) for path in paths])
    if len(files) == 1:
        return files[0]
    first = files[0]
    for other in files[1:]:
        _require_fit(first, other)
    starts = np.concatenate([[0], np.cumsum([len(file) for file in files])])
    lengths = [file.path.stat().st_size for file in files]
    granularity = mmap.ALLOCATIONGRANULARITY
    offsets = np.concatenate([[0], np.cumsum([-(-length // granularity) * granularity for length in lengths])])
    metadata = np.concatenate([file.metadata for file in files])
    column = metadata[first.image_field.column]
    for i, offset in enumerate(offsets[:-1]):
        column["data_ptr"][starts[i] : starts[i + 1]] += np.uint64(offset)
    metadata.setflags(write=False)
    shifted = [file.table_ptrs + np.uint64(offset) for file, offset in zip(files, offsets[:-1], strict=True)]
    return BetonSet(
        path=Path(os.fspath(source)) if isinstance(source, str | os.PathLike) else first.path,
        page_size=max(file.page_size for file in files),
        fields=first.fields,
        metadata=metadata,
        table_ptrs=np.concatenate(shifted),
        table_sizes=np.concatenate([file.table_sizes for file in files]),
        sizes=np.concatenate([file.sizes for file in files]),
        facts=_facts([file.facts for file in files]),
        image_field=first.image_field,
        label_field=first.label_field,
        identity=first.identity,
        files=tuple(files),
        starts=starts,
        offsets=tuple(int(offset) for offset in offsets),
    )


def _in_order(files: list[Beton]) -> list[Beton]:
    """Shards of one set in the order of their numbers; other files as they were named."""
    numbers = {file.path: file.facts.get("shard") for file in files}
    count = next((number[1] for number in numbers.values() if number), None)
    if count is None:
        return files
    by_index: dict[int, Beton] = {}
    for file in files:
        number = numbers[file.path]
        if number is None or number[1] != count:
            raise BetonError(f"{file.path}: not one of the {count} shards that it is read with")
        if number[0] in by_index:
            raise BetonError(f"{file.path}: shard {number[0]} of {count}, as {by_index[number[0]].path} is")
        by_index[number[0]] = file
    missing = [index for index in range(count) if index not in by_index]
    if missing:
        names = ", ".join(str(index) for index in missing[:10])
        raise BetonError(f"{files[0].path}: of its {count} shards (0 to {count - 1}) these are missing: {names}")
    return [by_index[index] for index in range(count)]


def _require_fit(first: Beton, other: Beton) -> None:
    if other.metadata.dtype != first.metadata.dtype or [f.name for f in other.fields] != [f.name for f in first.fields]:
        ours, theirs = ([f.name for f in file.fields] for file in (first, other))
        raise BetonError(f"{other.path}: its fields {theirs} are not those of {first.path}, {ours}")
    if (
        other.image_field.column != first.image_field.column
        or other.image_field.field_magic != first.image_field.field_magic
    ):
        raise BetonError(f"{other.path}: stores images in another way than {first.path}; convert one of them")
    if other.class_names != first.class_names:
        raise BetonError(f"{other.path}: its classes are not those of {first.path}; write all with the same classes")


def _facts(all_facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What holds for the whole set: equal facts, sums of counts, pooled mean and standard deviation."""
    first = all_facts[0]
    facts = {key: value for key, value in first.items() if all(f.get(key) == value for f in all_facts)}
    facts |= {key: sum(f[key] for f in all_facts) for key in _COUNTS if all(key in f for f in all_facts)}
    if "measured_pixels" in facts:
        facts |= pooled(all_facts)
    facts.pop("shard", None)
    return facts


def _map_behind_each_other(files: Sequence[Beton], offsets: Sequence[int]) -> np.ndarray:
    """Files mapped at offsets (offsets[-1] is the end) of one reserved stretch of addresses, given back with the array.

    The stretch is reserved first, without memory behind it; a fixed mapping inside it can then only replace our own.
    """
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    library.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    failed = ctypes.c_void_p(-1).value

    def map_at(address: int | None, length: int, protection: int, flags: int, descriptor: int) -> int:
        place = library.mmap(address, length, protection, flags, descriptor, 0)
        if place == failed:
            reason = os.strerror(ctypes.get_errno())
            raise BetonError(f"{files[0].path}: {len(files)} files cannot be mapped into memory together: {reason}")
        assert isinstance(place, int)
        return place

    total = offsets[-1]
    base = map_at(None, total, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1)
    stretch = (ctypes.c_uint8 * total).from_address(base)
    weakref.finalize(stretch, library.munmap, base, total).atexit = False  # the process's end unmaps it anyway
    for file, offset in zip(files, offsets[:-1], strict=True):
        with file.path.open("rb") as stream:
            state = os.fstat(stream.fileno())
            file.require_unchanged(state)
            map_at(base + offset, state.st_size, mmap.PROT_READ, mmap.MAP_SHARED | _MAP_FIXED, stream.fileno())
    array = np.ctypeslib.as_array(stretch)
    array.setflags(write=False)
    return array
