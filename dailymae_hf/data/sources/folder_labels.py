"""Labels from the folders that images lie in: pure functions of relative paths, for folders and archives alike."""

from collections import Counter
from collections.abc import Sequence

from dailymae_hf.errors import RecipeError

LABELS_FROM = ("auto", "folder", "top-folder")
_SPLITS = frozenset(["train", "training", "val", "valid", "validation", "dev", "eval", "test", "testing"])
_SHOWN = 8


def folder_labels(paths: Sequence[str], labels_from: str, source: str) -> tuple[list[int | None], list[str]] | None:
    """Labels and sorted class names of images at these paths (relative, with "/"), None where nothing is a class.

    Args:
        labels_from: "folder" makes a class of each folder that holds images, named by its path; "top-folder" of each
            folder at the top. Images in no folder then have no label. "auto" is "folder" where all images lie equally
            deep, and no labels where all lie in no folder.
        source: the name that messages use.

    Raises:
        RecipeError: with "auto", where images lie at different depths, or the folders at the top are splits.
    """
    depths = Counter(path.count("/") for path in paths)
    if labels_from == "auto":
        if set(depths) <= {0}:
            return None
        _require_plain(paths, depths, source)
    classes = [_class_of(path, labels_from) for path in paths]
    names = sorted({name for name in classes if name is not None})
    numbers: dict[str | None, int | None] = {name: number for number, name in enumerate(names)}
    return [numbers.get(name) for name in classes], names


def _class_of(path: str, labels_from: str) -> str | None:
    if labels_from == "top-folder":
        top, slash, _ = path.partition("/")
        return top if slash else None
    return path.rpartition("/")[0] or None


def _require_plain(paths: Sequence[str], depths: Counter[int], source: str) -> None:
    choice = ", ".join(
        f"--labels-from {way} ({len({_class_of(path, way) for path in paths} - {None})} classes)"
        for way in ("folder", "top-folder")
    )
    if len(depths) > 1:
        where = "; ".join(
            f"{count} {'in no folder' if depth == 0 else f'{depth} deep'}, such as "
            + next(path for path in paths if path.count("/") == depth)
            for depth, count in sorted(depths.items())
        )
        raise RecipeError(f"labels_from: the images of {source} lie at different depths ({where}): {choice}, "
                          "or --no-labels")  # fmt: skip
    tops = sorted({path.partition("/")[0] for path in paths})
    if _SPLITS.issuperset(top.lower() for top in tops):
        raise RecipeError(f"split: {source} holds {', '.join(tops[:_SHOWN])}, which look like splits: choose one with "
                          f"--split, or {choice}, or --no-labels")  # fmt: skip
