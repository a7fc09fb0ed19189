"""Frozen features: what is encoded, and batches that are cut out of the table whole."""

import pytest
import torch
from torch.utils.data import DataLoader
from transformers import ViTModel

from dailymae_hf.downstream.features import FeatureTable, as_it_is, frozen_encode
from tests.support.in_memory import tiny_model


@pytest.fixture(scope="module")
def encoder():
    model = tiny_model().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    return model


@torch.no_grad()
def test_cls_is_the_class_token_after_the_norm_and_mean_the_patches_before_it(encoder, tmp_path):
    """Against a plain ViT, whose hidden states are the tokens before the final norm."""
    encoder.save_pretrained(tmp_path)
    plain = ViTModel.from_pretrained(tmp_path, add_pooling_layer=False).eval()
    pixels = torch.randn(3, 3, 32, 32)
    outputs = plain(pixels, output_hidden_states=True)
    expected = {"cls": outputs.last_hidden_state[:, 0], "mean": outputs.hidden_states[-1][:, 1:].mean(dim=1)}
    for pooling, features in expected.items():
        torch.testing.assert_close(frozen_encode(encoder, pooling)(pixels), features, atol=1e-5, rtol=1e-4)


def test_a_loader_takes_whole_batches_of_the_rows_that_it_would_take_one_by_one():
    table = FeatureTable(torch.randn(10, 4), torch.arange(10))
    for shuffle in (False, True):
        loader = DataLoader(table, batch_size=4, shuffle=shuffle, collate_fn=as_it_is)
        batches = list(loader)
        assert [len(batch["labels"]) for batch in batches] == [4, 4, 2]
        labels = torch.cat([batch["labels"] for batch in batches])
        assert sorted(labels.tolist()) == list(range(10))
        assert torch.equal(torch.cat([batch["features"] for batch in batches]), table.features[labels])
    assert torch.equal(table[3]["features"], table.features[3])
