"""Pictures: pixels are put back where they were, and the files are what they say."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from dailymae_hf.training.callbacks import ReconstructionCallback
from dailymae_hf.training.callbacks.reconstruction import reconstruct
from dailymae_hf.training.mae_trainer import DailyMAETrainer
from tests.support.in_memory import coloured_images, tiny_model
from tests.support.runs import arguments, loader, normalised, validation


@pytest.mark.parametrize("norm_pix_loss", [True, False])
def test_a_perfect_prediction_gives_the_image_back(norm_pix_loss):
    """The loss' target, worked out here, stands in for the prediction: un-normalised it has to be the image."""
    model = tiny_model(norm_pix_loss=norm_pix_loss)
    images = normalised(coloured_images(4)[0])
    patches = images.unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 2, 3, 4, 5, 1).reshape(4, 16, 192)
    target = patches
    if norm_pix_loss:
        target = (patches - patches.mean(-1, keepdim=True)) / (patches.var(-1, keepdim=True) + 1e-6) ** 0.5
    noise = torch.rand(4, 16, generator=torch.Generator().manual_seed(0))
    mask = (noise.argsort(1).argsort(1) >= 4).float()

    def oracle(pixel_values, **inputs):
        return SimpleNamespace(logits=target, mask=mask)

    oracle.config, oracle.patchify, oracle.unpatchify = model.config, model.patchify, model.unpatchify
    hidden, completed = reconstruct(oracle, images, noise)
    assert torch.allclose(completed, images, atol=1e-5)
    assert hidden.float().mean() == 0.75
    real_hidden, real = reconstruct(model.eval(), images, noise)
    assert torch.equal(real_hidden, hidden)
    seen = ~hidden.expand_as(images)
    assert torch.equal(real[seen], images[seen]), "visible patches are shown as they are"
    assert (real - images)[~seen].abs().mean() > 0.05


def test_writes_a_picture_each_n_epochs_and_at_the_end(tmp_path):
    callback = ReconstructionCallback(every_n_epochs=2, num_images=4)
    trainer = DailyMAETrainer(
        tiny_model(),
        arguments(tmp_path, num_train_epochs=5),
        train_beton=loader(),
        eval_beton=validation(),
        callbacks=[callback],
    )
    trainer.train()
    names = sorted(path.name for path in (tmp_path / "reconstructions").iterdir())
    assert names == ["epoch_0002.png", "epoch_0004.png", "epoch_0005.png"]
    pictures = [np.asarray(Image.open(tmp_path / "reconstructions" / name).convert("RGB")) for name in names]
    assert pictures[0].shape == pictures[1].shape
    assert (pictures[0] != pictures[1]).any(), "two epochs of training changed nothing"
    assert (pictures[0][:5] == 255).all(), "a white margin"
    assert callback.latest == tmp_path / "reconstructions" / "epoch_0005.png"
    assert trainer.model.training


def test_without_a_validation_file_pictures_are_of_training_images(tmp_path):
    """The self-supervised case: many have one pile of images and nothing beside it."""
    callback = ReconstructionCallback(every_n_epochs=10, num_images=3)
    given = {"train_beton": loader(shuffle=False), "callbacks": [callback]}
    trainer = DailyMAETrainer(tiny_model(), arguments(tmp_path, num_train_epochs=1), **given)
    trainer.train()
    trainer.create_model_card()
    assert "*Training images, what the encoder sees" in (tmp_path / "README.md").read_text()
    assert [path.name for path in (tmp_path / "reconstructions").iterdir()] == ["epoch_0001.png"]
    assert torch.equal(callback._images, coloured_images(40)[0][:3])


def test_without_any_file_it_says_so_and_draws_nothing(tmp_path, caplog):
    images = normalised(coloured_images(16)[0])
    dataset = [{"pixel_values": image} for image in images]
    args = arguments(tmp_path, num_train_epochs=1)
    DailyMAETrainer(tiny_model(), args, train_dataset=dataset, callbacks=[ReconstructionCallback()]).train()
    assert "no pictures are drawn" in caplog.text
    assert not (tmp_path / "reconstructions").exists()
