"""Mimetic attention weights against the matrices that they are factors of."""

import copy

import pytest
import torch

from dailymae_hf.model.mimetic_weights import draw_mimetic_attention
from dailymae_hf.model.modeling import DailyMAEForPreTraining, mae_config


@pytest.fixture(scope="module")
def models() -> tuple[DailyMAEForPreTraining, DailyMAEForPreTraining]:
    """A model with MAE's weights, and the same with mimetic attention in its encoder."""
    torch.manual_seed(0)
    before = DailyMAEForPreTraining(mae_config("tiny", num_hidden_layers=2, decoder_num_hidden_layers=1))
    after = copy.deepcopy(before)
    draw_mimetic_attention(after.vit.layers)
    return before, after


def test_value_and_output_are_noise_minus_identity(models):
    attention = models[1].vit.layers[0].attention
    product = (attention.o_proj.weight @ attention.v_proj.weight).detach()
    noise = product + 0.4 * torch.eye(192)
    assert noise.diagonal().mean().item() == pytest.approx(0, abs=0.01)
    assert noise.std().item() == pytest.approx(0.4 / 192**0.5, rel=0.02)


def test_query_and_key_of_a_head_lean_to_the_identity(models):
    """64 of 192 directions, the strongest ones: the product's trace is more than a third of the whole matrix's."""
    attention = models[1].vit.layers[1].attention
    for head in range(3):
        rows = slice(64 * head, 64 * (head + 1))
        product = (attention.q_proj.weight[rows].T @ attention.k_proj.weight[rows]).detach()
        assert product.diagonal().mean().item() > 0.7 / 3
        assert product.diagonal().mean() > 10 * product.fill_diagonal_(0).mean().abs()


def test_heads_and_layers_differ(models):
    queries = [layer.attention.q_proj.weight for layer in models[1].vit.layers]
    assert not torch.equal(queries[0], queries[1])
    assert not torch.equal(queries[0][:64], queries[0][64:128])


def test_nothing_else_is_touched(models):
    before, after = (dict(model.named_parameters()) for model in models)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {
        f"vit.layers.{layer}.attention.{part}_proj.weight" for layer in range(2) for part in ("q", "k", "v", "o")
    }
