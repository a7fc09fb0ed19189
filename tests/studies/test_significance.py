"""Intervals and tests against textbook numbers."""

import math

import numpy as np
import pytest
from scipy import stats

from studies import significance
from studies.significance import estimate, paired_difference, reaches, seeds_needed


def test_interval_is_students():
    value = estimate([1.0, 2.0, 3.0, 4.0])
    # t(0.975, 3) = 3.1824; the sample's standard deviation is sqrt(5/3)
    assert value.mean == 2.5
    assert value.half_width == pytest.approx(3.1824 * math.sqrt(5 / 3) / 2, rel=1e-4)


def test_one_seed_has_no_interval():
    assert estimate([3.0]).half_width is None
    assert paired_difference({0: 1.0}, {0: 2.0}).p is None
    assert reaches([3.0], 1.0) is None


def test_differences_are_taken_between_equal_seeds_only():
    found = paired_difference({0: 5.0, 1: 7.0, 2: 100.0}, {0: 4.0, 1: 5.0, 9: 0.0})
    assert found.estimate.mean == 1.5
    assert found.estimate.count == 2
    # differences 1 and 2: t = 1.5 / (0.7071 / 1.4142) = 3 with one degree of freedom, p = 1 - 2 atan(3) / pi
    assert found.p == pytest.approx(1 - 2 * math.atan(3) / math.pi)


def test_a_record_is_tested_on_one_side():
    above, below = reaches([25.1, 25.3, 25.2], 25.0), reaches([25.1, 25.3, 25.2], 25.4)
    assert above is not None
    assert below is not None
    assert above < 0.05
    assert below > 0.95


@pytest.mark.parametrize(("ratio", "seeds"), [(1.0, 17), (0.5, 64), (2.0, 6)])
def test_seeds_for_a_difference_in_sigmas(ratio: float, seeds: int):
    """Cohen's table: power .8 at two-sided .05 takes 17, 64 and 6 a group for d = 1, .5 and 2."""
    assert seeds_needed(1.0, ratio) == seeds


def test_pooled_difference_of_two_arms_is_students_test():
    values, reference = [15.2, 14.9, 15.8], [14.1, 14.6, 14.3, 14.9]
    expected = stats.ttest_ind(values, reference)
    found = significance.pooled_difference(values, reference, [])
    assert found.p == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval()
    assert found.estimate.half_width == pytest.approx((interval.high - interval.low) / 2)
    assert found.estimate.mean == pytest.approx(np.mean(values) - np.mean(reference))


def test_other_arms_lend_their_spread_to_single_seeds():
    others = [[1.0, 2.0, 3.0], [5.0, 5.5]]
    found = significance.pooled_difference([4.0], [3.0], others)
    spread = math.sqrt((2.0 + 0.125) / 3)
    assert found.estimate.half_width == pytest.approx(stats.t.ppf(0.975, 3) * spread * math.sqrt(2))
    assert significance.pooled_difference([4.0], [3.0], []).p is None


def test_interval_of_a_standard_deviation_covers_it():
    generator = np.random.default_rng(0)
    inside = 0
    for _ in range(400):
        _, low, high = significance.deviation_interval(generator.normal(0, 2.0, 10).tolist())
        inside += low < 2.0 < high
    assert 0.92 < inside / 400 < 0.98
