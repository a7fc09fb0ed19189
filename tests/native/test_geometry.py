"""Boxes and flips against torchvision's rule written out again, and against Pillow's resize and crop."""

import math

import numpy as np
import pytest
from PIL import Image

from dailymae_hf._native import CENTER_CROP, center_crop, crop_decode, crop_params, random_resized_crop
from dailymae_hf.rng import crop_draw


def expected_crop(index, size, *, seed, epoch, scale, ratio, hflip):
    """torchvision's RandomResizedCrop.get_params, its random numbers replaced by `crop_draw`."""
    height, width = size

    def draw(counter):
        return crop_draw(seed, epoch, index, counter)

    flip = draw(22) < hflip
    for attempt in range(10):
        area = height * width * (scale[0] + (scale[1] - scale[0]) * draw(2 * attempt))
        low, high = math.log(ratio[0]), math.log(ratio[1])
        aspect = math.exp(low + (high - low) * draw(2 * attempt + 1))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return (int(draw(20) * (width - w + 1)), int(draw(21) * (height - h + 1)), w, h), flip
    w, h = width, height
    if width / height < ratio[0]:
        h = round(w / ratio[0])
    elif width / height > ratio[1]:
        w = round(h * ratio[1])
    return ((width - w) // 2, (height - h) // 2, w, h), flip


@pytest.mark.parametrize("size", [(375, 500), (500, 375), (100, 900), (900, 100), (1, 1), (2, 3), (64, 64)])
@pytest.mark.parametrize(
    ("scale", "ratio"), [((0.2, 1.0), (3 / 4, 4 / 3)), ((0.08, 1.0), (3 / 4, 4 / 3)), ((1.0, 1.0), (1.0, 1.0))]
)
def test_random_resized_crop(size, scale, ratio):
    settings = {"seed": 7, "epoch": 3, "scale": scale, "ratio": ratio, "hflip": 0.5}
    for index in [*range(100), 2**32, 2**63]:
        assert random_resized_crop(crop_params(**settings), index, *size) == expected_crop(index, size, **settings)


def test_the_fallback_is_reached_and_central():
    params = crop_params(scale=(0.9, 1.0))
    boxes = {random_resized_crop(params, index, 100, 900)[0] for index in range(50)}
    assert boxes == {(383, 0, 133, 100)}


def test_seed_epoch_and_index_all_count():
    boxes = [
        random_resized_crop(crop_params(seed=seed, epoch=epoch), index, 375, 500)
        for seed in range(4)
        for epoch in range(4)
        for index in range(4)
    ]
    assert len(set(boxes)) == len(boxes)


def test_draws_are_spread_evenly():
    params = crop_params(seed=1)
    drawn = [random_resized_crop(params, index, 375, 500) for index in range(4000)]
    areas = np.array([w * h / (375 * 500) for (_, _, w, h), _ in drawn])
    flips = np.array([flip for _, flip in drawn])
    assert 0.19 < areas.min() < 0.22
    assert areas.max() <= 1
    assert abs(flips.mean() - 0.5) < 0.03
    # position within its range is uniform, and the flip says nothing about it
    left = np.array([(x + 0.5) / (500 - w + 1) for (x, _, w, _), _ in drawn])
    assert abs(left.mean() - 0.5) < 0.02
    assert abs(left[flips].mean() - left[~flips].mean()) < 0.04


@pytest.mark.parametrize("hflip", [0.0, 1.0])
def test_flip_never_and_always(hflip):
    params = crop_params(hflip=hflip)
    assert {random_resized_crop(params, index, 10, 10)[1] for index in range(200)} == {bool(hflip)}


@pytest.mark.parametrize("size", [(375, 500), (500, 375), (333, 500), (256, 256), (231, 977), (224, 224), (90, 60)])
@pytest.mark.parametrize(("out", "resize"), [(224, 256), (224, 224), (160, 183), (96, 96)])
def test_center_crop_is_resize_then_crop(photographs, size, out, resize):
    """transformers: resize to int(resize * long / short) on the longer side, margins rounded down."""
    image = photographs[2][1].resize((size[1], size[0]), Image.Resampling.BICUBIC)
    short = min(size)
    resized_h, resized_w = int(resize * size[0] / short), int(resize * size[1] / short)
    top, left = (resized_h - out) // 2, (resized_w - out) // 2
    whole = image.resize((resized_w, resized_h), Image.Resampling.BILINEAR)
    want = np.asarray(whole.crop((left, top, left + out, top + out))).transpose(2, 0, 1).astype(int)
    box = center_crop(crop_params(kind=CENTER_CROP, center_ratio=out / resize), *size, (out, out))
    got = crop_decode(np.asarray(image), box, (out, out), height=size[0], width=size[1], mode="raw")
    assert np.abs(got - want).mean() < 0.5
    assert np.abs(got - want).max() <= 3


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (37, 3), (4, 4000)])
@pytest.mark.parametrize("out", [(224, 224), (100, 300), (1, 1)])
def test_center_crop_lies_inside(size, out):
    left, top, width, height = center_crop(crop_params(kind=CENTER_CROP, center_ratio=0.875), *size, out)
    assert left >= 0
    assert top >= 0
    assert 0 < width <= size[1] - left + 1e-9
    assert 0 < height <= size[0] - top + 1e-9
