"""Segmentation with a linear head: data, model, score, on mosaics of the packaged photographs."""

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import jaccard_score
from torch.nn import functional as F
from transformers import ViTModel

from dailymae_hf.downstream.masked_images import MaskedImages, random_crop
from dailymae_hf.downstream.segmentation import LinearSegmenter, SegmentationTrainer, build_segmenter
from dailymae_hf.errors import RecipeError
from dailymae_hf.training.training_args import DailyMAETrainingArguments
from tests.support.in_memory import tiny_model

NAMES = ["dark", "bright"]


@pytest.fixture(scope="module")
def scenes(photographs) -> datasets.Dataset:
    """Twelve pictures whose mask says where they are bright; the border has no class."""
    rows: dict[str, list] = {"image": [], "annotation": []}
    for _, photograph in photographs[:6] * 2:
        picture = photograph.resize((80, 64))
        mask = (np.asarray(picture.convert("L")) > 127).astype(np.uint8)
        mask[:2] = 255
        rows["image"].append(picture)
        rows["annotation"].append(Image.fromarray(mask))
    return datasets.Dataset.from_dict(
        rows, features=datasets.Features({"image": datasets.Image(), "annotation": datasets.Image()})
    )


def arguments(folder, **overrides):
    values = {
        "output_dir": str(folder), "num_train_epochs": 2, "per_device_train_batch_size": 4, "warmup_epochs": 0,
        "per_device_eval_batch_size": 5, "use_cpu": True, "report_to": "none", "save_strategy": "no",
        "disable_tqdm": True, "learning_rate": 1e-2,
    }  # fmt: skip
    return DailyMAETrainingArguments(**{**values, **overrides})


@pytest.mark.parametrize("frozen", [True, False])
def test_it_learns_and_freezing_freezes(scenes, tmp_path, frozen):
    model = build_segmenter(tiny_model(), NAMES, frozen=frozen)
    data = MaskedImages(scenes, 32, crop_scale=(0.5, 1.0))
    trainer = SegmentationTrainer(
        model, arguments(tmp_path, num_train_epochs=25), train_dataset=data, eval_dataset=MaskedImages(scenes, 32)
    )
    encoder = {name: tensor.clone() for name, tensor in model.vit.state_dict().items()}
    before = trainer.evaluate()
    trainer.train()
    after = trainer.evaluate()
    assert after["eval_mean_iou"] > before["eval_mean_iou"] + 0.15
    assert after["eval_pixel_accuracy"] > 0.8
    moved = [name for name, tensor in model.vit.state_dict().items() if not torch.equal(tensor, encoder[name])]
    assert bool(moved) is not frozen


def test_the_score_is_scikit_learns_over_all_pixels(scenes, tmp_path):
    torch.manual_seed(0)
    model = build_segmenter(tiny_model(), NAMES)
    dataset = MaskedImages(scenes, 32)
    trainer = SegmentationTrainer(model, arguments(tmp_path), train_dataset=dataset, eval_dataset=dataset)
    scores = trainer.evaluate()
    masks, predicted = [], []
    model.eval()
    for row in dataset:
        with torch.no_grad():
            logits = model(trainer.normalize(row["pixel_values"][None])).logits
        full = F.interpolate(logits, size=(32, 32), mode="bilinear")[0].argmax(0)
        known = row["labels"] != 255
        masks.append(row["labels"][known])
        predicted.append(full[known])
    expected = jaccard_score(torch.cat(masks), torch.cat(predicted), average="macro")
    assert scores["eval_mean_iou"] == pytest.approx(expected)


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


def test_evaluation_masks_are_nearest_neighbours(scenes):
    row = MaskedImages(scenes, 32)[0]
    expected = np.asarray(scenes[0]["annotation"].resize((32, 32), Image.Resampling.NEAREST))
    np.testing.assert_array_equal(row["labels"].numpy(), expected)
    assert row["pixel_values"].dtype == torch.uint8


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


def test_the_accelerate_loader_passes_the_epoch_on(scenes, tmp_path):
    data = MaskedImages(scenes, 32, crop_scale=(0.5, 1.0))
    epochs = []
    data.set_epoch = epochs.append
    trainer = SegmentationTrainer(
        build_segmenter(tiny_model(), NAMES), arguments(tmp_path, num_train_epochs=3), train_dataset=data
    )
    trainer.train()
    assert sorted(set(epochs)) == [0, 1, 2]


def test_a_saved_segmenter_loads_again_and_plain_vit_reads_its_encoder(tmp_path):
    model = build_segmenter(tiny_model(), NAMES).eval()
    model.save_pretrained(tmp_path)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(LinearSegmenter.from_pretrained(tmp_path).eval()(images).logits, model(images).logits)
        plain = ViTModel.from_pretrained(tmp_path, add_pooling_layer=False).eval()
        torch.testing.assert_close(plain(images).last_hidden_state, model.vit(images).last_hidden_state)


def test_other_sizes_give_other_grids():
    model = build_segmenter(tiny_model(), NAMES).eval()
    assert model(torch.zeros(1, 3, 48, 48)).logits.shape == (1, 2, 6, 6)


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
