"""Significance against scipy, enumeration by hand and repeated experiments."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from tamis.eval.significance import bootstrap_interval, compare, holm, randomisation_test
from tamis.index.errors import InputError


def enumerated(differences: np.ndarray) -> float:
    signs = itertools.product([-1, 1], repeat=len(differences))
    sums = [abs(np.dot(pattern, differences)) for pattern in signs]
    return float(np.mean(np.array(sums) >= abs(differences.sum()) - 1e-12))


def test_three_queries_worked_by_hand():
    # of the 8 sign patterns of (3, 2, 1) only +++ and --- reach a sum of 6
    assert randomisation_test(np.array([3.0, 2.0, 1.0])) == 2 / 8
    # (3, -2, 1) sums to 2: all but (+-- and -++, sum 0) reach it
    assert randomisation_test(np.array([3.0, -2.0, 1.0])) == 6 / 8


@pytest.mark.parametrize("size", [1, 4, 9, 12])
def test_small_samples_are_enumerated(size):
    differences = np.random.default_rng(size).normal(0.3, 1, size)
    assert randomisation_test(differences) == pytest.approx(enumerated(differences))


def test_large_samples_agree_with_scipy():
    differences = np.random.default_rng(11).normal(0.12, 1, 317)
    expected = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=20_000,
        rng=np.random.default_rng(0),
    ).pvalue  # fmt: skip
    found = randomisation_test(differences, samples=20_000)
    assert found == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 20_000) * 2)


def test_equal_systems_are_not_different():
    values = np.random.default_rng(0).random(40)
    result = compare(values, values)
    assert (result.p, result.difference, result.ties) == (1.0, 0.0, 40)
    assert (result.low, result.high) == (0.0, 0.0)


def test_queries_without_difference_do_not_change_the_p_value():
    moving = np.array([0.4, -0.1, 0.3, 0.2, 0.25, -0.05])
    assert randomisation_test(np.append(moving, np.zeros(500))) == randomisation_test(moving)


def test_the_test_is_calibrated_where_there_is_no_difference():
    random = np.random.default_rng(3)
    p_values = [randomisation_test(random.normal(0, 1, 30), samples=400) for _ in range(300)]
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_the_interval_agrees_with_scipys_percentile_bootstrap():
    values = np.random.default_rng(8).beta(0.4, 0.6, 211)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert bootstrap_interval(values) == pytest.approx((theirs.low, theirs.high), abs=0.004)


def test_holm_worked_by_hand():
    # sorted .005 .01 .03 .04 times 4, 3, 2, 1 is .02 .03 .06 .04; the last rises to .06
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_comparison_counts_wins_and_repeats_with_its_seed():
    random = np.random.default_rng(2)
    system, baseline = random.random(60), random.random(60)
    system[:5] = baseline[:5]
    first, again = compare(system, baseline, seed=9), compare(system, baseline, seed=9)
    assert first == again
    assert (first.wins + first.losses, first.ties) == (55, 5)
    assert first.low < first.difference < first.high
    assert first != compare(system, baseline, seed=10)


@pytest.mark.parametrize(("system", "baseline"), [([1.0], [1.0, 2.0]), ([], [])])
def test_values_of_different_queries_are_refused(system, baseline):
    with pytest.raises(InputError, match="same queries"):
        compare(system, baseline)
