"""One normal from rows that lack numbers, and its conditionals, beside SciPy and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from pushforward import InputError
from pushforward.gaussians.conditional import condition
from pushforward.gaussians.factors import fit_factors
from pushforward.gaussians.missing import fit_gaussian


def correlated(n, dims, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, dims)) @ rng.normal(size=(dims, dims)) + rng.normal(size=dims)


def with_gaps(rows, share=0.25, seed=1):
    return np.where(np.random.default_rng(seed).random(rows.shape) < share, np.nan, rows)


def test_of_complete_rows_it_is_the_sample_mean_and_covariance():
    rows = correlated(200, 4)
    found = fit_gaussian(rows, prior=1e-9)
    assert np.allclose(found.mean, rows.mean(0))
    assert np.allclose(found.covariance, np.cov(rows.T, bias=True))


def test_what_em_makes_large_rises_at_every_step_and_is_what_scipy_says():
    rows = with_gaps(correlated(150, 5))
    found = fit_gaussian(rows, prior=1e-9, tolerance=1e-8)
    assert len(found.history) > 10
    assert (np.diff(found.history) > -1e-9).all()
    mean, covariance = found.mean.numpy(), found.covariance.numpy()
    total = 0.0
    for row in rows[~np.isnan(rows).all(1)]:
        o = ~np.isnan(row)
        total += multivariate_normal(mean[o], covariance[np.ix_(o, o)]).logpdf(row[o])
    assert found.history[-1] == pytest.approx(total / (~np.isnan(rows).all(1)).sum(), abs=1e-6)


def test_it_finds_the_truth_in_spite_of_gaps():
    truth = correlated(20_000, 4)
    found = fit_gaussian(with_gaps(truth))
    wanted = np.cov(truth.T)
    assert np.abs(found.covariance.numpy() - wanted).max() < 0.05 * wanted.max()


@pytest.mark.parametrize("shape", [(10, 30), (1, 4), (60, 200), (2, 150)])
def test_with_fewer_rows_than_columns_it_is_still_positive_definite(shape):
    found = fit_gaussian(with_gaps(correlated(*shape)))
    assert torch.linalg.eigvalsh(found.covariance).min() > 0


def test_columns_without_a_value_or_with_one_value_do_no_harm():
    rows = correlated(50, 4)
    rows[:, 1], rows[:, 2] = np.nan, 7.0
    filled = fit_gaussian(rows).fill(rows)
    assert torch.isfinite(filled).all()
    assert torch.equal(filled[:, [0, 2, 3]], torch.from_numpy(rows[:, [0, 2, 3]]))


def test_bad_rows_are_refused_in_a_sentence():
    with pytest.raises(InputError, match="infinite"):
        fit_gaussian([[np.inf, 1.0]])
    with pytest.raises(InputError, match="N of at least 1"):
        fit_gaussian(np.empty((0, 3)))


def test_the_likelihood_of_factors_rises_and_their_covariance_is_found():
    rng = np.random.default_rng(0)
    loading = rng.normal(size=(30, 2))
    rows = rng.normal(size=(1500, 2)) @ loading.T + 0.5 * rng.normal(size=(1500, 30))
    found, spread, noise, history = _factors(with_gaps(rows))
    assert (np.diff(history) > -1e-6).all()
    covariance = found @ found.T + np.diag(noise)
    wanted = loading @ loading.T + 0.25 * np.eye(30)
    assert np.abs(covariance - wanted).max() < 0.15 * wanted.max()
    assert np.abs(spread).max() < 0.3


def _factors(rows):
    mean, loading, noise, history = fit_factors(torch.from_numpy(rows), 2, 200, 1e-6)
    return loading.numpy(), mean.numpy(), noise.numpy(), history


# Conditionals of mixtures ----------------------------------------------------------------------

WEIGHTS = np.array([0.3, 0.7])


@pytest.fixture
def mixture():
    rng = np.random.default_rng(3)
    means = 2 * rng.normal(size=(2, 4))
    roots = rng.normal(size=(2, 4, 6))
    return means, roots @ roots.transpose(0, 2, 1) / 6


def conditional(rows, mixture):
    means, covariances = (torch.from_numpy(part) for part in mixture)
    x = torch.from_numpy(rows)
    precision = torch.linalg.inv(covariances)
    return condition(x, x.isnan(), torch.from_numpy(WEIGHTS).log(), means, precision)


def density(row, mixture):
    """Of some columns, by SciPy."""
    known = ~np.isnan(row)
    parts = [
        multivariate_normal(m[known], c[np.ix_(known, known)]).pdf(row[known])
        for m, c in zip(*mixture, strict=True)
    ]
    return float(WEIGHTS @ parts)


def test_the_conditional_density_is_joint_over_marginal_for_any_pattern(mixture):
    rows = correlated(12, 4, seed=5)
    gaps = with_gaps(rows, 0.5)
    gaps[0], gaps[1, 0], gaps[1, 1:] = rows[0], np.nan, rows[1, 1:]
    found = conditional(gaps, mixture)
    values = torch.from_numpy(rows).gather(1, found.index)
    told = found.log_prob(values)
    for i, (row, gap) in enumerate(zip(rows, gaps, strict=True)):
        marginal = 1.0 if np.isnan(gap).all() else density(gap, mixture)
        assert float(told[i]) == pytest.approx(np.log(density(row, mixture) / marginal), abs=1e-6)
        assert float(found.log_evidence[i]) == pytest.approx(np.log(marginal), abs=1e-6)
    assert torch.allclose(found.fill(torch.from_numpy(gaps), values), torch.from_numpy(rows))


def test_draws_have_the_mean_that_is_told(mixture):
    gaps = with_gaps(correlated(5, 4, seed=5), 0.5)
    found = conditional(gaps, mixture)
    draws = found.sample(20_000, torch.Generator().manual_seed(0))
    away = (draws.mean(0) - found.mean()) / draws.std(0) * np.sqrt(len(draws))
    assert away[found.there].abs().max() < 4.5
