"""Pixels to packed samples and scaled images: the bytes that libjpeg's compressor and Pillow give."""

import io

import numpy as np
import pytest
from PIL import Image

from dailymae_hf._native import codec, pixels
from dailymae_hf.errors import CorruptSampleError, DailyMAEError

SIZES = ((1, 1), (7, 9), (8, 16), (16, 8), (17, 33), (64, 65), (129, 15), (203, 149))


def rgbx(image: Image.Image) -> np.ndarray:
    """(height, width, 4) with a last channel that nothing may depend on."""
    rgb = np.asarray(image)
    noise = np.random.default_rng(0).integers(0, 256, rgb.shape[:2], dtype=np.uint8)
    return np.dstack([rgb, noise])


def picture(photographs, content: str, size: tuple[int, int]) -> Image.Image:
    rng = np.random.default_rng(size[0])
    return {
        "photograph": lambda: photographs[0][1].convert("RGB").resize(size),
        "noise": lambda: Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)),
        "black and white": lambda: Image.fromarray(
            rng.integers(0, 2, (size[1], size[0], 1), dtype=np.uint8).repeat(3, 2) * 255
        ),
        "one colour": lambda: Image.new("RGB", size, (250, 3, 77)),
    }[content]()


@pytest.mark.parametrize("content", ["photograph", "noise", "black and white", "one colour"])
@pytest.mark.parametrize("size", SIZES)
def test_packed_pixels_are_those_of_pillows_jpeg(photographs, content, size):
    """Every quality's tables and divisors, every way in which blocks stand over the edge."""
    image = picture(photographs, content, size)
    for quality in (1, 2, 10, 24, 25, 49, 50, 51, 75, 90, 95, 99, 100):
        jpeg = io.BytesIO()
        image.save(jpeg, "JPEG", quality=quality, subsampling="4:2:0")
        assert pixels.pack_pixels(rgbx(image), quality) == codec.pack_jpeg(jpeg.getvalue()), quality


@pytest.mark.parametrize("simd", ["scalar", "v128", "avx2"])
@pytest.mark.parametrize("size", [(1, 1), (31, 17), (64, 65), (203, 149), (520, 40)])
def test_every_instruction_set_packs_the_same_bytes(photographs, simd, size):
    for content in ("photograph", "noise", "one colour"):
        image = rgbx(picture(photographs, content, size))
        for quality in (1, 50, 90, 100):
            assert pixels.pack_pixels(image, quality, simd) == pixels.pack_pixels(image, quality), (content, quality)


def test_a_buffer_that_is_too_small_at_first_is_enough_in_the_end():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8))
    assert len(pixels.pack_pixels(rgbx(noise), 100)) > 256 * 256


@pytest.mark.parametrize("longest", [1, 9, 40, 74, 101, 102, 127, 190, 202, 203])
@pytest.mark.parametrize("content", ["photograph", "noise", "black and white"])
@pytest.mark.parametrize("size", [(203, 149), (149, 203), (203, 5)])
def test_scaling_is_pillows_bicubic(photographs, size, content, longest):
    """As a writer scales: both sides by the same factor, rounded."""
    image = picture(photographs, content, size)
    to = tuple(max(1, round(side * longest / max(size))) for side in size)
    expected = np.asarray(image.resize(to, Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(pixels.resize_bicubic(rgbx(image), to)[..., :3], expected)


@pytest.mark.parametrize("quality", [0, 101, -5])
def test_an_impossible_quality_is_the_callers_mistake(quality):
    with pytest.raises(DailyMAEError, match="out of range"):
        pixels.pack_pixels(np.zeros((8, 8, 4), np.uint8), quality)


@pytest.mark.parametrize("shape", [(8, 8, 3), (8, 8), (4, 8, 8, 4)])
def test_other_arrays_are_refused(shape):
    for function, argument in ((pixels.pack_pixels, 90), (pixels.resize_bicubic, (4, 4))):
        with pytest.raises(DailyMAEError, match="is not uint8"):
            function(np.zeros(shape, np.uint8), argument)


def test_sizes_that_no_sample_can_have_are_refused():
    row = np.lib.stride_tricks.as_strided(np.zeros(4, np.uint8), (1, 65501, 4), (0, 0, 1))
    with pytest.raises(DailyMAEError, match="out of range"):
        pixels.pack_pixels(row, 90)
    with pytest.raises(CorruptSampleError, match="does not read"):
        pixels.pack_pixels(np.zeros((8200, 8200, 4), np.uint8), 90)


@pytest.mark.parametrize("size", [(1, 1), (3, 1), (5, 7), (500, 375)])
def test_sums_of_pixels_and_of_their_squares(size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 4), dtype=np.uint8)
    values = image[..., :3].reshape(-1, 3).astype(np.int64)
    assert list(pixels.pixel_sums(image)) == [*values.sum(0), *(values**2).sum(0)]


def test_sums_of_the_brightest_image_do_not_overflow():
    white = np.full((2048, 1500, 4), 255, np.uint8)
    assert list(pixels.pixel_sums(white)) == [2048 * 1500 * 255] * 3 + [2048 * 1500 * 255**2] * 3


@pytest.mark.parametrize("kind", ["4:2:0", "4:4:4", "4:2:2", "gray", "progressive"])
def test_sums_of_a_jpegs_pixels_without_decoding_it_again(kind, photographs):
    """The kernel's decoder, whose pixels are Pillow's to a rounding of the colours that lie between samples."""
    image = photographs[0][1].resize((301, 201))
    buffer = io.BytesIO()
    (image.convert("L") if kind == "gray" else image).save(buffer, "JPEG", quality=85, **SAVED.get(kind, {}))
    values = np.asarray(Image.open(buffer).convert("RGB")).reshape(-1, 3).astype(np.float64)
    for convert in (codec.pack_jpeg, lambda data, sums: codec.restart_jpeg(data, sums=sums)):
        sums = codec.new_sums()
        assert convert(buffer.getvalue(), sums) == convert(buffer.getvalue(), None)
        np.testing.assert_allclose(np.array(sums[:3]) / len(values), values.mean(0), atol=0.2)
        np.testing.assert_allclose(np.array(sums[3:]) / len(values), (values**2).mean(0), rtol=2e-3)


# ---- JPEGs, scaled down or not


SAVED = {
    "4:2:0": {},
    "4:4:4": {"subsampling": 0},
    "4:2:2": {"subsampling": 1},
    "progressive": {"progressive": True},
    "restart markers": {"restart_marker_blocks": 3},
}


@pytest.mark.parametrize("kind", [*SAVED, "gray"])
@pytest.mark.parametrize("size", [(299, 200), (150, 100), (61, 40), (20, 13), (1, 1), (300, 200), (301, 201)])
def test_jpegs_are_scaled_down_as_pillow_does(kind: str, size: tuple[int, int], photographs) -> None:
    """To every size a writer asks for, from the reduction that `draft` chooses for it."""
    image = photographs[0][1].resize((301, 201))
    buffer = io.BytesIO()
    (image.convert("L") if kind == "gray" else image).save(buffer, "JPEG", quality=85, **SAVED.get(kind, {}))
    drafted = Image.open(buffer)
    drafted.draft(None, (2 * size[0], 2 * size[1]))
    denominator = round(301 / drafted.width)
    expected = np.asarray(drafted.convert("RGB").resize(size, Image.Resampling.BICUBIC))
    found = pixels.jpeg_pixels(buffer.getvalue(), size, denominator)
    assert found is not None
    np.testing.assert_array_equal(found[..., :3], expected)


def test_jpegs_that_pillow_has_to_decode(photographs) -> None:
    """Other colours, and whatever is damaged: the caller asks Pillow, whose verdict counts."""
    buffer = io.BytesIO()
    photographs[0][1].resize((64, 48)).convert("CMYK").save(buffer, "JPEG")
    assert pixels.jpeg_pixels(buffer.getvalue(), (16, 12), 1) is None
    buffer = io.BytesIO()
    photographs[0][1].resize((64, 48)).save(buffer, "JPEG")
    data = buffer.getvalue()
    for damaged in (data[: len(data) // 2], data[:-40] + b"\xff" * 38 + data[-2:], b"\xff\xd8\xff", b"junk"):
        assert pixels.jpeg_pixels(damaged, (16, 12), 1) is None
    for wrong in ({"size": (0, 12)}, {"denominator": 3}):
        with pytest.raises(DailyMAEError):
            pixels.jpeg_pixels(data, **{"size": (16, 12), "denominator": 1, **wrong})
