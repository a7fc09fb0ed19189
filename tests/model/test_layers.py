"""The layers' shortcuts one by one, each against the stock layer with the same weights."""

import copy

import pytest
import torch
from torch import nn
from transformers import ViTMAEForPreTraining

from dailymae_hf.model.layers import DailyMAELayer, DailyPatchEmbeddings
from tests.support.in_memory import tiny_model

TOKENS, WIDTH = 9, 32


@pytest.fixture(scope="module")
def stock() -> ViTMAEForPreTraining:
    torch.manual_seed(0)
    model = ViTMAEForPreTraining(tiny_model().config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture
def pair(stock):
    """A stock layer, and ours with its weights."""
    ours = copy.deepcopy(stock.vit.layers[0])
    ours.__class__ = DailyMAELayer
    return stock.vit.layers[0], ours


@pytest.mark.parametrize("first", [0, 1, 4, TOKENS - 1])
def test_leaving_out_the_first_tokens_changes_no_other(pair, first):
    stock, ours = pair
    tokens = torch.randn(2, TOKENS, WIDTH)
    torch.testing.assert_close(ours(tokens, None, first), stock(tokens)[:, first:], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("first", [0, 3])
def test_tokens_that_recur_in_every_image_are_projected_once(pair, first):
    """The last tokens are rows of one table, other ones and in another order in each image."""
    stock, ours = pair
    rows, ids = torch.randn(12, WIDTH), torch.stack([torch.randperm(12)[:5] for _ in range(3)])
    tokens = torch.cat([torch.randn(3, TOKENS - 5, WIDTH), rows[ids]], dim=1)
    seen = []
    ours.layernorm_before.register_forward_hook(lambda module, inputs, output: seen.append(output.numel() // WIDTH))
    found = ours(tokens, None, first, (rows, ids))
    torch.testing.assert_close(found, stock(tokens)[:, first:], atol=1e-6, rtol=1e-5)
    assert sum(seen) == 3 * (TOKENS - 5) + 12


def test_a_callers_mask_goes_to_the_stock_layer(pair):
    stock, ours = pair
    tokens, mask = torch.randn(1, TOKENS, WIDTH), torch.zeros(1, 1, TOKENS, TOKENS)
    mask[..., 5:] = float("-inf")
    masked = stock(tokens, mask)
    assert not torch.allclose(masked, stock(tokens))
    torch.testing.assert_close(ours(tokens, mask), masked)


def test_a_projection_that_is_no_plain_linear_map_is_called(pair):
    """Adapters and 8-bit layers subclass or wrap `nn.Linear`: their own forward counts."""

    class Adapted(nn.Linear):
        def forward(self, tokens):
            return super().forward(tokens) + 0.1

    stock, ours = (copy.deepcopy(layer) for layer in pair)
    for layer in (stock, ours):
        layer.attention.q_proj.__class__ = Adapted
    tokens = torch.randn(2, TOKENS, WIDTH)
    torch.testing.assert_close(ours(tokens), stock(tokens), atol=1e-6, rtol=1e-5)
    assert not torch.allclose(ours(tokens), pair[0](tokens), atol=1e-4)


def test_bf16_attention_on_a_cpu_computes_in_float32(pair):
    stock, ours = pair
    tokens = torch.randn(2, TOKENS, WIDTH)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, theirs = ours(tokens), stock(tokens)
    exact = stock(tokens)
    assert (found - exact).abs().mean() <= 1.05 * (theirs - exact).abs().mean()


def test_patches_that_were_cut_out_are_embedded_like_the_image(stock):
    stock_embeddings = stock.vit.embeddings.patch_embeddings
    ours = copy.deepcopy(stock_embeddings)
    ours.__class__ = DailyPatchEmbeddings
    pixels = torch.randn(2, 3, 32, 32)
    expected = stock_embeddings(pixels)
    torch.testing.assert_close(ours(pixels), expected)
    patches = stock.patchify(pixels)
    torch.testing.assert_close(ours(patches), expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(ours(patches[:, [3, 1]]), expected[:, [3, 1]], atol=1e-6, rtol=1e-5)
