"""Fresh weights are MAE's: each kind of tensor against its distribution, positions against their formula."""

import math

import numpy as np
import pytest
import torch
from transformers import ViTMAEConfig, ViTMAEForPreTraining

from dailymae_hf.errors import RecipeError
from dailymae_hf.model.modeling import DailyMAEForPreTraining, mae_config
from tests.support.reference_mae import sincos_table


@pytest.fixture(scope="module")
def model() -> DailyMAEForPreTraining:
    torch.manual_seed(0)
    return DailyMAEForPreTraining(mae_config("small", num_hidden_layers=2, decoder_num_hidden_layers=2))


def assert_uniform(tensor: torch.Tensor, bound: float) -> None:
    """Fills [-bound, bound] evenly: extremes close to the bound, variance bound**2 / 3."""
    assert tensor.abs().max() <= bound
    assert tensor.abs().max() > 0.999 * bound
    assert tensor.var().item() == pytest.approx(bound**2 / 3, rel=0.02)


def test_stock_starts_without_positions_and_ours_has_them(model):
    """Stock 5.x: encoder positions and class token, decoder positions and mask token are all zero, and frozen where
    they are positions. Training from scratch then never learns where a patch is."""
    stock = ViTMAEForPreTraining(ViTMAEConfig(num_hidden_layers=1, decoder_num_hidden_layers=1))
    for tensor in (
        stock.vit.embeddings.position_embeddings,
        stock.vit.embeddings.cls_token,
        stock.decoder.decoder_pos_embed,
        stock.decoder.mask_token,
    ):
        assert not tensor.any()
    assert not stock.vit.embeddings.position_embeddings.requires_grad
    for ours, dim in ((model.vit.embeddings.position_embeddings, 384), (model.decoder.decoder_pos_embed, 256)):
        expected = torch.from_numpy(sincos_table(14, 14, dim).astype(np.float32))
        torch.testing.assert_close(ours[0], expected, atol=1e-7, rtol=0)
        assert not ours.requires_grad


def test_positions_put_the_width_half_first(model):
    """[sin_w | cos_w | sin_h | cos_h]: along a row of patches only the first half changes."""
    grid = model.vit.embeddings.position_embeddings[0, 1:].view(14, 14, 384)
    assert torch.equal(grid[3, 2, 192:], grid[3, 9, 192:])
    assert torch.equal(grid[2, 3, :192], grid[9, 3, :192])
    assert grid[0, 1, 0].item() == pytest.approx(math.sin(1))
    assert grid[1, 0, 192].item() == pytest.approx(math.sin(1))


def test_tokens_are_normal_002(model):
    """Stock: zeros."""
    tokens = torch.cat([model.vit.embeddings.cls_token.flatten(), model.decoder.mask_token.flatten()])
    assert tokens.std().item() == pytest.approx(0.02, rel=0.1)
    assert tokens.abs().max() > 0.04


def test_linears_are_xavier_uniform_and_query_key_value_are_one_matrix(model):
    """Stock draws every weight from normal(.02)."""
    stock = ViTMAEForPreTraining(model.config).vit.layers[0].mlp.fc1.weight
    assert stock.std().item() == pytest.approx(0.02, rel=0.02)
    for width, layer in ((384, model.vit.layers[1]), (256, model.decoder.decoder_layers[1])):
        for part in ("q_proj", "k_proj", "v_proj"):
            assert_uniform(getattr(layer.attention, part).weight, math.sqrt(6 / (4 * width)))
        assert_uniform(layer.attention.o_proj.weight, math.sqrt(6 / (2 * width)))
        assert_uniform(layer.mlp.fc1.weight, math.sqrt(6 / (5 * width)))
        assert_uniform(layer.mlp.fc2.weight, math.sqrt(6 / (5 * width)))
    assert_uniform(model.decoder.decoder_embed.weight, math.sqrt(6 / (384 + 256)))
    assert_uniform(model.decoder.decoder_pred.weight, math.sqrt(6 / (768 + 256)))


def test_patch_projection_is_drawn_as_a_linear_map(model):
    assert_uniform(model.vit.embeddings.patch_embeddings.projection.weight, math.sqrt(6 / (768 + 384)))


def test_biases_are_zero_and_norms_are_one(model):
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
        elif "norm" in name:
            assert (parameter == 1).all(), name


def test_every_parameter_is_covered(model):
    """No tensor is left constant except the biases and norms checked above."""
    for name, parameter in model.named_parameters():
        if not name.endswith("bias") and "norm" not in name:
            assert parameter.std() > 0, name


def test_layer_norm_eps_is_1e6_where_stock_has_1e12(model):
    assert ViTMAEConfig().layer_norm_eps == 1e-12
    assert all(m.eps == 1e-6 for m in model.modules() if isinstance(m, torch.nn.LayerNorm))


def test_fresh_weights_follow_the_seed_only():
    def build() -> dict[str, torch.Tensor]:
        torch.manual_seed(3)
        return DailyMAEForPreTraining(mae_config("tiny", num_hidden_layers=1)).state_dict()

    first, second = build(), build()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("size", "millions"), [("tiny", 6.6), ("small", 25.2), ("base", 111.9), ("large", 329.5), ("huge", 657.1)]
)
def test_sizes_have_maes_parameter_counts(size, millions):
    """Base, large and huge: the figures of MAE's own models (111.9 M, 329.5 M, 657 M with decoder)."""
    with torch.device("meta"):
        model = DailyMAEForPreTraining(mae_config(size))
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.3)
    if size in ("base", "large", "huge"):
        config = model.config
        decoder = (
            config.decoder_hidden_size,
            config.decoder_num_hidden_layers,
            config.decoder_num_attention_heads,
            config.decoder_intermediate_size,
        )
        assert decoder == (512, 8, 16, 2048)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"size": "gigantic"}, "gigantic"),
        ({"hidden_sizes": 64}, "hidden_sizes"),
        ({"decoder_hidden_size": 30, "decoder_num_attention_heads": 2}, "decoder_hidden_size"),
        ({"image_size": 220}, "image_size"),
    ],
)
def test_impossible_configurations_name_the_field(arguments, named):
    with pytest.raises(RecipeError, match=named):
        mae_config(**({"size": "tiny"} | arguments))
