"""Classifiers against MAE's own forward pass written out, and as plain transformers loads them."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from transformers import (
    AutoModelForImageClassification,
    BeitForImageClassification,
    ViTForImageClassification,
    ViTMAEForPreTraining,
)

from dailymae_hf.downstream.classifier import build_classifier, classifier_logits, pooled_features
from dailymae_hf.downstream.encoder import load_encoder
from dailymae_hf.errors import CheckpointError, RecipeError
from dailymae_hf.model.modeling import DailyMAEForPreTraining, mae_config
from dailymae_hf.model.positions import sincos_positions
from dailymae_hf.model.weight_names import to_file_names
from tests.support.reference_mae import ReferenceMAE

NAMES = ["cat", "coffee", "rocket"]
TINY = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64, "image_size": 64,
    "patch_size": 16, "decoder_hidden_size": 16, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 32,
}  # fmt: skip


@pytest.fixture(scope="module")
def encoder() -> DailyMAEForPreTraining:
    torch.manual_seed(0)
    model = DailyMAEForPreTraining(mae_config("tiny", **TINY))
    with torch.no_grad():  # biases and norms that do nothing would hide a tensor that was left behind
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
            elif "position" not in name:
                parameter.mul_(2)
    return model.eval()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(5, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def mae_tokens(encoder, images):
    """All tokens before any final norm, by the tests' own MAE."""
    reference = ReferenceMAE(to_file_names(encoder.state_dict()), encoder.config)
    return reference.encode(reference.embed(images))


def randomise_head(model):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith("classifier.") or ".pooler." in name:
                parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_logits_are_maes(encoder, images, pooling):
    model = build_classifier(encoder, NAMES, pooling=pooling).eval()
    randomise_head(model)
    tokens = mae_tokens(encoder, images)
    if pooling == "mean":
        norm = model.base_model.pooler.layernorm
        pooled = F.layer_norm(tokens[:, 1:].mean(dim=1), (32,), norm.weight, norm.bias, 1e-6)
    else:
        norm = encoder.vit.layernorm
        pooled = F.layer_norm(tokens, (32,), norm.weight, norm.bias, 1e-6)[:, 0]
    with torch.no_grad():
        torch.testing.assert_close(pooled_features(model, images), pooled, atol=2e-5, rtol=1e-4)
        expected = F.linear(pooled, model.classifier.weight, model.classifier.bias)
        torch.testing.assert_close(classifier_logits(model, images), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("pooling", "plain"), [("mean", BeitForImageClassification), ("cls", ViTForImageClassification)]
)
def test_a_saved_classifier_is_a_plain_one(encoder, images, tmp_path, pooling, plain):
    ours = build_classifier(encoder, NAMES, pooling=pooling, drop_path_rate=0.1).eval()
    randomise_head(ours)
    ours.save_pretrained(tmp_path)
    loaded, info = AutoModelForImageClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert type(loaded) is plain
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == [plain.__name__]
    assert loaded.config.id2label == dict(enumerate(NAMES))
    with torch.no_grad():
        assert torch.equal(loaded(images).logits, classifier_logits(ours, images))


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("size", [32, 80, 96])
def test_other_sizes_resample_the_positions(encoder, pooling, size):
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(3))
    model = build_classifier(encoder, NAMES, pooling=pooling).eval()
    resized = build_classifier(encoder, NAMES, pooling=pooling, image_size=size).eval()
    with torch.no_grad():
        prefix = "beit" if pooling == "mean" else "vit"
        table = dict(model.named_parameters())[f"{prefix}.embeddings.position_embeddings"]
        grid = F.interpolate(
            table[:, 1:].unflatten(1, (4, 4)).permute(0, 3, 1, 2), size=(size // 16,) * 2, mode="bicubic"
        )
        dict(resized.named_parameters())[f"{prefix}.embeddings.position_embeddings"][:, 1:] = grid.flatten(2).mT
        torch.testing.assert_close(
            pooled_features(model, images), pooled_features(resized, images), atol=1e-5, rtol=1e-5
        )


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_another_image_size_gets_the_sin_cos_table_of_its_grid(encoder, pooling):
    model = build_classifier(encoder, NAMES, pooling=pooling, image_size=96)
    stored = model.base_model.embeddings.position_embeddings
    torch.testing.assert_close(stored[0], sincos_positions(6, 4, 32).float())
    assert model.config.image_size == 96


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_drop_path_grows_with_depth_and_acts_in_training_only(encoder, images, pooling):
    model = build_classifier(encoder, NAMES, pooling=pooling, drop_path_rate=0.5)
    plain = build_classifier(encoder, NAMES, pooling=pooling)
    randomise_head(model)
    randomise_head(plain)
    with torch.no_grad():
        assert torch.equal(classifier_logits(model.eval(), images), classifier_logits(plain.eval(), images))
        torch.manual_seed(0)
        assert not torch.equal(classifier_logits(model.train(), images), classifier_logits(plain.train(), images))
        last = model.base_model.layers[2]
        tokens = torch.randn(4000, 2, 32)
        mlp_only = last.mlp(last.layernorm_after(tokens))
        # An image loses attention and MLP independently, half of the time each.
        outcome = last(tokens) - tokens
        untouched = (outcome == 0).all(dim=(1, 2)).float().mean()
        assert float(untouched) == pytest.approx(0.25, abs=0.03)
        only_mlp = torch.isclose(outcome, 2 * mlp_only, atol=1e-4).all(dim=2).all(dim=1).float().mean()
        assert float(only_mlp) == pytest.approx(0.25, abs=0.03)
        first = model.base_model.layers[0]
        assert torch.equal(first(tokens), first.eval()(tokens)), "the first block is never dropped"


def test_the_head_starts_small(encoder):
    model = build_classifier(encoder, [str(i) for i in range(500)], head_std=2e-5)
    assert float(model.classifier.weight.detach().std()) == pytest.approx(2e-5, rel=0.05)
    assert not model.classifier.bias.any()


def test_an_encoder_without_its_decoder_is_enough(encoder, tmp_path):
    encoder.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file(
        {n: t for n, t in weights.items() if n.startswith("vit.")}, tmp_path / "model.safetensors", {"format": "pt"}
    )
    loaded = load_encoder(tmp_path)
    for name, tensor in encoder.vit.state_dict().items():
        assert torch.equal(loaded.vit.state_dict()[name], tensor)


def test_a_checkpoint_without_encoder_tensors_is_refused(encoder, tmp_path):
    encoder.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["vit.encoder.layer.1.intermediate.dense.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"vit\.layers\.1\.mlp\.fc1\.weight"):
        load_encoder(tmp_path)


def test_a_stock_checkpoint_becomes_the_same_classifier(encoder, images, tmp_path):
    stock = ViTMAEForPreTraining(encoder.config)
    stock.load_state_dict(encoder.state_dict())
    stock.save_pretrained(tmp_path)
    ours, theirs = (build_classifier(model, NAMES).eval() for model in (encoder, load_encoder(tmp_path)))
    assert torch.equal(pooled_features(ours, images), pooled_features(theirs, images))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"class_names": ["one"]}, "1 classes"), ({"class_names": NAMES, "image_size": 65}, "image_size: 65")],
)
def test_impossible_settings_are_named(encoder, arguments, message):
    with pytest.raises(RecipeError, match=message):
        build_classifier(encoder, **arguments)
