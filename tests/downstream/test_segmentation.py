"""Segmentation with a linear head: data, model, score, on mosaics of the packaged photographs."""

import re

import pytest
import torch
from PIL import Image
from sklearn.metrics import jaccard_score
from torch.nn import functional as F
from transformers import ViTModel

from dailymae_hf.downstream.masked_images import MaskedImages
from dailymae_hf.downstream.segmentation import LinearSegmenter, SegmentationTrainer, build_segmenter
from dailymae_hf.run_files import Result, scores_of, write_result
from dailymae_hf.training.training_args import DailyMAETrainingArguments
from tests.support.card_facts import placeholders
from tests.support.in_memory import tiny_model

NAMES = ["dark", "bright"]


def arguments(folder, **overrides):
    values = {
        "output_dir": str(folder), "num_train_epochs": 2, "per_device_train_batch_size": 4, "warmup_epochs": 0,
        "per_device_eval_batch_size": 5, "use_cpu": True, "report_to": "none", "save_strategy": "no",
        "disable_tqdm": True, "learning_rate": 1e-2, "bf16": False,
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


def test_the_score_is_scikit_learns_over_all_pixels_of_the_masks_as_they_are(scenes, tmp_path):
    torch.manual_seed(0)
    model = build_segmenter(tiny_model(), NAMES)
    dataset = MaskedImages(scenes, 32)
    trainer = SegmentationTrainer(model, arguments(tmp_path), train_dataset=dataset, eval_dataset=dataset)
    assert len({tuple(row["labels"].shape) for row in dataset}) > 1, "a batch has masks of several sizes"
    scores = trainer.evaluate()
    masks, predicted = [], []
    model.eval()
    for row in dataset:
        with torch.no_grad():
            logits = model(trainer.normalize(row["pixel_values"][None])).logits
        full = F.interpolate(logits, size=row["labels"].shape, mode="bilinear")[0].argmax(0)
        known = row["labels"] != 255
        masks.append(row["labels"][known])
        predicted.append(full[known])
    expected = jaccard_score(torch.cat(masks), torch.cat(predicted), average="macro")
    assert scores["eval_mean_iou"] == pytest.approx(expected)


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


class _Sharded:
    """A loader as accelerate's for several ranks: it keeps the epoch to itself."""

    def __init__(self, loader) -> None:
        self.loader, self.dataset = loader, loader.dataset

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self):
        return iter(self.loader)


def test_each_epoch_has_its_own_crops_on_several_ranks(scenes, tmp_path, monkeypatch):
    """accelerate calls a data set's `set_epoch` only where it does not shard: the crops were those of epoch 0."""
    data = MaskedImages(scenes, 32, crop_scale=(0.5, 1.0))
    trainer = SegmentationTrainer(
        build_segmenter(tiny_model(), NAMES), arguments(tmp_path, num_train_epochs=3), train_dataset=data
    )
    loader = torch.utils.data.DataLoader(data, batch_size=4)
    monkeypatch.setattr(trainer, "get_train_dataloader", lambda: _Sharded(loader))
    epochs = []
    data.set_epoch = epochs.append
    trainer.train()
    assert epochs == [0, 1, 2]


def test_a_segmenter_has_a_card(scenes, tmp_path):
    train, held_out = MaskedImages(scenes, 32, crop_scale=(0.5, 1.0)), MaskedImages(scenes, 32)
    trainer = SegmentationTrainer(
        build_segmenter(tiny_model(), NAMES), arguments(tmp_path), train_dataset=train, eval_dataset=held_out
    )
    trainer.train()
    scores = scores_of(trainer.evaluate())
    result = Result(
        protocol="linear segmentation, frozen encoder", task="image-segmentation", checkpoint="x", train_data="scenes",
        eval_data="scenes", eval_images=12, scores=scores, details={"epochs": 2},
    )  # fmt: skip
    write_result(tmp_path, result)
    trainer.save_model()
    trainer.create_model_card()
    card = (tmp_path / "README.md").read_text()
    assert placeholders(card) == []
    assert "pipeline_tag: image-segmentation" in card
    assert "library_name: dailymae_hf" in card
    assert f"mean IoU | {100 * scores['mean_iou']:.1f} |" in card
    code = "\n".join(re.findall(r"```python\n(.*?)```", card, re.S)).replace('"."', repr(str(tmp_path)))
    Image.new("RGB", (48, 40)).save(tmp_path / "photograph.jpg")
    names: dict = {}
    exec(code.replace("photograph.jpg", str(tmp_path / "photograph.jpg")), names)
    assert names["classes"].shape == (1, 32, 32)
