"""Scores without labels, on features whose spectrum is known."""

import pytest
import torch

from dailymae_hf.training.spectrum import alpha_req, rankme


def _features(singular_values: torch.Tensor, rows: int = 512) -> torch.Tensor:
    """Centred features with these singular values, turned and shifted."""
    generator = torch.Generator().manual_seed(0)
    width = len(singular_values)
    noise = torch.randn(rows, width, generator=generator, dtype=torch.float64)
    left = torch.linalg.qr(noise - noise.mean(dim=0))[0]
    turned = torch.linalg.qr(torch.randn(width, width, generator=generator, dtype=torch.float64))[0]
    return left * singular_values @ turned + 7


@pytest.mark.parametrize("rank", [1, 3, 16])
def test_equal_directions_count_as_many(rank: int):
    values = torch.zeros(16, dtype=torch.float64)
    values[:rank] = 2.0
    assert rankme(_features(values)) == pytest.approx(rank, rel=1e-5)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_a_power_law_gives_its_exponent(alpha: float):
    values = torch.arange(1, 17, dtype=torch.float64) ** (-alpha / 2)
    assert alpha_req(_features(values)) == pytest.approx(alpha, rel=1e-6)


def test_one_direction_has_no_slope():
    assert alpha_req(torch.linspace(0, 1, 9).unsqueeze(1)) == 0.0


def test_half_precision_features_are_taken():
    features = torch.randn(64, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert 6 < rankme(features) <= 8
