"""write_beton: what goes in comes out, for stock ffcv too; whatever fails leaves no half file."""

import io
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

from dailymae_hf.data import inspect_beton, write_beton
from dailymae_hf.data.beton import MODE_RAW, open_beton
from dailymae_hf.data.beton_writer import BetonOutput
from dailymae_hf.errors import BetonError, CorruptSampleError, DailyMAEError, RecipeError

RNG = np.random.default_rng(0)
TILES = [Image.fromarray(RNG.integers(0, 256, (20, 30 + n, 3), dtype=np.uint8)) for n in range(40)]
LABELS = [n % 3 for n in range(40)]


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def make_dataset(label: Any = None, labels: list[Any] = LABELS, **columns: Any) -> datasets.Dataset:
    features = {"image": datasets.Image(), "label": label or datasets.ClassLabel(names=["a", "b", "c"])}
    data = {"image": [{"bytes": png(tile), "path": None} for tile in TILES], "label": labels}
    return datasets.Dataset.from_dict(data, datasets.Features(features))


def raw_images(path: Path) -> list[np.ndarray]:
    beton = open_beton(path)
    with path.open("rb") as stream:
        return [
            np.frombuffer(beton.read(stream, n), np.uint8).reshape(image["height"], image["width"], 3)
            for n, image in enumerate(beton.images)
        ]


def write(source: Any, path: Path, **options: Any) -> Any:
    return write_beton(source, path, **{"workers": 1, "progress": False, **options})


@pytest.mark.parametrize("workers", [1, 2])
def test_raw_round_trip(tmp_path: Path, workers: int) -> None:
    path = tmp_path / "x.beton"
    report = write(make_dataset(), path, mode="raw", workers=workers)
    assert report.num_samples == 40
    assert report.skipped == []
    for stored, tile in zip(raw_images(path), TILES, strict=True):
        np.testing.assert_array_equal(stored, np.asarray(tile))
    assert open_beton(path).labels.tolist() == LABELS
    assert open_beton(path).class_names == ["a", "b", "c"]
    assert [file.name for file in tmp_path.iterdir()] == ["x.beton"]


def test_any_number_of_workers_gives_the_same_bytes(photograph_folder: Path, our_beton: Path, tmp_path: Path) -> None:
    write(photograph_folder, tmp_path / "one.beton")
    assert (tmp_path / "one.beton").read_bytes() == our_beton.read_bytes()  # that one was written by two


@pytest.mark.parametrize("os_cache", [True, False])
def test_stock_ffcv_reads_it(our_beton: Path, os_cache: bool) -> None:
    """Both of its memory managers; images are those that Pillow decodes, through the same resize."""
    pytest.importorskip("ffcv")
    from ffcv.fields.rgb_image import CenterCropRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import ToTensor

    side = 600
    pipelines = {"image": [CenterCropRGBImageDecoder((side, side), 1.0), ToTensor()]}
    loader = Loader(str(our_beton), 10, num_workers=1, os_cache=os_cache, order=OrderOption.SEQUENTIAL,
                    pipelines=pipelines)  # fmt: skip
    import cv2

    beton, seen = open_beton(our_beton), 0
    with our_beton.open("rb") as stream:
        for images, labels in loader:
            for image, label in zip(images.numpy(), labels[:, 0].tolist(), strict=True):
                stored = np.asarray(Image.open(io.BytesIO(beton.read(stream, seen))))
                short = min(stored.shape[:2])
                top, left = (stored.shape[0] - short) // 2, (stored.shape[1] - short) // 2
                square = stored[top : top + short, left : left + short]
                expected = cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA)
                # stock ffcv decodes with libjpeg's fast inverse DCT and plain chroma upsampling
                assert np.abs(image.astype(float) - expected).mean() < 4
                assert label == beton.labels[seen]
                seen += 1
    assert seen == 50


def test_same_image_as_stock_ffcv_writes(
    photographs: list[tuple[str, Image.Image]], stock_write: Any, tmp_path: Path
) -> None:
    """Same quality and size: the JPEGs differ by nothing but restart markers, so the decoded pixels are equal."""
    images = [photograph.resize((320, 240)) for _, photograph in photographs]
    stock_write(tmp_path / "stock.beton", images)
    data = {"image": [{"bytes": png(image), "path": None} for image in images]}
    source = datasets.Dataset.from_dict(data, datasets.Features({"image": datasets.Image()}))
    write(source, tmp_path / "ours.beton", quality=90)
    stored = []
    for name in ("stock.beton", "ours.beton"):
        beton = open_beton(tmp_path / name)
        with beton.path.open("rb") as stream:
            stored.append([np.asarray(Image.open(io.BytesIO(beton.read(stream, n)))) for n in range(len(images))])
    for stock, ours in zip(*stored, strict=True):
        np.testing.assert_array_equal(stock, ours)


# ---- sources


def as_parquet(dataset: datasets.Dataset, folder: Path) -> Any:
    dataset.to_parquet(str(folder / "data.parquet"))
    return folder / "data.parquet"


def as_parquet_folder(dataset: datasets.Dataset, folder: Path) -> Any:
    (folder / "set").mkdir()
    dataset.to_parquet(str(folder / "set" / "train-00000-of-00001.parquet"))
    return str(folder / "set")


def as_saved(dataset: datasets.Dataset, folder: Path) -> Any:
    dataset.save_to_disk(str(folder / "saved"))
    return folder / "saved"


def as_image_folder(dataset: datasets.Dataset, folder: Path) -> Any:
    for n, tile in enumerate(TILES):
        place = folder / "photos" / "abc"[LABELS[n]]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{n:03}.png").write_bytes(png(tile))
    return folder / "photos"


def as_paths(dataset: datasets.Dataset, folder: Path) -> Any:
    as_image_folder(dataset, folder)
    names = [str(folder / "photos" / "abc"[LABELS[n]] / f"{n:03}.png") for n in range(40)]
    features = datasets.Features({"image": datasets.Value("string"), "label": dataset.features["label"]})
    return datasets.Dataset.from_dict({"image": names, "label": LABELS}, features)


@pytest.mark.parametrize("kind", [as_parquet, as_parquet_folder, as_saved, as_image_folder, as_paths])
def test_sources(kind: Any, tmp_path: Path) -> None:
    source = kind(make_dataset(), tmp_path)
    write(source, tmp_path / "x.beton", mode="raw", image_column="image" if kind is as_paths else None)
    beton = open_beton(tmp_path / "x.beton")
    assert beton.class_names == ["a", "b", "c"]
    stored = {image.tobytes(): label for image, label in zip(raw_images(beton.path), beton.labels, strict=True)}
    assert stored == {np.asarray(tile).tobytes(): label for tile, label in zip(TILES, LABELS, strict=True)}


def test_splits_have_to_be_chosen(tmp_path: Path) -> None:
    both = datasets.DatasetDict({"train": make_dataset().select(range(30)), "test": make_dataset().select(range(10))})
    write(both, tmp_path / "x.beton", split="test")
    assert len(open_beton(tmp_path / "x.beton")) == 10
    for split in (None, "validation"):
        with pytest.raises(RecipeError, match="train, test"):
            write(both, tmp_path / "y.beton", split=split)


@pytest.mark.parametrize(
    ("kind", "labels", "expected", "names"),
    [
        (datasets.Value("int32"), LABELS, LABELS, None),
        (datasets.Value("string"), ["xyz"[n] for n in LABELS], LABELS, ["x", "y", "z"]),
        (datasets.ClassLabel(names=["a", "b", "c"]), [None, *LABELS[1:]], [-1, *LABELS[1:]], ["a", "b", "c"]),
    ],
)
def test_kinds_of_labels(tmp_path: Path, kind: Any, labels: list, expected: list, names: list | None) -> None:
    write(make_dataset(kind, labels), tmp_path / "x.beton")
    assert open_beton(tmp_path / "x.beton").labels.tolist() == expected
    assert open_beton(tmp_path / "x.beton").class_names == names


def test_labels_are_optional(tmp_path: Path) -> None:
    write(make_dataset(), tmp_path / "a.beton", label_column=None)
    write(make_dataset().remove_columns("label"), tmp_path / "b.beton")
    assert open_beton(tmp_path / "a.beton").labels is open_beton(tmp_path / "b.beton").labels is None
    assert (tmp_path / "a.beton").read_bytes() == (tmp_path / "b.beton").read_bytes()


def test_columns_by_name(tmp_path: Path) -> None:
    source = make_dataset().rename_columns({"image": "jpg", "label": "cls"}).add_column("label", list(range(40)))
    write(source, tmp_path / "x.beton", image_column="jpg", label_column="cls")
    assert open_beton(tmp_path / "x.beton").labels.tolist() == LABELS


BAD_ARGUMENTS = {
    "image_column": {"image_column": "photo"},
    "label_column": {"label_column": "class"},
    "mode": {"mode": "png"},
    "quality": {"quality": 101},
    "max_resolution": {"max_resolution": 0},
    "smart_threshold": {"mode": "smart"},
    "compress_probability": {"mode": "proportion", "compress_probability": 1.5},
    "transcode": {"transcode": "yes"},
    "on_error": {"on_error": "ignore"},
}


@pytest.mark.parametrize("name", BAD_ARGUMENTS)
def test_bad_arguments_are_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=f"^{name}"):
        write(make_dataset(), tmp_path / "x.beton", **BAD_ARGUMENTS[name])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("source", [make_dataset(datasets.Value("float32")), make_dataset().remove_columns("image")])
def test_columns_that_cannot_be_used(source: datasets.Dataset, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="column"):
        write(source, tmp_path / "x.beton")


def test_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="nowhere"):
        write(tmp_path / "nowhere", tmp_path / "x.beton")


def half_a_parquet(folder: Path) -> Path:
    whole = as_parquet(make_dataset(), folder).read_bytes()
    (folder / "half.parquet").write_bytes(whole[: len(whole) // 2])
    return folder / "half.parquet"


def damaged_parquet(folder: Path) -> Path:
    """Only reading the rows finds it out: header and footer are whole."""
    whole = as_parquet(make_dataset(), folder).read_bytes()
    (folder / "damaged.parquet").write_bytes(whole[:4] + b"\xff" * 200 + whole[204:])
    return folder / "damaged.parquet"


def script(folder: Path) -> Path:
    (folder / "photographs.py").write_text("raise SystemExit\n")
    return folder / "photographs.py"


def not_quite_saved(folder: Path) -> Path:
    (folder / "saved").mkdir()
    (folder / "saved" / "state.json").write_text("{}")
    return folder / "saved"


@pytest.mark.parametrize(
    ("make", "reason"),
    [(half_a_parquet, "corrupted"), (damaged_parquet, ""), (script, "no known source"), (not_quite_saved, "neither")],
)
def test_sources_that_cannot_be_read_are_named(make: Any, reason: str, tmp_path: Path) -> None:
    source = make(tmp_path)
    with pytest.raises(RecipeError, match=f"^source: {source}:? (?!An error occurred).*{reason}"):
        write(source, tmp_path / "x.beton", on_error="skip")
    assert not (tmp_path / "x.beton").exists()


# ---- failures


def broken_dataset(*broken: int) -> datasets.Dataset:
    images = [{"bytes": b"junk" if n in broken else png(tile), "path": None} for n, tile in enumerate(TILES)]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    return datasets.Dataset.from_dict({"image": images, "label": list(range(40))}, features)


@pytest.mark.parametrize("workers", [1, 2])
def test_broken_image_stops_and_is_named(workers: int, tmp_path: Path) -> None:
    (tmp_path / "x.beton").write_bytes(b"what was there before")
    with pytest.raises(CorruptSampleError, match="image 21"):
        write(broken_dataset(21, 33), tmp_path / "x.beton", workers=workers)
    assert (tmp_path / "x.beton").read_bytes() == b"what was there before"
    assert len(list(tmp_path.iterdir())) == 1


def test_broken_images_are_skipped_and_counted(tmp_path: Path) -> None:
    report = write(broken_dataset(0, 21, 39), tmp_path / "x.beton", mode="raw", on_error="skip")
    assert report.num_samples == 37
    assert [index for index, _ in report.skipped] == [0, 21, 39]
    kept = [n for n in range(40) if n not in (0, 21, 39)]
    assert open_beton(tmp_path / "x.beton").labels.tolist() == kept
    for stored, n in zip(raw_images(tmp_path / "x.beton"), kept, strict=True):
        np.testing.assert_array_equal(stored, np.asarray(TILES[n]))
    facts = inspect_beton(tmp_path / "x.beton")["facts"]
    assert facts["skipped"] == 3
    assert [index for index, _ in facts["skipped_images"]] == [0, 21, 39]


def test_rows_without_an_image_are_broken(tmp_path: Path) -> None:
    source = make_dataset().cast_column("image", datasets.Image(decode=False)).to_dict()
    source["image"][7] = None
    source = datasets.Dataset.from_dict(source, make_dataset().features)
    with pytest.raises(CorruptSampleError, match="image 7 is broken: there is no image in this row"):
        write(source, tmp_path / "x.beton")
    assert write(source, tmp_path / "x.beton", on_error="skip", workers=2).num_samples == 39


@pytest.mark.parametrize("workers", [1, 2])
def test_skipped_images_are_named_and_the_bytes_stay_the_same(workers: int, tmp_path: Path) -> None:
    """In two places, too: files go by their names in the folder."""
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        photos = as_image_folder(make_dataset(), tmp_path / folder)
        (photos / "b" / "004.png").write_bytes(b"junk")
        report = write(photos, tmp_path / f"{folder}.beton", workers=workers, on_error="skip")
        ((index, reason),) = report.skipped
        assert reason == "b/004.png: UnidentifiedImageError: cannot identify image file"
        assert inspect_beton(report.path)["facts"]["skipped_images"] == [[index, reason]]
    with pytest.raises(CorruptSampleError, match=f"image {index} is broken: b/004.png: "):
        write(photos, tmp_path / "x.beton", workers=workers)
    assert (tmp_path / "first.beton").read_bytes() == (tmp_path / "second.beton").read_bytes()


def test_missing_files_are_named(tmp_path: Path) -> None:
    names = datasets.Dataset.from_dict({"file": [str(tmp_path / "gone.png")]})
    with pytest.raises(CorruptSampleError, match=f": {tmp_path}/gone.png: FileNotFoundError: No such file"):
        write(names, tmp_path / "x.beton", image_column="file")


def test_nothing_but_broken_images(tmp_path: Path) -> None:
    with pytest.raises(BetonError, match="no sample"):
        write(broken_dataset(*range(40)), tmp_path / "x.beton", on_error="skip")
    assert list(tmp_path.iterdir()) == []


def test_no_folder_to_write_to(tmp_path: Path) -> None:
    with pytest.raises(BetonError, match="folder"):
        write(make_dataset(), tmp_path / "nowhere" / "x.beton")


@pytest.mark.parametrize("shard", [None, (0, 2)])
def test_a_folder_is_no_place_for_a_file(shard: tuple[int, int] | None, tmp_path: Path) -> None:
    """Said before the source is read, not when the finished file gets its name."""
    place = tmp_path / ("x.beton" if shard is None else "x-00000-of-00002.beton")
    place.mkdir()
    with pytest.raises(BetonError, match=f"{place}: a folder"):
        write(tmp_path / "a source that is not there", tmp_path / "x.beton", shard=shard)
    with pytest.raises(BetonError, match=f"{place}: a folder"):
        BetonOutput(place, 1, with_labels=False)  # `convert_beton` comes this way
    assert list(tmp_path.iterdir()) == [place]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no device that is always full")
@pytest.mark.parametrize("size", [10, 1 << 20])
def test_a_full_disk_leaves_no_file(size: int, tmp_path: Path) -> None:
    """Whether it shows when a sample is laid down or when the tables are: closing fails once more, for the same."""
    path = tmp_path / "x.beton"
    path.write_bytes(b"what was there before")

    def write_to_a_full_disk() -> None:
        with BetonOutput(path, 1, with_labels=False) as output, open("/dev/full", "wb") as full:
            os.dup2(full.fileno(), output.stream.fileno())
            output.append(MODE_RAW, 1, 1, bytes(size))
            output.commit({})

    with pytest.raises(BetonError, match=f"^{path}: cannot be written: No space left"):
        write_to_a_full_disk()
    assert path.read_bytes() == b"what was there before"
    assert list(tmp_path.iterdir()) == [path]


def test_killed_worker_ends_the_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stock ffcv's writer waits forever for a worker that is gone."""
    popen, killed = subprocess.Popen, threading.Event()

    def start(*arguments: Any, **options: Any) -> subprocess.Popen:
        process = popen(*arguments, **options)
        if not killed.is_set():
            killed.set()
            threading.Timer(1.0, os.kill, (process.pid, signal.SIGKILL)).start()
        return process

    monkeypatch.setattr(subprocess, "Popen", start)
    many = datasets.concatenate_datasets([make_dataset()] * 1000)
    with pytest.raises(DailyMAEError, match="SIGKILL"):
        write(many, tmp_path / "x.beton", workers=2)
    assert list(tmp_path.iterdir()) == []


def test_interrupt_leaves_nothing(tmp_path: Path) -> None:
    many = datasets.concatenate_datasets([make_dataset()] * 10_000)

    def interrupt_once_writing() -> None:
        while not any(tmp_path.iterdir()):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs are started without it
    try:
        threading.Thread(target=interrupt_once_writing, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            write(many, tmp_path / "x.beton", workers=2)
    finally:
        signal.signal(signal.SIGINT, before)
    assert list(tmp_path.iterdir()) == []
