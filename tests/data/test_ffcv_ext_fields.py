"""PackedDCTField in stock ffcv: its writer, its loader, and what happens without us."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("ffcv", reason="needs ffcv")

from ffcv import Loader
from ffcv.fields import IntField
from ffcv.loader import OrderOption
from ffcv.transforms import ToTensor
from ffcv.writer import DatasetWriter

from dailymae_hf import _native
from dailymae_hf._native import codec
from dailymae_hf.data import CropDecodeCenterCrop, CropDecodeRandomResizedCrop, PackedDCTField
from dailymae_hf.data.beton import open_beton
from dailymae_hf.errors import CorruptSampleError


def as_jpeg(image: Image.Image, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def jpegs(photographs) -> list[bytes]:
    """Ten photographs of several sizes and layouts."""
    layouts = ("4:2:0", "4:4:4", "4:2:2")
    return [
        as_jpeg(image.resize((160 + 16 * i, 200 - 7 * i)), quality=90, subsampling=layouts[i % 3])
        for i, (_, image) in enumerate(photographs)
    ]


def write(path: Path, values: list, **options) -> Path:
    samples = [(value, i) for i, value in enumerate(values)]
    fields = {"image": PackedDCTField(**options), "label": IntField()}
    DatasetWriter(str(path), fields, num_workers=1).from_indexed_dataset(samples)
    return path


@pytest.fixture(scope="module")
def packed_beton(jpegs, tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("packed") / "packed.beton", jpegs)


def load(path: Path, decoder, batch_size: int = 4, custom: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """All images and labels, in the file's order."""
    loader = Loader(
        str(path),
        batch_size=batch_size,
        num_workers=1,
        order=OrderOption.SEQUENTIAL,
        drop_last=False,
        custom_fields={"image": PackedDCTField} if custom else {},
        pipelines={} if decoder is None else {"image": [decoder, ToTensor()]},
    )
    batches = [(images.numpy().copy(), labels.numpy().copy()) for images, labels in loader]
    return tuple(np.concatenate(part) for part in zip(*batches, strict=True))  # type: ignore[return-value]


def test_stored_coefficients_are_the_jpegs(packed_beton, jpegs):
    beton = open_beton(packed_beton)
    assert beton.image_field.is_packed
    with packed_beton.open("rb") as stream:
        for i, jpeg in enumerate(jpegs):
            assert beton.read(stream, i) == codec.pack_jpeg(jpeg)
    np.testing.assert_array_equal(beton.images["mode"], 2)
    np.testing.assert_array_equal(beton.images["width"], [Image.open(io.BytesIO(j)).width for j in jpegs])
    np.testing.assert_array_equal(beton.images["height"], [Image.open(io.BytesIO(j)).height for j in jpegs])


def test_stock_loader_decodes_through_custom_fields(packed_beton, jpegs):
    """The evaluation crop, against Pillow's resize of the whole decoded image and a cut from its middle."""
    images, labels = load(packed_beton, CropDecodeCenterCrop(96, 1.0))
    assert images.shape == (10, 3, 96, 96)
    np.testing.assert_array_equal(labels.ravel(), np.arange(10))
    for image, jpeg in zip(images, jpegs, strict=True):
        whole = Image.open(io.BytesIO(jpeg))
        width, height = (side * 96 // min(whole.size) for side in whole.size)
        left, top = (width - 96) // 2, (height - 96) // 2
        expected = whole.resize((width, height), Image.Resampling.BILINEAR).crop((left, top, left + 96, top + 96))
        assert np.abs(image.transpose(1, 2, 0).astype(int) - np.asarray(expected)).mean() < 1.0


def test_the_random_crops_are_those_of_the_jpegs(packed_beton, jpegs):
    decoder = CropDecodeRandomResizedCrop(64, seed=5)
    images, _ = load(packed_beton, decoder)
    params = _native.crop_params(seed=5)
    for i, jpeg in enumerate(jpegs):
        width, height = Image.open(io.BytesIO(jpeg)).size
        box, flip = _native.random_resized_crop(params, i, height, width)
        expected = _native.crop_decode(jpeg, box, (64, 64), height=height, width=width, flip=flip)
        np.testing.assert_array_equal(images[i], expected)
    assert decoder.errors == (0, None, None)


def test_without_custom_fields_ffcv_says_what_is_missing(packed_beton):
    with pytest.raises(ValueError, match="custom_field entry"):
        load(packed_beton, CropDecodeCenterCrop(96), custom=False)


def test_the_default_decoder_gives_whole_images(photographs, tmp_path):
    jpegs = [as_jpeg(image.resize((120, 80)), quality=95, subsampling=0) for _, image in photographs]
    images, _ = load(write(tmp_path / "constant.beton", jpegs), None)
    assert images.shape == (10, 3, 80, 120)
    for image, jpeg in zip(images, jpegs, strict=True):
        expected = np.asarray(Image.open(io.BytesIO(jpeg))).astype(int)
        assert np.abs(image.transpose(1, 2, 0) - expected).max() <= 2  # colour conversion in 8 bits


def test_the_default_decoder_refuses_images_of_several_sizes(packed_beton):
    with pytest.raises(TypeError, match="of one size"):
        load(packed_beton, None)


def test_images_and_arrays_are_compressed_once(photographs, tmp_path):
    image = photographs[0][1].resize((100, 60))
    path = write(tmp_path / "pixels.beton", [image, np.asarray(image), image.convert("L")], quality=80)
    expected = codec.pack_jpeg(as_jpeg(image, quality=80, subsampling="4:2:0"))
    beton = open_beton(path)
    with path.open("rb") as stream:
        assert beton.read(stream, 0) == beton.read(stream, 1) == expected
        assert codec.jpeg_header(codec.unpack_to_jpeg(beton.read(stream, 2))).color == "ycc"


def test_jpegs_that_cannot_be_carried_over_are_compressed_anew(photographs, tmp_path):
    image = photographs[0][1].resize((100, 60))
    exif = Image.Exif()
    exif[0x0112] = 6  # to the right: neither side is whole MCUs
    path = write(tmp_path / "anew.beton", [as_jpeg(image.convert("CMYK")), as_jpeg(image, exif=exif)])
    beton = open_beton(path)
    assert [tuple(size) for size in beton.images[["width", "height"]].tolist()] == [(100, 60), (60, 100)]
    with path.open("rb") as stream:
        for i, upright in enumerate((image, image.transpose(Image.Transpose.ROTATE_270))):
            width, height = upright.size
            whole = (0.0, 0.0, float(width), float(height))
            found = _native.crop_decode(
                beton.read(stream, i), whole, (height, width), height=height, width=width, mode="dct"
            )
            assert np.abs(found.transpose(1, 2, 0).astype(int) - np.asarray(upright)).mean() < 8


@pytest.mark.parametrize("value", ["a path", np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), None])
def test_values_that_are_no_image_are_refused(value):
    with pytest.raises(TypeError, match="must be"):
        PackedDCTField().encode(np.zeros(1, PackedDCTField().metadata_type)[0], value, None)


def test_bytes_that_are_no_jpeg_are_refused():
    with pytest.raises(CorruptSampleError, match="damaged"):
        PackedDCTField().encode(np.zeros(1, PackedDCTField().metadata_type)[0], b"not a JPEG", None)
