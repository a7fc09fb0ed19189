"""Names of sources: a path is a path, a mistyped one is told at once, nothing local is looked up on the Hub."""

import io
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow
import pytest
from huggingface_hub import HfApi
from PIL import Image
from pyarrow import parquet

from dailymae_hf.data import write_beton
from dailymae_hf.data.beton import Beton, open_beton
from dailymae_hf.data.written_file import WriteReport
from dailymae_hf.errors import BetonError, RecipeError
from tests.support.loopback_hub import LoopbackHub

SHADES = range(6)
NAMES = ["bird", "train"]  # classes: shade % 2


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 5, 3), shade, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def write(source: Any, folder: Path, **options: Any) -> tuple[WriteReport, Beton]:
    out = folder / "out.beton"
    report = write_beton(source, out, **{"workers": 1, "progress": False, "mode": "raw", **options})
    return report, open_beton(out)


def labelled(beton: Beton) -> dict[int, Any]:
    """Shade -> class name, or number where there are no names."""
    with beton.path.open("rb") as stream:
        shades = [beton.read(stream, n)[0] for n in range(len(beton))]
    labels = [None] * len(beton) if beton.labels is None else beton.labels.tolist()
    names = beton.class_names
    return {shade: names[label] if names and label >= 0 else label for shade, label in zip(shades, labels, strict=True)}


BY_NAME = {shade: NAMES[shade % 2] for shade in SHADES}
BY_NUMBER = {shade: shade % 2 for shade in SHADES}


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Nothing here may ask the Hub, nor open what we open with `datasets`."""
    if "hub" not in request.node.name:
        monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: pytest.fail("datasets was asked"))


# ---- tables


def image_files(folder: Path) -> list[str]:
    (folder / "images").mkdir()
    for shade in SHADES:
        (folder / "images" / f"{shade}.png").write_bytes(png(shade))
    return [f"images/{shade}.png" for shade in SHADES]


@pytest.mark.parametrize(
    ("name", "head", "delimiter", "labels", "expected"),
    [
        ("a.csv", ["path", "label"], ",", [NAMES[s % 2] for s in SHADES], BY_NAME),
        ("a.csv", ["class", "file_name"], ";", [NAMES[s % 2] for s in SHADES], BY_NAME),
        ("a.csv", ["filename", "label"], ",", [str(s % 2) for s in SHADES], BY_NUMBER),
        ("a.tsv", ["image", "label"], "\t", [NAMES[s % 2] for s in SHADES], BY_NAME),
        ("a.csv", [], ",", [NAMES[s % 2] for s in SHADES], BY_NAME),
        ("a.csv", ["path"], ",", [], dict.fromkeys(SHADES)),
        ("a.csv", ["path", "label"], ",", ["0", "", "0", "1", "", "1"], {0: 0, 1: -1, 2: 0, 3: 1, 4: -1, 5: 1}),
    ],
)
def test_tables(  # noqa: PLR0917
    name: str, head: list[str], delimiter: str, labels: list[str], expected: Any, tmp_path: Path
) -> None:
    rows = [[path, *labels[n : n + 1]] for n, path in enumerate(image_files(tmp_path))]
    if head[:1] == ["class"]:
        rows = [row[::-1] for row in rows]
    lines = [delimiter.join(cells) for cells in ([head] if head else []) + rows]
    (tmp_path / name).write_text("\ufeff" + "\r\n".join(lines) + "\n", encoding="utf-8")
    assert labelled(write(tmp_path / name, tmp_path)[1]) == expected


def test_json_lines(tmp_path: Path) -> None:
    lines = [f'{{"file_name": "{path}", "label": {n % 2}}}' for n, path in enumerate(image_files(tmp_path))]
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    assert labelled(write(tmp_path / "metadata.jsonl", tmp_path)[1]) == BY_NUMBER


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "lists no images"),
        ("path,label\nimages/0.png,1,2\n", "line 2 has 3 cells"),
        ("name,label\nimages/0.png,1\n", "columns name, label is known to hold paths"),
        ("path,label\nimages/none.png,1\nnone.png,2\n", "none of its 2 files exists"),
    ],
)
def test_tables_that_cannot_be_read(text: str, told: str, tmp_path: Path) -> None:
    image_files(tmp_path)
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(RecipeError, match=told):
        write(tmp_path / "a.csv", tmp_path)


# ---- parquet


def put_parquet(path: Path, labels: Any, *, paths: bool = True, groups: int = 2) -> Path:
    stored: Any = [{"bytes": png(shade), "path": f"{shade}.png"} for shade in SHADES] if paths else map(png, SHADES)
    columns = {"id": list(SHADES), "img" if paths else "image": list(stored)} | ({"label": labels} if labels else {})
    parquet.write_table(pyarrow.table(columns), path, row_group_size=groups)
    return path


@pytest.mark.parametrize("paths", [True, False])
@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([NAMES[s % 2] for s in SHADES], BY_NAME),
        ([s % 2 for s in SHADES], BY_NUMBER),
        ([None, 1, 0, 1, 0, 1], BY_NUMBER | {0: -1}),
        (None, dict.fromkeys(SHADES)),
    ],
)
def test_parquet_without_metadata(paths: bool, labels: Any, expected: Any, tmp_path: Path) -> None:
    assert labelled(write(put_parquet(tmp_path / "a.parquet", labels, paths=paths), tmp_path)[1]) == expected


def test_class_names_noted_by_datasets_are_kept(tmp_path: Path) -> None:
    features = datasets.Features({"picture": datasets.Image(), "kind": datasets.ClassLabel(names=NAMES)})
    rows = {"picture": [{"bytes": png(s), "path": None} for s in SHADES], "kind": [s % 2 for s in SHADES]}
    datasets.Dataset.from_dict(rows, features).to_parquet(str(tmp_path / "a.parquet"))
    assert labelled(write(tmp_path / "a.parquet", tmp_path)[1]) == BY_NAME


def test_parquet_is_read_in_parts(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    put_parquet(tmp_path / "set" / "train-00000-of-00002.parquet", [s % 2 for s in SHADES], groups=4)
    put_parquet(tmp_path / "set" / "train-00001-of-00002.parquet", [s % 2 for s in SHADES], groups=4)
    found = []
    for part in range(4):
        report = write_beton(tmp_path / "set", tmp_path / "x.beton", shard=(part, 4), mode="raw", workers=1)
        found += list(labelled(open_beton(report.path)).items())
    assert found == [(s, s % 2) for s in SHADES] * 2


def test_splits_by_the_names_of_files(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    put_parquet(tmp_path / "data" / "train-00000-of-00001.parquet", [s % 2 for s in SHADES])
    put_parquet(tmp_path / "data" / "validation.parquet", [0] * 6)
    with pytest.raises(RecipeError, match=r"split: .* the splits data/train, data/validation; none was asked for"):
        write(tmp_path, tmp_path)
    assert labelled(write(tmp_path, tmp_path, split="train")[1]) == BY_NUMBER
    assert labelled(write(tmp_path, tmp_path, split="validation")[1]) == dict.fromkeys(SHADES, 0)


def test_images_beside_parquet_files_are_no_accident(tmp_path: Path) -> None:
    """A banner in a repository of a million images in parquet is not the data set."""
    put_parquet(tmp_path / "a.parquet", None)
    (tmp_path / "banner.png").write_bytes(png(0))
    with pytest.raises(RecipeError, match=r"holds images .1, such as banner.png. and 1 parquet or tar files"):
        write(tmp_path, tmp_path)


# ---- archives


def put_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def sample(shade: int, label: bytes) -> dict[str, bytes]:
    return {f"d/{shade:04}.png": png(shade), f"d/{shade:04}.cls": label, f"d/{shade:04}.json": b"{}"}


@pytest.mark.parametrize("pattern", ["shards", "shards/train-*.tar", "shards/train-{00..01}.tar"])
def test_webdataset_shards_keep_their_labels(pattern: str, tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    for part in range(2):
        members: dict[str, bytes] = {}
        for shade in SHADES[3 * part : 3 * part + 3]:
            members |= sample(shade, b"%d\n" % (shade % 2))
        put_tar(tmp_path / "shards" / f"train-{part:02}.tar", members)
    report, beton = write(str(tmp_path / pattern), tmp_path, workers=2)
    assert labelled(beton) == BY_NUMBER
    assert report.other_files == ["6 members .json"]


def test_webdataset_with_names_of_classes_and_several_images(tmp_path: Path) -> None:
    members: dict[str, bytes] = {}
    for shade in SHADES:
        members |= {f"{shade}.jpg": png(shade), f"{shade}.mask.png": png(99), f"{shade}.cls": NAMES[shade % 2].encode()}
    path = put_tar(tmp_path / "a.tar", members)
    with pytest.raises(RecipeError, match=r"image_column: .* has several images, jpg, mask.png"):
        write(path, tmp_path)
    assert labelled(write(path, tmp_path, image_column="jpg")[1]) == BY_NAME


@pytest.mark.parametrize("wrapped", ["", "photos/"])
@pytest.mark.parametrize("kind", ["tar", "zip stored", "zip deflated"])
def test_archives_of_class_folders(kind: str, wrapped: str, tmp_path: Path) -> None:
    members = {f"{wrapped}{NAMES[s % 2]}/{s}.png": png(s) for s in SHADES} | {f"{wrapped}bird/readme.txt": b"x"}
    path = tmp_path / f"a.{kind[:3]}"
    if kind == "tar":
        put_tar(path, members)
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if "deflated" in kind else zipfile.ZIP_STORED) as file:
            for name, data in members.items():
                file.writestr(name, data)
    report, beton = write(path, tmp_path)
    assert labelled(beton) == BY_NAME
    assert report.other_files == [f"a.{kind[:3]}/{wrapped}bird/readme.txt"]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: path.write_bytes(b"\x1f\x8b" + bytes(100)), "gunzip"),
        (lambda path: path.write_bytes(put_tar(path, {"0.png": bytes(9000)}).read_bytes()[:2000]), "unexpected end"),
        (lambda path: put_tar(path, {"a.txt": b"x"}), "no images"),
        (lambda path: put_tar(path, {"0.png": png(0), "0.cls": b"\xff\xfe"}), "is not text"),
    ],
)
def test_tars_that_cannot_be_read(make: Any, told: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    make(path)
    with pytest.raises(RecipeError, match=told):
        write(path, tmp_path)


# ---- data sets of the library


def stream(features: Any = None, label: Any = None) -> datasets.IterableDataset:
    def rows() -> Any:
        for shade in SHADES:
            image = Image.open(io.BytesIO(png(shade))) if features is None else {"bytes": png(shade), "path": None}
            yield {"image": image, "label": shade % 2 if label is None else label}

    return datasets.IterableDataset.from_generator(rows, features=features)


@pytest.mark.parametrize("known", [True, False])
def test_streams_are_written_as_they_come(known: bool, tmp_path: Path) -> None:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)})
    report, beton = write(stream(features if known else None), tmp_path)
    assert labelled(beton) == (BY_NAME if known else BY_NUMBER)
    assert report.found == len(SHADES)


def test_what_a_stream_cannot_have(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"stream's|no known length"):
        write(stream(), tmp_path, shard=(0, 2))
    with pytest.raises(RecipeError, match=r"^label_column: .* is text"):
        write(stream(label="cat"), tmp_path)
    empty = datasets.IterableDataset.from_generator(lambda: iter(()))
    with pytest.raises((RecipeError, BetonError), match=r"image_column|no sample"):
        write(empty, tmp_path)


# ---- names


def test_a_mistyped_path_names_the_folder_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photographs" / "train").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for mistyped in (
        "photographs/trian",
        "photogaphs/train",
        str(tmp_path / "photographs" / "trian"),
        "photographs.csv",
    ):
        with pytest.raises(RecipeError, match=f"^source: {mistyped} does not exist; in the folder .*photographs"):
            write(mistyped, tmp_path)
    with pytest.raises(RecipeError, match=r"^source: mnist does not exist; .*USER/NAME or hf://"):
        write("mnist", tmp_path)
    (tmp_path / "a.png").write_bytes(png(0))
    with pytest.raises(RecipeError, match="an image: name the folder"):
        write("a.png", tmp_path)


@pytest.mark.parametrize("name", ["user/photos", "hf://user/photos", "hf://datasets/user/photos@v1"])
@pytest.mark.parametrize("streamed", [True, False])
def test_names_on_the_hub(name: str, streamed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(*arguments: Any, **options: Any) -> Any:
        asked.append((arguments, options))
        return stream()

    monkeypatch.setattr(HfApi, "dataset_info", lambda *_, **__: None)
    monkeypatch.setattr(datasets, "load_dataset", load)
    write(name, tmp_path, stream=streamed, split="train")
    revision = "v1" if "@" in name else None
    assert asked == [(("user/photos",), {"revision": revision, "split": "train", "streaming": streamed})]


def test_a_name_that_the_hub_does_not_know_may_be_meant_as_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One request, and then no more: `datasets` alone tries six times, for 26 seconds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: pytest.fail("datasets was asked"))
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with LoopbackHub() as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
        with pytest.raises(RecipeError, match=r"Hub has no data set of that name .*; nor is there a folder user in"):
            write("user/photos", tmp_path)
        assert len(hub.requests) == 1
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # discard: nobody listens
    with pytest.raises(RecipeError, match=r"the Hub cannot be reached .*; nor is there a folder user in"):
        write("user/photos", tmp_path)


def test_folders_csv_tar_and_parquet_need_no_datasets(tmp_path: Path) -> None:
    """Nor does importing the writer."""
    image_files(tmp_path)
    (tmp_path / "a.csv").write_text("path,label\nimages/0.png,cat\n")
    put_tar(tmp_path / "a.tar", sample(0, b"0"))
    put_parquet(tmp_path / "a.parquet", None)
    script = f"""
import sys
sys.modules["datasets"] = None
from pathlib import Path
from dailymae_hf.data import write_beton
for name in ("images", "a.csv", "a.tar", "a.parquet"):
    write_beton(Path({str(tmp_path)!r}) / name, Path({str(tmp_path)!r}) / "x.beton", workers=1, progress=False)
try:
    write_beton("hf://user/name", Path({str(tmp_path)!r}) / "x.beton")
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "pip install datasets" in done.stdout
