"""Folders of images as they are: every image is read, every other file is named, labels are never guessed."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dailymae_hf.data import write_beton
from dailymae_hf.data.beton import Beton, open_beton
from dailymae_hf.data.written_file import WriteReport
from dailymae_hf.errors import CorruptSampleError, RecipeError


def put(path: Path, shade: int = 0, kind: str | None = None) -> Path:
    """A small image of one shade, by which it is known again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 5, 3), shade, np.uint8)).save(path, kind or "PNG")
    return path


def write(source: object, out: Path, **options: object) -> tuple[WriteReport, Beton]:
    report = write_beton(source, out, **{"workers": 1, "progress": False, "mode": "raw", **options})
    return report, open_beton(out)


def shades(beton: Beton) -> list[int]:
    with beton.path.open("rb") as stream:
        return [beton.read(stream, n)[0] for n in range(len(beton))]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.beton"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "photos"


def test_a_class_may_be_called_train(folder: Path, out: Path) -> None:
    """`datasets` takes it for a split, and reads nothing else."""
    for number, name in enumerate(["car", "plane", "train"]):
        for i in range(3):
            put(folder / name / f"{i}.png", 10 * number + i)
    report, beton = write(folder, out)
    assert beton.class_names == ["car", "plane", "train"]
    assert dict(zip(shades(beton), beton.labels.tolist(), strict=True)) == {
        10 * n + i: n for n in range(3) for i in range(3)
    }
    assert report.class_counts == {"car": 3, "plane": 3, "train": 3}
    assert (report.found, report.num_samples, report.skipped) == (9, 9, [])


def test_names_that_hold_splits_are_names(folder: Path, out: Path) -> None:
    """ImageNet's class names include bullet train and test tube: `datasets` read one file of such a thousand."""
    names = [f"n0{n:04d}_{n}_{word}.JPEG" for n, word in enumerate(["bullet_train", "test_tube", "val", "tench"] * 10)]
    for n, name in enumerate(names):
        put(folder / name, n, "JPEG")
    report, beton = write(folder, out)
    assert len(beton) == report.found == 40
    assert beton.labels is None


def test_names_beyond_ascii_and_beyond_utf8(folder: Path, out: Path) -> None:
    put(folder / "Blüten" / "größe 🌼.png", 1)
    put(folder / "鳥" / "a'b\"c.PNG", 2)
    strange = os.path.join(os.fsencode(folder), b"\xff\xfe")
    os.makedirs(strange)
    os.rename(put(folder / "x.png", 3), os.path.join(strange, b"\xe9.png"))
    _, beton = write(folder, out, workers=2)
    assert beton.class_names == ["Blüten", "鳥", "\ufffd\ufffd"]
    assert shades(beton) == [1, 2, 3]


def test_order_is_that_of_the_paths(folder: Path, out: Path) -> None:
    for shade, name in [(3, "b/10.png"), (4, "b/9.png"), (1, "a/2.png"), (2, "a b/1.png")]:
        put(folder / name, shade)
    assert shades(write(folder, out)[1]) == [2, 1, 3, 4]


# ---- depth


def tree(folder: Path, *paths: str) -> None:
    for shade, path in enumerate(paths):
        put(folder / path, shade)


def test_images_in_no_folder_have_no_labels(folder: Path, out: Path) -> None:
    tree(folder, "1.png", "2.png")
    report, beton = write(folder, out)
    assert beton.labels is None
    assert beton.class_names is None
    assert report.class_counts is None


def test_deeper_folders_of_one_depth_are_classes_by_their_path(folder: Path, out: Path) -> None:
    tree(folder, "animal/cat/1.png", "animal/dog/1.png", "thing/cat/1.png")
    _, beton = write(folder, out)
    assert beton.class_names == ["animal/cat", "animal/dog", "thing/cat"]
    _, beton = write(folder, out, labels_from="top-folder")
    assert beton.class_names == ["animal", "thing"]
    assert beton.labels.tolist() == [0, 0, 1]


def test_unequal_depth_is_an_explicit_choice(folder: Path, out: Path) -> None:
    tree(folder, "1.png", "cat/1.png", "cat/kitten/1.png", "dog/1.png")
    with pytest.raises(RecipeError, match="different depths") as caught:
        write(folder, out)
    for told in ("--labels-from folder (3 classes)", "--labels-from top-folder (2 classes)", "--no-labels", "1.png"):
        assert told in str(caught.value)
    assert not out.exists()
    report, beton = write(folder, out, labels_from="top-folder")
    assert beton.labels.tolist() == [-1, 0, 0, 1]
    assert report.unlabelled == 1
    assert write(folder, out, labels_from="folder")[1].labels.tolist() == [-1, 0, 1, 2]
    assert write(folder, out, label_column=None)[1].labels is None


def test_folders_that_look_like_splits_are_no_classes(folder: Path, out: Path) -> None:
    tree(folder, "train/cat/1.png", "train/dog/1.png", "val/cat/1.png")
    with pytest.raises(RecipeError, match=r"^split: .* holds train, val, .*--split"):
        write(folder, out)
    _, beton = write(folder, out, split="train")
    assert beton.class_names == ["cat", "dog"]
    assert shades(beton) == [0, 1]
    with pytest.raises(RecipeError, match="has no folder 'test'"):
        write(folder, out, split="test")
    assert len(write(folder, out, labels_from="folder")[1]) == 3


# ---- what else lies there


def test_other_files_are_named(folder: Path, out: Path) -> None:
    put(folder / "cat" / "1.png", 1)
    put(folder / "cat" / "without a suffix", 2)
    put(folder / ".git" / "logo.png", 9)
    for name in ("labels.txt", "cat/Thumbs.db", "cat/._1.png", ".DS_Store"):
        (folder / name).write_bytes(b"\0\5\x16\7nothing to see")
    os.mkfifo(folder / "cat" / "pipe.png")
    report, beton = write(folder, out)
    assert shades(beton) == [1, 2]
    assert report.other_files == [
        ".DS_Store",
        ".git/ (a hidden folder)",
        "cat/._1.png",
        "cat/Thumbs.db",
        "cat/pipe.png",
        "labels.txt",
    ]


def test_links_are_followed_but_not_in_circles(folder: Path, tmp_path: Path, out: Path) -> None:
    put(tmp_path / "elsewhere" / "1.png", 1)
    put(tmp_path / "single.png", 2)
    (folder / "cat").mkdir(parents=True)
    (folder / "dog").symlink_to(tmp_path / "elsewhere")
    (folder / "cat" / "2.png").symlink_to(tmp_path / "single.png")
    (folder / "cat" / "up").symlink_to(folder)
    report, beton = write(folder, out)
    assert beton.class_names == ["cat", "dog"]
    assert shades(beton) == [2, 1]
    assert report.other_files == ["cat/up (a link to a folder that it lies in)"]
    (folder / "cat" / "gone.png").symlink_to(tmp_path / "nothing.png")
    with pytest.raises(CorruptSampleError, match=r"cat/gone.png: FileNotFoundError"):
        write(folder, out)


def test_broken_images_stay_in_the_count(folder: Path, out: Path) -> None:
    put(folder / "cat" / "1.png", 1)
    (folder / "cat" / "2.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (folder / "cat" / "3.jpg").write_bytes(b"")
    report, _ = write(folder, out, on_error="skip")
    assert (report.found, report.num_samples) == (3, 1)
    assert [reason.partition(":")[0] for _, reason in report.skipped] == ["cat/2.heic", "cat/3.jpg"]
    assert "empty" in report.skipped[1][1]


def test_a_folder_that_cannot_be_read_ends_the_write(folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permissions do not hold for root, so the system's refusal is played."""
    tree(folder, "cat/1.png", "locked/1.png")
    scan = os.scandir

    def refuse(path: str) -> object:
        if "locked" in os.fspath(path):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(RecipeError, match=f"{folder}/locked/: Permission denied"):
        write(folder, out)


@pytest.mark.parametrize("options", [{"image_column": "jpg"}, {"label_column": "cls"}, {"labels_from": "name"}])
def test_options_that_say_nothing_about_folders(options: dict[str, str], folder: Path, out: Path) -> None:
    tree(folder, "cat/1.png")
    with pytest.raises(RecipeError, match=f"^{next(iter(options))}: "):
        write(folder, out, **options)


def test_folders_without_images(folder: Path, out: Path) -> None:
    folder.mkdir()
    with pytest.raises(RecipeError, match=r"holds no images .it is empty"):
        write(folder, out)
    (folder / "labels.csv").write_text("path,label\n")
    with pytest.raises(RecipeError, match=r"holds no images .but labels.csv, which can be named itself"):
        write(folder, out)
