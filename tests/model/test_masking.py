"""Masking noise: a pure function of (seed, epoch, index, patch), uniform and without structure between its inputs."""

import numpy as np
import pytest
import torch

from dailymae_hf.errors import RecipeError
from dailymae_hf.model.masking import mask_ratio_for, masking_noise, num_visible


def noise_as_written_down(seed: int, epoch: int, index: int, patch: int) -> float:
    """The definition for one patch, in Python's unbounded integers."""

    def mix(x: int) -> int:
        x ^= x >> 16
        x = x * 0x21F0AAAD % 2**32
        x ^= x >> 15
        x = x * 0x735A2D97 % 2**32
        return x ^ x >> 15

    key = 0x9E3779B9
    for word in (seed, seed >> 32, epoch, index, index >> 32):
        key = mix(key ^ word % 2**32)
    return (mix(mix(key ^ mix(patch + 1)) ^ mix(key ^ 0x5BD1E995)) >> 8) / 2**24


@pytest.mark.parametrize("seed", [0, 42, 2**40 + 3])
@pytest.mark.parametrize("index", [0, 7, 1_281_166, 2**35])
def test_equals_the_definition(seed, index):
    noise = masking_noise(seed, 3, torch.tensor([index]), 5)
    assert noise.dtype == torch.float32
    assert noise.tolist() == [[noise_as_written_down(seed, 3, index, patch) for patch in range(5)]]


def test_depends_on_the_sample_and_not_on_its_batch():
    whole = masking_noise(1, 2, torch.arange(64), 196)
    shuffled = torch.randperm(64)
    assert torch.equal(masking_noise(1, 2, shuffled, 196), whole[shuffled])
    assert torch.equal(masking_noise(1, 2, torch.tensor([9]), 100)[0], whole[9, :100])


def test_leaves_the_random_state_alone():
    state = torch.get_rng_state()
    masking_noise(1, 2, torch.arange(4), 196)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("varied", ["index", "epoch", "seed"])
def test_is_uniform_and_uncorrelated(varied):
    """Chi-square over 256 cells of the leading bits and over the trailing 8, and correlations between neighbouring
    samples, patches, and samples shifted by one patch. Bounds are five standard deviations."""
    count = 2000
    if varied == "index":
        noise = masking_noise(0, 0, torch.arange(count), 196)
    elif varied == "epoch":
        noise = torch.cat([masking_noise(0, epoch, torch.tensor([5]), 196) for epoch in range(count)])
    else:
        noise = torch.cat([masking_noise(seed, 0, torch.tensor([5]), 196) for seed in range(count)])
    assert 0 <= noise.min() < 1e-4
    assert 1 - 1e-4 < noise.max() < 1
    words = (noise.double() * 2**24).long()
    for cells in (words >> 16, words & 255):
        observed = torch.bincount(cells.flatten(), minlength=256).double()
        expected = noise.numel() / 256
        chi_square = ((observed - expected) ** 2 / expected).sum().item()
        assert abs(chi_square - 255) < 5 * np.sqrt(2 * 255)
    centred = (noise - 0.5).double() * np.sqrt(12)
    for first, second in (
        (centred[:-1], centred[1:]),
        (centred[:, :-1], centred[:, 1:]),
        (centred[:-1, 1:], centred[1:, :-1]),
        (centred[:-1, :-1], centred[1:, 1:]),
    ):
        assert abs((first * second).mean().item()) < 5 / np.sqrt(first.numel())


def test_every_patch_is_hidden_equally_often_and_pairs_are_independent():
    """Masks, not only noise: of 196 patches each is visible in a quarter of the samples, pairs in 49*48/(196*195)."""
    count = 20_000
    order = masking_noise(7, 1, torch.arange(count), 196).argsort(dim=1)
    visible = torch.zeros(count, 196).scatter_(1, order[:, :49], 1.0)
    deviation = np.sqrt(0.25 * 0.75 / count)
    assert (visible.mean(0) - 0.25).abs().max() < 5 * deviation
    pairs = visible.T @ visible / count
    pair = 49 * 48 / (196 * 195)
    off_diagonal = pairs[~torch.eye(196, dtype=torch.bool)]
    assert (off_diagonal - pair).abs().max() < 6 * np.sqrt(pair * (1 - pair) / count)


def test_no_two_samples_share_a_mask_row():
    noise = masking_noise(0, 0, torch.arange(20_000), 16)
    assert len(torch.unique(noise, dim=0)) == 20_000


@pytest.mark.gpu
def test_same_bits_on_the_gpu():
    index = torch.arange(512) * 2_654_435
    assert torch.equal(masking_noise(3, 9, index, 196, "cuda").cpu(), masking_noise(3, 9, index, 196))


@pytest.mark.parametrize("mask_ratio", [0.5, 0.66, 0.75, 0.8, 0.85, 0.9])
@pytest.mark.parametrize("patches", [25, 100, 144, 196, 256])
def test_visible_patches_are_rounded_as_mae_does(patches, mask_ratio):
    assert num_visible(patches, mask_ratio) == int(patches * (1 - mask_ratio))


@pytest.mark.parametrize("patches", [4, 25, 36, 49, 64, 81, 100, 121, 144, 169, 196, 225, 256, 576])
def test_mask_ratio_for_gives_back_every_count(patches):
    """Plain 1 - visible / patches loses one patch to rounding for some counts."""
    counts = range(1, patches)
    assert [num_visible(patches, mask_ratio_for(patches, visible)) for visible in counts] == list(counts)
    assert max(abs(mask_ratio_for(patches, v) - (1 - v / patches)) for v in counts) < 1e-12


@pytest.mark.parametrize("mask_ratio", [0.0, 1.0, -0.5, 0.999])
def test_impossible_ratios_name_the_field(mask_ratio):
    with pytest.raises(RecipeError, match="mask_ratio"):
        num_visible(196, mask_ratio)
