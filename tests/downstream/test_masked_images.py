"""Images with class masks: crops that both share, masks that stay as they are for scoring, what is refused."""

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from dailymae_hf.downstream.masked_images import MaskedImages, masked_batch, random_crop
from dailymae_hf.errors import MaskError, RecipeError


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


def pairs(folder, *masks):
    """A data set of black 4 x 4 images and these masks, as files that it names."""
    folder.mkdir(exist_ok=True)
    rows: dict[str, list] = {"image": [], "mask": []}
    for number, mask in enumerate(masks):
        for kind, picture in (("image", Image.new("RGB", (4, 4))), ("mask", mask)):
            rows[kind].append(str(folder / f"{kind}{number}.png"))
            picture.save(rows[kind][-1])
    return datasets.Dataset.from_dict(
        rows, features=datasets.Features({"image": datasets.Image(), "mask": datasets.Image()})
    )


WRONG = {
    "colours": (Image.new("RGB", (4, 4)), r"mask 1 \(.*mask1\.png\) has 3 channels; .* as a PNG of one channel"),
    "size": (Image.new("L", (5, 3)), r"image and mask 1 \(.*mask1\.png\) differ in size, 4 x 4 and 5 x 3 pixels"),
    "class": (Image.new("L", (4, 4), 10), r"class_names: there are 3 classes, 0 to 2, and mask 1 .* holds class 10"),
    "missing": (Image.new("L", (4, 4)), r"image 1 or its mask cannot be read: .*mask1\.png: No such file"),
}


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("kind", WRONG)
def test_a_mask_that_is_none_is_named_with_its_file(tmp_path, kind, workers):
    """Before, a worker's traceback, a bare FileNotFoundError, and IndexError of the loss."""
    mask, said = WRONG[kind]
    data = MaskedImages(pairs(tmp_path, Image.new("L", (4, 4)), mask), 4, crop_scale=(0.5, 1.0))
    data.classes = 3
    if kind == "missing":
        (tmp_path / "mask1.png").unlink()
    with pytest.raises(MaskError, match=f"^{said}") as error:
        list(DataLoader(data, num_workers=workers))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["colours", "size", "missing"])
def test_a_mask_that_is_none_is_found_where_classes_are_counted(tmp_path, kind):
    data = MaskedImages(pairs(tmp_path, Image.new("L", (4, 4)), WRONG[kind][0]), 4)
    if kind == "missing":
        (tmp_path / "mask1.png").unlink()
    with pytest.raises(MaskError, match=WRONG[kind][1]):
        data.count_classes()


def test_a_mask_without_a_file_is_named_by_its_number(tmp_path, scenes):
    data = MaskedImages(scenes, 32)
    data.classes = 1
    with pytest.raises(MaskError, match="and mask 0 holds class 1;"):
        data[0]


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
    [(role, name)] = columns.items()
    with pytest.raises(RecipeError, match=f"^{role}: no column '{name}' among .*metadata.jsonl"):
        MaskedImages(scenes, 32, **columns)


def test_random_crops_stay_inside_and_have_the_asked_area():
    rng = np.random.default_rng(0)
    for _ in range(200):
        left, top, right, bottom = random_crop((120, 90), (0.2, 0.6), rng)
        assert 0 <= left < right <= 120
        assert 0 <= top < bottom <= 90
        area = (right - left) * (bottom - top) / (120 * 90)
        assert 0.18 < area < 0.63
