"""`decoder_keep` of a recipe: fewer patches are reconstructed in training, none fewer in evaluation."""

import pytest
import torch

from dailymae_hf.model.flops import TRAINING_FACTOR, mae_flops
from dailymae_hf.training.mae_trainer import DailyMAETrainer
from dailymae_hf.training.training_args import DailyMAETrainingArguments
from tests.support.in_memory import tiny_model


def decoded_patches(model: torch.nn.Module, images: torch.Tensor) -> int:
    lengths = []
    handle = model.decoder.decoder_pred.register_forward_hook(lambda *call: lengths.append(call[2].shape[1]))
    model(images, return_logits=False)
    handle.remove()
    return lengths[0]


@pytest.mark.parametrize("keep", [1.0, 0.5, 0.25])
def test_argument_reaches_model_and_count(tmp_path, keep):
    model = tiny_model()
    arguments = DailyMAETrainingArguments(output_dir=str(tmp_path), use_cpu=True, decoder_keep=keep)
    trainer = DailyMAETrainer(model, arguments)
    size, config = model.config.image_size, model.config
    images = torch.rand(2, 3, size, size)
    hidden = int(model(images).mask[0].sum())
    assert decoded_patches(model.train(), images) == round(hidden * keep)
    assert decoded_patches(model.eval(), images) == hidden
    expected = 2 * TRAINING_FACTOR * mae_flops(config, size, decoder_keep=keep)
    assert trainer.floating_point_ops({"pixel_values": images}) == expected
