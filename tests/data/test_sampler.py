"""How an epoch is cut into batches: the same global batches for any number of ranks."""

import numpy as np
import pytest

from dailymae_hf.data.sampler import BatchPlan
from dailymae_hf.rng import epoch_order


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
