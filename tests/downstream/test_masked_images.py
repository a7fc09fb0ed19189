"""Images with class masks: crops that both share, masks that stay as they are for scoring, what is refused."""

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from dailymae_hf.downstream.masked_images import MaskedImages, masked_batch, random_crop
from dailymae_hf.errors import RecipeError


def test_training_crops_image_and_mask_alike_and_depend_on_epoch_and_index(scenes):
    data = MaskedImages(scenes, 32, crop_scale=(0.3, 0.6), seed=1)
    first, again = data[3], data[3]
    assert torch.equal(first["pixel_values"], again["pixel_values"])
    for number in range(12):
        row = data[number]
        gray = row["pixel_values"].float().mul(torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(0)
        bright, known = gray > 127, row["labels"] != 255
        agree = (bright == (row["labels"] == 1))[known].float().mean()
        assert agree > 0.8, "the mask says where this very crop is bright"
    data.set_epoch(1)
    assert not torch.equal(first["pixel_values"], data[3]["pixel_values"])
    assert not torch.equal(
        first["pixel_values"], MaskedImages(scenes, 32, crop_scale=(0.3, 0.6), seed=2)[3]["pixel_values"]
    )


def test_evaluation_resizes_the_image_and_leaves_the_mask(scenes):
    """Before, the mask was resized as well, and scores were of pixels that nobody had labelled."""
    row = MaskedImages(scenes, 32)[0]
    np.testing.assert_array_equal(row["labels"].numpy(), np.asarray(scenes[0]["annotation"]))
    expected = np.asarray(scenes[0]["image"].resize((32, 32), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(row["pixel_values"].numpy(), expected.transpose(2, 0, 1))


def test_training_masks_are_nearest_neighbours(scenes):
    whole = MaskedImages(scenes, 32, crop_scale=(1.0, 1.0))
    expected = np.asarray(scenes[0]["annotation"].resize((32, 32), Image.Resampling.NEAREST))
    found = {tuple(whole[0]["labels"].flatten().tolist())}
    for epoch in range(1, 4):
        whole.set_epoch(epoch)
        found.add(tuple(whole[0]["labels"].flatten().tolist()))
    assert found == {tuple(expected.flatten()), tuple(expected[:, ::-1].flatten())}


def test_a_batch_keeps_masks_of_several_sizes(scenes):
    data = MaskedImages(scenes, 32)
    batch = masked_batch([data[0], data[1]])
    assert batch["pixel_values"].shape == (2, 3, 32, 32)
    assert [tuple(mask.shape) for mask in batch["labels"]] == [(72, 56), (64, 80)]


def test_mean_and_std_are_of_all_pixels(scenes):
    pixels = np.concatenate([np.asarray(row["image"]).reshape(-1, 3) for row in scenes]) / 255
    mean, std = MaskedImages(scenes, 32).statistics()
    np.testing.assert_allclose(mean, pixels.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(std, pixels.std(axis=0), atol=1e-6)


@pytest.mark.parametrize("mask", [Image.new("RGB", (4, 4)), Image.new("L", (5, 4))])
def test_a_mask_that_is_none_is_named_with_its_number(mask):
    rows = datasets.Dataset.from_dict(
        {"image": [Image.new("RGB", (4, 4))], "mask": [mask]},
        features=datasets.Features({"image": datasets.Image(), "mask": datasets.Image()}),
    )
    with pytest.raises(RecipeError, match=r"mask 0 has 3 channels|image 0 has .* its mask"):
        MaskedImages(rows, 4)[0]


def test_reduced_labels_move_down_and_none_stays_none():
    mask = Image.fromarray(np.array([[0, 1], [2, 255]], dtype=np.uint8))
    rows = datasets.Dataset.from_dict(
        {"image": [Image.new("RGB", (2, 2))], "mask": [mask]},
        features=datasets.Features({"image": datasets.Image(), "mask": datasets.Image()}),
    )
    data = MaskedImages(rows, 2, reduce_labels=True)
    assert data[0]["labels"].tolist() == [[255, 0], [1, 255]]
    assert data.count_classes() == 2


def test_classes_are_counted_without_the_ignored_one(scenes):
    assert MaskedImages(scenes, 32).count_classes() == 2


@pytest.mark.parametrize("columns", [{"image_column": "picture"}, {"mask_column": "mask"}])
def test_a_missing_column_is_named(scenes, columns):
    with pytest.raises(RecipeError, match=next(iter(columns))):
        MaskedImages(scenes, 32, **columns)


def test_random_crops_stay_inside_and_have_the_asked_area():
    rng = np.random.default_rng(0)
    for _ in range(200):
        left, top, right, bottom = random_crop((120, 90), (0.2, 0.6), rng)
        assert 0 <= left < right <= 120
        assert 0 <= top < bottom <= 90
        area = (right - left) * (bottom - top) / (120 * 90)
        assert 0.18 < area < 0.63
