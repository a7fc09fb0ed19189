"""Draws that decide what is trained on: their definitions, their independence, and the numbers of earlier versions."""

import numpy as np
import pytest
import torch

from dailymae_hf.rng import (
    AUGMENT_STREAM,
    MIXING_STREAM,
    crop_draw,
    epoch_order,
    sample_generator,
    sample_noise,
)

ORDER = [4, 8, 7, 2, 5, 1, 0, 9, 6, 3]
NOISE = [
    [0.04421108961105347, 0.6380473375320435],
    [0.673195481300354, 0.5597728490829468],
    [0.9714159965515137, 0.8625733852386475],
]
CROPS = [0.08119623581551072, 0.3112922522869864, 0.12191501062237375]
GENERATOR = 0.6704722626516632
STREAMS = (0, AUGMENT_STREAM, MIXING_STREAM)


def test_the_numbers_are_those_of_earlier_versions() -> None:
    """Other numbers would end every resumed run elsewhere, and no published figure could be had again."""
    assert epoch_order(10, 12345, 678).tolist() == ORDER
    assert [sample_noise(42, 3, torch.tensor([7]), 2, stream=s).tolist()[0] for s in STREAMS] == NOISE
    assert [crop_draw(7, 3, 11, counter) for counter in (0, 1, 22)] == CROPS
    assert sample_generator(1, 2, 3).random() == GENERATOR


# ---- the order of an epoch -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_samples", [1, 2, 97, 1000])
def test_each_sample_once(num_samples: int) -> None:
    assert sorted(epoch_order(num_samples, 3, 5)) == list(range(num_samples))


def test_order_depends_on_seed_and_epoch_alone() -> None:
    np.testing.assert_array_equal(epoch_order(500, 1, 2), epoch_order(500, 1, 2))
    orders = {tuple(epoch_order(500, seed, epoch)) for seed in (0, 1, 2**63) for epoch in range(4)}
    assert len(orders) == 12


def test_order_is_the_documented_hash() -> None:
    """SplitMix64 written out in Python integers: a changed order would break resuming."""

    def mix(x: int) -> int:
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ x >> 27) * 0x94D049BB133111EB % 2**64
        return x ^ x >> 31

    golden, seed, epoch = 0x9E3779B97F4A7C15, 12345, 678
    key = mix((seed * golden + epoch) % 2**64)
    expected = sorted(range(300), key=lambda i: mix((i * golden + key) % 2**64))
    assert epoch_order(300, seed, epoch).tolist() == expected


def test_order_is_shuffled_evenly() -> None:
    """Where sample 0..9 land over many epochs: mean and spread of a uniform distribution on 0..99."""
    places = np.array([np.argsort(epoch_order(100, 7, epoch))[:10] for epoch in range(2000)])
    assert abs(places.mean() - 49.5) < 0.7  # 3 standard errors of 20,000 draws: 0.61
    assert abs(places.std() - 28.87) < 0.5
    assert abs(np.corrcoef(places[:, 0], places[:, 1])[0, 1]) < 0.08


# ---- noise ---------------------------------------------------------------------------------------------------------


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
    noise = sample_noise(seed, 3, torch.tensor([index]), 5)
    assert noise.dtype == torch.float32
    assert noise.tolist() == [[noise_as_written_down(seed, 3, index, patch) for patch in range(5)]]


def test_depends_on_the_sample_and_not_on_its_batch():
    whole = sample_noise(1, 2, torch.arange(64), 196)
    shuffled = torch.randperm(64)
    assert torch.equal(sample_noise(1, 2, shuffled, 196), whole[shuffled])
    assert torch.equal(sample_noise(1, 2, torch.tensor([9]), 100)[0], whole[9, :100])


def test_leaves_the_random_state_alone():
    state = torch.get_rng_state()
    sample_noise(1, 2, torch.arange(4), 196)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("varied", ["index", "epoch", "seed"])
def test_is_uniform_and_uncorrelated(varied):
    """Chi-square over 256 cells of the leading bits and over the trailing 8, and correlations between neighbouring
    samples, patches, and samples shifted by one patch. Bounds are five standard deviations."""
    count = 2000
    if varied == "index":
        noise = sample_noise(0, 0, torch.arange(count), 196)
    elif varied == "epoch":
        noise = torch.cat([sample_noise(0, epoch, torch.tensor([5]), 196) for epoch in range(count)])
    else:
        noise = torch.cat([sample_noise(seed, 0, torch.tensor([5]), 196) for seed in range(count)])
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
    order = sample_noise(7, 1, torch.arange(count), 196).argsort(dim=1)
    visible = torch.zeros(count, 196).scatter_(1, order[:, :49], 1.0)
    deviation = np.sqrt(0.25 * 0.75 / count)
    assert (visible.mean(0) - 0.25).abs().max() < 5 * deviation
    pairs = visible.T @ visible / count
    pair = 49 * 48 / (196 * 195)
    off_diagonal = pairs[~torch.eye(196, dtype=torch.bool)]
    assert (off_diagonal - pair).abs().max() < 6 * np.sqrt(pair * (1 - pair) / count)


def test_no_two_samples_share_a_mask_row():
    noise = sample_noise(0, 0, torch.arange(20_000), 16)
    assert len(torch.unique(noise, dim=0)) == 20_000


@pytest.mark.gpu
def test_same_bits_on_the_gpu():
    index = torch.arange(512) * 2_654_435
    assert torch.equal(sample_noise(3, 9, index, 196, "cuda").cpu(), sample_noise(3, 9, index, 196))
