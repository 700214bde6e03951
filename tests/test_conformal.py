"""Conformal p-values: valid under exchangeability, whatever the scores."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pushforward.conformal import benjamini_hochberg, own_p_values, p_values, threshold
from pushforward.errors import InputError


def draws(trials: int, n: int, seed: int, *, ties: bool) -> np.ndarray:
    generator = np.random.default_rng(seed)
    scores = generator.standard_cauchy((trials, n + 1))
    return np.round(scores) if ties else scores


@pytest.mark.parametrize("ties", [False, True])
def test_p_values_of_usual_events_are_super_uniform(ties: bool) -> None:
    scores = draws(4000, 39, 1, ties=ties)
    p = np.array([p_values(row[:1], row[1:])[0] for row in scores])
    for level in (0.025, 0.05, 0.1, 0.25, 0.5, 0.9):
        error = np.sqrt(level * (1 - level) / len(p))
        assert np.mean(p <= level) <= level + 4 * error
    if not ties:  # then they are uniform on the grid 1/40, 2/40, ..., 1
        counts = np.bincount(np.rint(p * 40).astype(int), minlength=41)[1:]
        assert stats.chisquare(counts).pvalue > 1e-4


def test_ties_broken_at_random_give_uniform_p_values() -> None:
    scores = draws(4000, 19, 2, ties=True)
    generator = np.random.default_rng(3)
    p = np.array([p_values(row[:1], row[1:], generator=generator)[0] for row in scores])
    assert stats.kstest(p, "uniform").pvalue > 1e-4
    assert p.min() > 0


def test_p_value_by_its_definition() -> None:
    generator = np.random.default_rng(4)
    usual, scores = generator.integers(0, 9, 50), np.arange(-1, 11)
    expected = [(1 + np.sum(usual >= s)) / 51 for s in scores]
    np.testing.assert_allclose(p_values(scores, usual), expected)
    assert np.isnan(p_values([np.nan, 0.0], usual)).tolist() == [True, False]


@pytest.mark.parametrize("rate", [0.005, 0.01, 0.05, 0.1, 1 / 3, 0.5, 0.99])
@pytest.mark.parametrize("n", [1, 9, 99, 100, 537])
def test_above_the_threshold_is_a_small_p_value(rate: float, n: int) -> None:
    usual = np.round(np.random.default_rng(n).normal(size=n), 1)
    scores = np.linspace(-4, 4, 161)
    np.testing.assert_array_equal(
        scores > threshold(usual, rate), p_values(scores, usual) <= rate * (1 + 1e-12)
    )


@pytest.mark.parametrize("ties", [False, True])
def test_own_p_values_are_those_against_the_others(ties: bool) -> None:
    scores = draws(1, 199, 5, ties=ties)[0]
    others = [p_values(scores[i : i + 1], np.delete(scores, i))[0] for i in range(200)]
    own = own_p_values([*scores, np.nan])
    np.testing.assert_allclose(own[:-1], others)
    assert np.isnan(own[-1])
    for rate in (0.004, 0.005, 0.1, 1 / 3, 0.99):
        flagged = scores > threshold(scores, rate, own=True)
        np.testing.assert_array_equal(flagged, own[:-1] <= rate * (1 + 1e-12))
        assert flagged.mean() <= rate


def test_threshold_of_too_few_scores_flags_nothing() -> None:
    assert threshold(np.arange(50.0), 0.01) == np.inf
    assert threshold(np.arange(99.0), 0.01) == 98.0


def test_benjamini_hochberg_is_that_of_scipy() -> None:
    generator = np.random.default_rng(5)
    p = np.concatenate([generator.random(80), generator.random(20) * 1e-3])
    expected = stats.false_discovery_control(p, method="bh") <= 0.1
    np.testing.assert_array_equal(benjamini_hochberg(p, 0.1), expected)
    with_gap = np.concatenate([[np.nan], p])
    np.testing.assert_array_equal(benjamini_hochberg(with_gap, 0.1), [False, *expected])
    assert not benjamini_hochberg(np.full(5, 0.9), 0.1).any()
    assert not benjamini_hochberg(np.empty(0), 0.1).any()


def test_false_discoveries_keep_to_the_rate() -> None:
    generator, shares = np.random.default_rng(6), []
    for _ in range(300):
        usual = generator.normal(size=200)
        scores = np.concatenate([generator.normal(size=90), generator.normal(5, 1, size=10)])
        flags = benjamini_hochberg(p_values(scores, usual), 0.2)
        shares.append(flags[:90].sum() / max(1, flags.sum()))
    assert np.mean(shares) <= 0.2 + 4 * np.std(shares) / np.sqrt(len(shares))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: p_values([1.0], []), "no calibration scores"),
        (lambda: p_values([1.0], [np.nan]), "NaN"),
        (lambda: p_values([[1.0]], [1.0]), "shape"),
        (lambda: threshold([1.0], 0), "between 0 and 1"),
        (lambda: threshold([1.0], 1.5), "1.5"),
        (lambda: benjamini_hochberg([1.5], 0.1), "between 0 and 1"),
    ],
)
def test_what_cannot_be_used_is_said(call, says: str) -> None:
    with pytest.raises(InputError, match=says):
        call()
