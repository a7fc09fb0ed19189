"""Whole sets: figures that hold whatever the order, a part split off, files that killed writers left, streams."""

import io
import os
import random
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

from dailymae_hf.cli.main import main
from dailymae_hf.data import beton_writer as writer_module
from dailymae_hf.data import convert_beton, inspect_beton, pixel_statistics, verify_beton, write_beton
from dailymae_hf.data.beton import MODE_RAW, open_beton
from dailymae_hf.data.beton_writer import BetonOutput
from dailymae_hf.data.partial_file import PartialFile
from dailymae_hf.data.shards import open_betons
from dailymae_hf.data.sources.image_source import ListedImages
from dailymae_hf.data.written_file import WriteReport
from dailymae_hf.errors import BetonError, RecipeError


def png(pixels: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.broadcast_to(np.uint8(pixels), (4, 5, 3))).save(buffer, "PNG")
    return buffer.getvalue()


def fill(folder: Path, images: list[bytes]) -> Path:
    folder.mkdir()
    for number, image in enumerate(images):
        (folder / f"{number:05}.png").write_bytes(image)
    return folder


def write(source: Any, out: Path, **options: Any) -> WriteReport:
    return write_beton(source, out, **{"workers": 1, "progress": False, "mode": "raw", **options})


# ---- mean and standard deviation


def test_order_with_a_period_does_not_mislead(tmp_path: Path) -> None:
    """Every eighth image alone has a standard deviation of 0.0055."""
    draw = np.random.default_rng(0)
    shades = [int(30 * (n % 8) + draw.integers(0, 6)) for n in range(400)]
    report = write(fill(tmp_path / "photos", [png(shade) for shade in shades]), tmp_path / "x.beton")
    assert report.measured_images == 400
    assert np.std([shade / 255 for shade in shades]) > 0.26
    np.testing.assert_allclose(report.std, np.std([shade / 255 for shade in shades]), atol=1e-4)
    np.testing.assert_allclose(report.mean, np.mean([shade / 255 for shade in shades]), atol=1e-4)


def test_a_large_set_is_measured_alike_from_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a folder, from a tar in another order, from a stream of unknown length, and from the parts of the set."""
    monkeypatch.setattr(pixel_statistics, "_EXPECTED", 32)
    draw = np.random.default_rng(1)
    images = [png(draw.integers(0, 256, (4, 5, 3))) for _ in range(600)]
    shuffled = random.Random(0).sample(images, len(images))
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for number, image in enumerate(shuffled):
            info = tarfile.TarInfo(f"{number:05}.png")
            info.size = len(image)
            tar.addfile(info, io.BytesIO(image))

    def rows() -> Iterator[dict[str, Any]]:
        yield from ({"image": {"bytes": image, "path": None}} for image in shuffled)

    stream = datasets.IterableDataset.from_generator(rows, features=datasets.Features({"image": datasets.Image()}))
    folder = fill(tmp_path / "photos", images)
    facts = [
        inspect_beton(write(source, tmp_path / "x.beton").path)["facts"]
        for source in (folder, tmp_path / "a.tar", stream)
    ]
    for part in range(3):
        write(folder, tmp_path / "part.beton", shard=(part, 3))
    facts.append(dict(open_betons(str(tmp_path / "part-*.beton")).facts))
    names = ("mean", "std", "measured_images", "measured_pixels", "measured_sums")
    for other in facts[1:]:
        assert {name: other[name] for name in names} == {name: facts[0][name] for name in names}
    assert 20 <= facts[0]["measured_images"] <= 80


def test_at_least_4096_images_of_a_large_set_are_measured() -> None:
    """The number below a limit is binomial: six standard deviations stay above 4,096 at every size."""
    for images in (8_959, 8_960, 17_920, 100_000, 1_281_167, 14_197_122):
        fraction = pixel_statistics.hash_limit(images) / 2**32
        expected = images * fraction
        assert fraction == 1 or expected - 5.5 * np.sqrt(expected * (1 - fraction)) > 4096
    assert pixel_statistics.hash_limit(8_959) == 2**32
    assert pixel_statistics.hash_limit(1_281_167) < 2**32 / 100


# ---- a part split off


def shades(path: Path) -> list[int]:
    beton = open_beton(path)
    with path.open("rb") as stream:
        return [beton.read(stream, n)[0] for n in range(len(beton))]


def test_a_part_is_split_off(tmp_path: Path) -> None:
    folder = fill(tmp_path / "photos", [png(n) for n in range(250)])
    report = write(folder, tmp_path / "x.beton", split_off=0.2, workers=2)
    assert report.split_off is not None
    assert report.split_off.path == tmp_path / "x-validation.beton"
    ours, second = shades(report.path), shades(report.split_off.path)
    assert sorted(ours + second) == list(range(250))
    assert 30 <= len(second) <= 70
    assert report.found + report.split_off.found == 250
    # the choice is that of the index alone: another number of processes, and other parts, split alike
    parts = [write(folder, tmp_path / "part.beton", split_off=0.2, shard=(n, 2)) for n in range(2)]
    assert [s for part in parts for s in shades(part.split_off.path)] == second  # type: ignore[union-attr]
    assert [s for part in parts for s in shades(part.path)] == ours


def test_a_part_of_nothing_is_refused(tmp_path: Path) -> None:
    folder = fill(tmp_path / "photos", [png(n) for n in range(3)])
    with pytest.raises(RecipeError, match=r"^split_off: 0.001 of 3 images leaves a file without images"):
        write(folder, tmp_path / "x.beton", split_off=0.001)
    with pytest.raises(RecipeError, match=r"^split_off: 2 is not between"):
        write(folder, tmp_path / "x.beton", split_off=2)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


@pytest.mark.parametrize("workers", [0, -3])
def test_numbers_of_workers_that_are_none(workers: int, tmp_path: Path) -> None:
    report = write(fill(tmp_path / "photos", [png(n) for n in range(3)]), tmp_path / "x.beton")
    for function in (
        lambda: write(tmp_path / "photos", tmp_path / "y.beton", workers=workers),
        lambda: verify_beton(report.path, workers=workers, progress=False),
        lambda: convert_beton(report.path, tmp_path / "y.beton", "dct", workers=workers, progress=False),
    ):
        with pytest.raises(RecipeError, match=rf"^workers: {workers} is not a number of"):
            function()


# ---- what does not add up


def test_a_source_that_announces_more_than_it_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fill(tmp_path / "photos", [png(n) for n in range(5)])
    rows = ListedImages.rows
    monkeypatch.setattr(ListedImages, "rows", lambda self, start, stop: rows(self, start, stop - 1))
    with pytest.raises(BetonError, match="photos: the image after 3 is missing"):
        write(folder, tmp_path / "x.beton")
    assert not (tmp_path / "x.beton").exists()


def test_what_the_command_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "photos"
    for name, count in (("car", 3), ("train", 2)):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            (folder / name / f"{number}.png").write_bytes(png(number))
    (folder / "car" / "9.jpg").write_bytes(b"junk")
    (folder / "notes.txt").write_text("x")
    words = ["write", str(folder), str(tmp_path / "x.beton"), "--workers", "1"]
    assert main(words) == 2
    assert "car/9.jpg" in capsys.readouterr().err
    assert main([*words, "--on-error", "skip"]) == 0
    told = capsys.readouterr().out
    assert "photos: not images: 1 (notes.txt)" in told
    assert "6 images found, 5 written (0 carried over without loss), 1 skipped" in told
    assert "2 classes: car 3, train 2" in told
    assert "measured on 5 images" in told
    assert main([*words, "--split-off", "1.5"]) == 2
    assert main(["write", str(tmp_path / "photo"), str(tmp_path / "x.beton")]) == 2
    assert "did you mean" in capsys.readouterr().err


# ---- files that killed writers left


def test_the_next_write_removes_what_a_killed_one_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    script = f"""
import time
from pathlib import Path
from dailymae_hf.data.partial_file import PartialFile
partial = PartialFile(Path({str(tmp_path)!r}) / "x.beton")
partial.stream.write(b"half"), partial.stream.flush()
print("writing", flush=True)
time.sleep(60)
"""
    killed = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert killed.stdout is not None
    assert killed.stdout.readline() == b"writing\n"
    running = PartialFile(tmp_path / "x.beton")
    assert len(list(tmp_path.iterdir())) == 2, "the other writer is alive"
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    another_file = tmp_path / "xx.beton.1-ab.partial"
    another_file.write_bytes(b"x")
    folder = fill(tmp_path / "photos", [png(0)])
    write(folder, tmp_path / "x.beton")
    assert {path.name for path in tmp_path.iterdir()} == {
        "x.beton", "photos", another_file.name, running.temporary.name
    }  # fmt: skip
    assert "removed, a writer that was killed had left it" in caplog.text
    running.discard()


# ---- streams: room for the tables grows


@pytest.mark.parametrize("with_labels", [True, False])
def test_room_for_more_samples_than_were_announced(
    with_labels: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages of 4 KiB stand for the 8 MiB of real ones, where 350,000 samples fit before anything has to move."""
    monkeypatch.setattr(writer_module, "_FIRST_PAGE_SIZE", 4096)
    draw = random.Random(0)
    stored = [draw.randbytes(3 * draw.choice((1, 2, 700, 2000))) for _ in range(1500)]
    with BetonOutput(tmp_path / "x.beton", 0, with_labels=with_labels) as output:
        for number, data in enumerate(stored):
            output.append(MODE_RAW, len(data) // 3, 1, data, number)
        output.commit({})
    beton = open_beton(tmp_path / "x.beton")
    with beton.path.open("rb") as stream:
        assert [beton.read(stream, n) for n in range(len(stored))] == stored
    assert (beton.labels is None) == (not with_labels)
    if with_labels:
        assert beton.labels.tolist() == list(range(len(stored)))
    ends = beton.images["data_ptr"] + beton.sizes - np.uint64(1)
    page = np.uint64(beton.page_size)
    np.testing.assert_array_equal(beton.images["data_ptr"] // page, ends // page)  # none crosses a page's border


def test_a_short_stream_gives_the_bytes_of_a_counted_set(tmp_path: Path) -> None:
    images = [png(n) for n in range(40)]
    features = datasets.Features({"image": datasets.Image()})
    rows = [{"image": {"bytes": image, "path": None}} for image in images]
    counted = datasets.Dataset.from_list(rows, features)
    stream = datasets.IterableDataset.from_generator(lambda: iter(rows), features=features)
    for name, source in (("a", counted), ("b", stream)):
        write(source, tmp_path / f"{name}.beton", workers=2)
    assert (tmp_path / "a.beton").read_bytes() == (tmp_path / "b.beton").read_bytes()
