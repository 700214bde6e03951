import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from pushforward import InputError
from pushforward.gaussians.mixture import GaussianMixture


def moments(k, d, seed=0, diag=False):
    """Weights, means and covariances that are anything but standard."""
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(k, d, d)) + 2 * np.eye(d)
    covariances = factor @ factor.swapaxes(1, 2)
    if diag:
        covariances = np.stack([np.diag(c) for c in covariances])
    weights, means = rng.dirichlet(10 * np.ones(k)), 3 * rng.normal(size=(k, d)) + 5
    return tuple(torch.from_numpy(part) for part in (weights, means, covariances))


def mixture(k=3, d=4, covariance="full"):
    base = GaussianMixture((d,), k, covariance).double()
    base.set_moments(*moments(k, d, diag=covariance == "diag"))
    return base


@pytest.mark.parametrize("covariance", ["full", "diag"])
def test_log_prob_is_scipys(covariance):
    base, z = mixture(covariance=covariance), 4 * torch.randn(20, 4, dtype=torch.float64) + 5
    weights, means, covariances = (p.numpy() for p in moments(3, 4, diag=covariance == "diag"))
    square = covariances if covariance == "full" else [np.diag(c) for c in covariances]
    parts = [
        w * stats.multivariate_normal(m, c).pdf(z)
        for w, m, c in zip(weights, means, square, strict=True)
    ]
    assert np.allclose(base.log_prob(z).detach(), np.log(sum(parts)), atol=1e-10)


def test_log_prob_is_that_of_torch_distributions_far_out():
    base, z = mixture(), 1e3 * torch.randn(5, 4, dtype=torch.float64)
    weights, means, covariances = moments(3, 4)
    known = MixtureSameFamily(Categorical(weights), MultivariateNormal(means, covariances))
    assert torch.allclose(base.log_prob(z), known.log_prob(z), rtol=1e-10)


def test_it_starts_as_the_standard_normal_of_any_shape():
    z = torch.randn(3, 2, 4, 4, dtype=torch.float64)
    expected = stats.norm.logpdf(z.numpy()).sum((1, 2, 3))
    for covariance in ("full", "diag"):
        base = GaussianMixture((2, 4, 4), 5, covariance).double()
        assert np.allclose(base.log_prob(z).detach(), expected)
        assert base.sample(7).shape == (7, 2, 4, 4)


def test_responsibilities_are_those_of_bayes_rule():
    base, z = mixture(), torch.randn(6, 4, dtype=torch.float64) + 5
    joint = base.joint(z)
    share = torch.exp(joint - base.log_prob(z)[:, None])
    assert torch.allclose(share.sum(1), torch.ones(6, dtype=torch.float64))
    weights, means, covariances = moments(3, 4)
    own = stats.multivariate_normal(means[1], covariances[1]).logpdf(z) + math.log(weights[1])
    assert np.allclose(joint[:, 1].detach(), own)


@pytest.mark.parametrize("covariance", ["full", "diag"])
def test_samples_have_the_moments_of_the_mixture(covariance):
    base, n = mixture(covariance=covariance), 100_000
    x = base.sample(n, generator=torch.Generator().manual_seed(0)).detach()
    weights, means, covariances = moments(3, 4, diag=covariance == "diag")
    square = covariances if covariance == "full" else torch.diag_embed(covariances)
    mean = weights @ means
    away = means - mean
    spread = torch.einsum("k,kij->ij", weights, square + away[:, :, None] * away[:, None, :])
    error = spread.diagonal().sqrt() / math.sqrt(n)
    assert ((x.mean(0) - mean).abs() < 5 * error).all()
    assert torch.allclose(torch.cov(x.T), spread, atol=0.03 * float(spread.diagonal().max()))


def test_temperature_draws_the_components_together_but_not_their_means():
    base = mixture()
    cold = base.sample(50, 0.0, torch.Generator().manual_seed(0))
    distances = torch.cdist(cold, base.mean)
    assert (distances.amin(1) < 1e-12).all()
    assert len(cold.unique(dim=0)) == 3


def test_gradients_reach_every_parameter():
    base = mixture()
    base.log_prob(torch.randn(9, 4, dtype=torch.float64)).sum().backward()
    assert all(bool((p.grad != 0).any()) for p in base.parameters())


def test_what_is_no_mixture_is_refused():
    with pytest.raises(InputError, match="at least one component"):
        GaussianMixture((2,), 0)
    with pytest.raises(InputError, match="covariance"):
        GaussianMixture((2,), 1, "round")
    singular = torch.ones(1, 2, 2)
    with pytest.raises(InputError, match="positive definite"):
        GaussianMixture((2,)).set_moments(torch.ones(1), torch.zeros(1, 2), singular)
    with pytest.raises(InputError, match="above 0"):
        GaussianMixture((2,), 1, "diag").set_moments(
            torch.ones(1), torch.zeros(1, 2), torch.zeros(1, 2)
        )
