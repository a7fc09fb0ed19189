"""The packed reader's planes against libjpeg's, bit for bit: every scale, layout and instruction set."""

import numpy as np
import pytest
from PIL import Image

from dailymae_hf import _native
from dailymae_hf._native import codec
from tests.native.libjpeg_reference import LAYOUTS, encode_jpeg, read_planes

SIMD = ("scalar", "v128", "avx2", "avx512")


@pytest.fixture(params=SIMD)
def simd(request: pytest.FixtureRequest) -> str:
    if _native.simd_level(request.param) != request.param:
        pytest.skip(f"this machine has no {request.param}")
    return request.param


def assert_equal_planes(jpeg: bytes, size: tuple[int, int], region: tuple[int, int, int, int], scale: int, simd: str):
    """Each plane must equal the part of libjpeg's plane that it says it is, and cover the region."""
    planes = codec.packed_planes(codec.pack_jpeg(jpeg), size, region, scale, simd)
    whole = read_planes(jpeg, scale)
    assert len(planes) == len(whole)
    for plane, expected in zip(planes, whole, strict=True):
        (x, y), (high, wide) = plane.origin, plane.samples.shape
        np.testing.assert_array_equal(plane.samples, expected[y : y + high, x : x + wide])
        for axis, (origin, length, total) in enumerate(((x, wide, expected.shape[1]), (y, high, expected.shape[0]))):
            assert origin <= region[axis] * plane.scale[axis]
            assert origin + length >= min(region[axis + 2] * plane.scale[axis], total)


@pytest.mark.parametrize("scale", [8, 4, 2, 1])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_planes_equal_libjpeg(photographs, layout, scale, simd):
    image = photographs[0][1].resize((203, 149))  # neither side is whole blocks in any layout
    jpeg = encode_jpeg(image, layout)
    assert_equal_planes(jpeg, (149, 203), (0, 0, 203, 149), scale, simd)


@pytest.mark.parametrize("quality", [1, 30, 75, 95, 100])
def test_planes_equal_libjpeg_at_every_quality(photographs, quality, simd):
    """From blocks that are almost empty to values that need two bytes."""
    for _, photograph in photographs[:4]:
        image = photograph.resize((240, 160))
        assert_equal_planes(encode_jpeg(image, "4:4:4", quality=quality), (160, 240), (0, 0, 240, 160), 8, simd)


@pytest.mark.parametrize("scale", [8, 4, 2, 1])
@pytest.mark.parametrize("content", ["noise", "extremes", "flat"])
def test_planes_equal_libjpeg_for_unnatural_images(content, scale, simd):
    """Noise fills every coefficient, black and white pixels drive the range limit, flat blocks have a mean only."""
    random = np.random.default_rng(0)
    pixels = {
        "noise": random.integers(0, 256, (96, 130, 3)),
        "extremes": random.integers(0, 2, (96, 130, 3)) * 255,
        "flat": np.repeat(np.repeat(random.integers(0, 256, (12, 17, 3)), 8, 0), 8, 1)[:, :130],
    }[content]
    jpeg = encode_jpeg(Image.fromarray(pixels.astype(np.uint8)), "4:4:4", quality=98)
    assert_equal_planes(jpeg, (96, 130), (0, 0, 130, 96), scale, simd)


@pytest.mark.parametrize("scale", [8, 4, 2, 1])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_regions_cover_what_they_promise(photographs, layout, scale, simd):
    image = photographs[1][1].resize((301, 213))
    jpeg = encode_jpeg(image, layout)
    random = np.random.default_rng(1)
    for _ in range(40):
        x0, y0 = int(random.integers(0, 301)), int(random.integers(0, 213))
        x1, y1 = int(random.integers(x0 + 1, 302)), int(random.integers(y0 + 1, 214))
        assert_equal_planes(jpeg, (213, 301), (x0, y0, x1, y1), scale, simd)


def test_wide_images_cross_chunks(photographs, simd):
    """More blocks in a row than are unpacked at once, and a crop that begins in the middle of a group."""
    image = photographs[2][1].resize((1333, 40))
    jpeg = encode_jpeg(image, "4:2:0")
    for region in ((0, 0, 1333, 40), (77, 3, 1200, 31), (1325, 33, 1333, 40)):
        assert_equal_planes(jpeg, (40, 1333), region, 8, simd)
