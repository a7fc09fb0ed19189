"""The encoder taken into other models: what is copied, what becomes of positions, what is refused."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import ViTConfig, ViTModel

from dailymae_hf.downstream.encoder import classifier_fields, copy_encoder, load_encoder
from dailymae_hf.errors import CheckpointError, RecipeError
from tests.support.in_memory import tiny_model


def plain_vit(encoder, image_size):
    fields = classifier_fields(encoder.config, ["a", "b"], image_size)
    return ViTModel(ViTConfig(**fields, qkv_bias=True), add_pooling_layer=False)


def test_every_tensor_is_copied():
    encoder = tiny_model(seed=4)
    model = plain_vit(encoder, None)
    copy_encoder(encoder, model)
    expected = encoder.vit.state_dict()
    assert set(model.state_dict()) == set(expected)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("kind", ["sin-cos", "zero", "learned"])
def test_another_size_has_the_positions_that_the_encoder_uses_there(kind):
    """Before, a table that was not the sin-cos one was replaced by it."""
    encoder = tiny_model()
    if kind != "sin-cos":
        state = encoder.state_dict()
        name = "vit.embeddings.position_embeddings"
        state[name] = torch.zeros_like(state[name]) if kind == "zero" else torch.randn_like(state[name])
        encoder.load_state_dict(state)
    model = plain_vit(encoder, 48)
    copy_encoder(encoder, model)
    pixels = torch.randn(1, 3, 48, 48)
    with torch.no_grad():
        expected = encoder.vit.layernorm(encoder.encode(pixels))
        torch.testing.assert_close(model(pixels).last_hidden_state[:, 1:], expected, atol=1e-5, rtol=1e-4)


def test_a_decoder_may_be_missing_and_an_encoder_may_not(tmp_path):
    tiny_model().save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    encoder = {name: tensor for name, tensor in tensors.items() if name.startswith("vit.")}
    save_file(encoder, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert torch.equal(load_encoder(tmp_path).vit.layernorm.weight, encoder["vit.layernorm.weight"])
    del encoder["vit.layernorm.weight"]
    save_file(encoder, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"no usable vit\.layernorm\.weight \(1 tensors of the encoder\)"):
        load_encoder(tmp_path)


@pytest.mark.parametrize(("names", "size", "said"), [(["a"], None, "1 classes"), (["a", "b"], 50, "image_size: 50")])
def test_what_no_classifier_can_be_made_of_is_refused(names, size, said):
    with pytest.raises(RecipeError, match=said):
        classifier_fields(tiny_model().config, names, size)
