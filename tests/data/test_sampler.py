"""The arithmetic of epochs: every sample once, the same global batches for any number of ranks."""

import numpy as np
import pytest

from dailymae_hf.data.sampler import BatchPlan, epoch_order


@pytest.mark.parametrize("num_samples", [1, 2, 97, 1000])
def test_each_sample_once(num_samples: int) -> None:
    assert sorted(epoch_order(num_samples, 3, 5)) == list(range(num_samples))


def test_order_depends_on_seed_and_epoch_alone() -> None:
    np.testing.assert_array_equal(epoch_order(500, 1, 2), epoch_order(500, 1, 2))
    orders = {tuple(epoch_order(500, seed, epoch)) for seed in (0, 1, 2**63) for epoch in range(4)}
    assert len(orders) == 12
    np.testing.assert_array_equal(epoch_order(9, 1, 2, shuffle=False), np.arange(9))


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


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize(("num_samples", "batch", "world"), [(100, 4, 3), (96, 4, 3), (7, 4, 3), (13, 1, 8), (2, 3, 8)])
def test_ranks_share_the_global_batches(num_samples: int, batch: int, world: int, drop_last: bool) -> None:
    order = epoch_order(num_samples, 0, 0)
    plans = [BatchPlan(num_samples, batch, rank, world, drop_last) for rank in range(world)]
    alone = BatchPlan(num_samples, batch * world, 0, 1, drop_last)
    assert {len(plan) for plan in plans} == {len(alone)}
    seen: list[int] = []
    for k in range(len(alone)):
        parts = [plan.rows(order, k) for plan in plans]
        assert len({len(rows) for rows, _ in parts}) == 1  # equal shapes on all ranks
        real = np.concatenate([rows[:count] for rows, count in parts])
        np.testing.assert_array_equal(real, alone.rows(order, k)[0])
        seen += real.tolist()
    whole = num_samples // (batch * world) * batch * world
    assert seen == order[: whole if drop_last else None].tolist()
