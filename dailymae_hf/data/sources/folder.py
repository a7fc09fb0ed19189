"""A folder of images, read as it is: every file in it is an image or is named as none."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from dailymae_hf.data.sources.folder_labels import folder_labels
from dailymae_hf.data.sources.image_files import has_image_suffix, is_image_file
from dailymae_hf.data.sources.image_source import ListedImages, SourceOptions, printable
from dailymae_hf.errors import RecipeError


@dataclass
class FolderListing:
    """The files below a folder, by paths relative to it, sorted: images, and others with the reason where it is not
    plain that they are none."""

    folder: Path
    images: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def list_folder(folder: Path) -> FolderListing:
    """All files below `folder`. Links are followed, but not back into a folder that they lie in; hidden folders are not
    entered. Raises RecipeError where a folder cannot be read."""
    listing = FolderListing(folder)
    _walk(listing, "", frozenset())
    listing.images.sort()
    listing.others.sort()
    return listing


def _walk(listing: FolderListing, inside: str, above: frozenset[tuple[int, int]]) -> None:
    place = os.path.join(listing.folder, inside)
    try:
        state = os.stat(place)
        with os.scandir(place) as scan:
            entries = list(scan)
    except OSError as error:
        raise RecipeError(f"source: {printable(place)}: {error.strerror}") from error
    above = above | {(state.st_dev, state.st_ino)}
    for entry in entries:
        relative = f"{inside}{entry.name}"
        if entry.is_dir():
            if entry.name.startswith("."):
                listing.others.append(f"{relative}/ (a hidden folder)")
            elif entry.is_symlink() and _identity(entry.path) in above:
                listing.others.append(f"{relative} (a link to a folder that it lies in)")
            else:
                _walk(listing, f"{relative}/", above)
        elif is_image_file(entry.path) if entry.is_file() else entry.is_symlink() and has_image_suffix(entry.name):
            listing.images.append(relative)  # a link to nothing counts: reading it says what is wrong
        else:
            listing.others.append(relative)


def _identity(path: str) -> tuple[int, int]:
    state = os.stat(path)
    return state.st_dev, state.st_ino


def folder_images(listing: FolderListing, options: SourceOptions) -> ListedImages:
    """The images of a folder; their classes are the folders that they lie in (`folder_labels`)."""
    options.require_no_columns(str(listing.folder))
    labelled = None
    if options.label_column is not None:
        labelled = folder_labels(listing.images, options.labels_from, str(listing.folder))
    labels, class_names = labelled or (None, None)
    return ListedImages(
        [os.path.join(listing.folder, path) for path in listing.images],
        [printable(path) for path in listing.images],
        labels,
        None if class_names is None else [printable(name) for name in class_names],
        [printable(path) for path in listing.others],
    )
