"""Images inside tar and zip files: trees of folders, and webdataset shards. Workers read them where they lie.

In a webdataset shard the members of one sample share their name up to its first dot: `0001.jpg` and `0001.cls` are an
image and its label.
"""

import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dailymae_hf.data.sources.folder_labels import folder_labels
from dailymae_hf.data.sources.image_files import has_image_suffix, starts_like_image
from dailymae_hf.data.sources.image_source import FileSlice, ListedImages, SourceOptions, printable, read_image
from dailymae_hf.data.sources.labels import number_labels
from dailymae_hf.errors import RecipeError

ARCHIVE_SUFFIXES = (".tar", ".zip")
_CLS = "cls"
_ZIP_HEADER_SIZE, _ZIP_NAME_LENGTHS = 30, 26  # of a local file header: its fixed part, and where two u2 lengths lie


@dataclass
class _Members:
    """The regular files of some archives, in the order in which they lie there."""

    paths: list[str] = field(default_factory=list)  # inside the archive
    slices: list[FileSlice] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def archive_images(archives: Sequence[Path], options: SourceOptions) -> ListedImages:
    """The images of tar or zip files, read as one set: with the labels of `cls` members where samples have other
    members beside the image, else with the folders' names as a folder of images has them.

    Raises RecipeError naming the archive, where it is damaged or compressed as a whole, and the columns.
    """
    members = _Members()
    for archive in archives:
        try:
            found = _zip_members(archive) if archive.suffix == ".zip" else _tar_members(archive)
            for path, where in found:
                if where is None:
                    members.others.append(f"{archive.name}/{path}")
                else:
                    members.paths.append(f"{archive.name}/{path}")
                    members.slices.append(where)
        except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, NotImplementedError) as error:
            raise RecipeError(f"source: {archive}: {error}") from error
    samples = _samples(members)
    source = str(archives[0]) + (f" and {len(archives) - 1} more" if len(archives) > 1 else "")
    if _is_webdataset(samples, options):
        options.require_no_folders(source)
        return _webdataset(samples, members, options, source)
    return _tree(members, options, source)


def _tar_members(archive: Path) -> Iterator[tuple[str, FileSlice | None]]:
    with archive.open("rb") as stream:
        if stream.read(2) == b"\x1f\x8b":
            raise OSError("compressed as a whole, so that no image in it can be found: gunzip it first")
        stream.seek(0)
        with tarfile.open(fileobj=stream, mode="r:") as tar:
            for member in tar:
                tar.members = []  # type: ignore[attr-defined]  # it would keep all
                if member.isreg() and not member.issparse():
                    yield member.name, FileSlice(str(archive), member.offset_data, member.size)
                elif not member.isdir():
                    yield member.name, None


def _zip_members(archive: Path) -> Iterator[tuple[str, FileSlice | None]]:
    with archive.open("rb") as stream, zipfile.ZipFile(stream) as file:
        for member in file.infolist():
            if member.is_dir():
                continue
            if member.flag_bits & 1:
                raise OSError(f"{member.filename} is encrypted")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise OSError(f"{member.filename} is compressed in a way other than deflate")
            stream.seek(member.header_offset + _ZIP_NAME_LENGTHS)
            lengths = stream.read(4)
            start = member.header_offset + _ZIP_HEADER_SIZE
            start += int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
            deflated = member.compress_type == zipfile.ZIP_DEFLATED
            yield member.filename, FileSlice(str(archive), start, member.compress_size, deflated)


# ---- webdataset


def _samples(members: _Members) -> dict[str, dict[str, int]]:
    """Key of a sample -> suffix of a member (without its dot, "jpg", "seg.png") -> its number."""
    samples: dict[str, dict[str, int]] = {}
    for number, path in enumerate(members.paths):
        folder, _, name = path.rpartition("/")
        if name.startswith("."):
            continue
        stem, _, suffix = name.partition(".")
        samples.setdefault(f"{folder}/{stem}", {})[suffix.lower()] = number
    return samples


def _is_webdataset(samples: dict[str, dict[str, int]], options: SourceOptions) -> bool:
    label = _CLS if options.label_column == "auto" else options.label_column
    return any(label in suffixes or "json" in suffixes for suffixes in samples.values())


def _webdataset(
    samples: dict[str, dict[str, int]], members: _Members, options: SourceOptions, source: str
) -> ListedImages:
    wanted = None if options.image_column is None else options.image_column.lower()
    label_suffix = _CLS if options.label_column == "auto" else options.label_column
    chosen: list[int] = []
    used: set[int | None] = set()
    values: list[str | None] = []
    for key, suffixes in samples.items():
        images = [suffix for suffix in suffixes if suffix == wanted or (not wanted and has_image_suffix(f"x.{suffix}"))]
        if len(images) > 1:
            raise RecipeError(f"image_column: {key} in {source} has several images, {', '.join(images)}: name one")
        if not images:
            continue
        chosen.append(suffixes[images[0]])
        label = suffixes.get(label_suffix) if label_suffix else None
        values.append(None if label is None else _text(members, label))
        used.update((suffixes[images[0]], label))
    if not chosen:
        raise RecipeError(f"image_column: no sample of {source} has an image" + (f" {wanted!r}" if wanted else ""))
    labels, class_names = None, None
    if label_suffix is not None and any(value is not None for value in values):
        labels, class_names = number_labels(values, f"{source}: {label_suffix}")
    elif options.label_column not in ("auto", None):
        raise RecipeError(f"label_column: no sample of {source} has a member {label_suffix!r}")
    names = [printable(members.paths[number]) for number in chosen]
    others = _unused(members, samples, used)
    return ListedImages([members.slices[number] for number in chosen], names, labels, class_names, others)


def _text(members: _Members, number: int) -> str:
    try:
        return read_image(members.slices[number]).decode().strip()
    except UnicodeDecodeError:
        raise RecipeError(f"label_column: {printable(members.paths[number])} is not text") from None


def _unused(members: _Members, samples: dict[str, dict[str, int]], used: set[int | None]) -> list[str]:
    """Members that nothing was read from, those of one suffix as one entry."""
    counts = Counter(
        suffix for suffixes in samples.values() for suffix, number in suffixes.items() if number not in used
    )
    return [f"{count} members .{suffix}" for suffix, count in sorted(counts.items())] + members.others


# ---- folders inside an archive


def _tree(members: _Members, options: SourceOptions, source: str) -> ListedImages:
    chosen = [n for n, path in enumerate(members.paths) if _is_image(path, members.slices[n])]
    if not chosen:
        raise RecipeError(f"source: {source} holds no images, but {len(members.paths)} other files")
    chosen.sort(key=lambda number: members.paths[number])
    inside = [members.paths[number].partition("/")[2] for number in chosen]  # without the archive's name
    inside = [path.removeprefix("./") for path in inside]
    tops = {path.partition("/")[0] if "/" in path else None for path in inside}
    if len(tops) == 1 and None not in tops:  # the one folder that was packed
        inside = [path.partition("/")[2] for path in inside]
    options.require_no_columns(source)
    labelled = None if options.label_column is None else folder_labels(inside, options.labels_from, source)
    labels, class_names = labelled or (None, None)
    kept = set(chosen)
    others = [printable(path) for n, path in enumerate(members.paths) if n not in kept] + members.others
    return ListedImages(
        [members.slices[number] for number in chosen],
        [printable(members.paths[number]) for number in chosen],
        labels,
        None if class_names is None else [printable(name) for name in class_names],
        others,
    )


def _is_image(path: str, where: FileSlice) -> bool:
    name = path.rpartition("/")[2]
    if has_image_suffix(name) and not name.startswith("."):
        return True
    return not where.deflated and starts_like_image(read_image(where._replace(size=min(where.size, 16))))
