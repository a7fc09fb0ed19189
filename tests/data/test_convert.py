"""convert_beton: another storage mode, the same coefficients."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dailymae_hf._native import codec
from dailymae_hf.cli.main import main
from dailymae_hf.data import convert_beton, inspect_beton
from dailymae_hf.data.beton import MODE_DCT, MODE_JPG, MODE_RAW, open_beton
from dailymae_hf.errors import BetonError, CorruptSampleError, RecipeError


def samples(path: Path) -> list[bytes]:
    beton = open_beton(path)
    with path.open("rb") as stream:
        return [beton.read(stream, index) for index in range(len(beton))]


def pixels(path: Path) -> list[np.ndarray]:
    decoded = []
    for data, record in zip(samples(path), open_beton(path).images, strict=True):
        if record["mode"] == MODE_RAW:
            decoded.append(np.frombuffer(data, np.uint8).reshape(record["height"], record["width"], 3))
        else:
            jpeg = codec.unpack_to_jpeg(data) if record["mode"] == MODE_DCT else data
            decoded.append(np.asarray(Image.open(io.BytesIO(jpeg))))
    return decoded


@pytest.mark.parametrize("workers", [1, 2])
def test_there_and_back_is_the_same_file(our_beton: Path, tmp_path: Path, workers: int) -> None:
    packed, back = tmp_path / "packed.beton", tmp_path / "back.beton"
    assert convert_beton(our_beton, packed, "dct", workers=workers, progress=False) == 50
    assert inspect_beton(packed)["modes"] == {"dct": 50}
    convert_beton(packed, back, "jpg", workers=workers, progress=False)
    assert samples(back) == samples(our_beton)
    for path in (packed, back):
        assert open_beton(path).labels.tolist() == open_beton(our_beton).labels.tolist()
        assert open_beton(path).class_names == open_beton(our_beton).class_names
        for column in ("width", "height"):
            np.testing.assert_array_equal(open_beton(path).images[column], open_beton(our_beton).images[column])


@pytest.mark.parametrize("mode", ["jpg", "dct"])
def test_stock_files_keep_their_pixels(stock_beton: Path, tmp_path: Path, mode: str) -> None:
    """JPEG and raw mixed: raw pixels stay raw, JPEGs decode to what they did."""
    convert_beton(stock_beton, tmp_path / "x.beton", mode, workers=1, progress=False)
    modes = set(open_beton(tmp_path / "x.beton").images["mode"].tolist())
    assert modes == {MODE_RAW, MODE_DCT if mode == "dct" else MODE_JPG}
    for ours, stock in zip(pixels(tmp_path / "x.beton"), pixels(stock_beton), strict=True):
        np.testing.assert_array_equal(ours, stock)


def test_packed_files_are_below_twice_the_size(our_beton: Path, tmp_path: Path) -> None:
    convert_beton(our_beton, tmp_path / "x.beton", "dct", workers=1, progress=False)
    assert sum(map(len, samples(tmp_path / "x.beton"))) < 1.9 * sum(map(len, samples(our_beton)))


def test_a_damaged_sample_is_named_and_leaves_nothing(our_beton: Path, tmp_path: Path) -> None:
    path = tmp_path / "damaged.beton"
    path.write_bytes(our_beton.read_bytes())
    with path.open("r+b") as stream:
        os.pwrite(stream.fileno(), bytes(500), int(open_beton(path).images["data_ptr"][33]))
    with pytest.raises(CorruptSampleError, match="sample 33"):
        convert_beton(path, tmp_path / "x.beton", "dct", workers=1, progress=False)
    assert list(tmp_path.iterdir()) == [path]


def test_other_fields_are_not_dropped_silently(photographs: list[tuple[str, Image.Image]], tmp_path: Path) -> None:
    fields = pytest.importorskip("ffcv.fields", reason="needs ffcv")
    from ffcv.writer import DatasetWriter

    kinds = {"image": fields.RGBImageField(write_mode="jpg"), "label": fields.IntField(), "weight": fields.FloatField()}
    rows = [(np.asarray(image), 1, 0.5) for _, image in photographs[:2]]
    DatasetWriter(str(tmp_path / "x.beton"), kinds, num_workers=1).from_indexed_dataset(rows)
    with pytest.raises(BetonError, match="weight"):
        convert_beton(tmp_path / "x.beton", tmp_path / "y.beton", "dct", progress=False)


def test_unknown_mode(our_beton: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="mode"):
        convert_beton(our_beton, tmp_path / "x.beton", "raw")


def test_the_command(our_beton: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "x.beton"
    assert main(["convert", str(our_beton), str(out), "--mode", "dct", "--workers", "1"]) == 0
    assert "50 images as dct" in capsys.readouterr().out
    assert main(["verify", str(out)]) == 0
