"""Base densities against scipy.stats and torch.distributions."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from pushforward import InputError
from pushforward.bases import (
    Base,
    DiagonalNormal,
    GaussianMixture,
    Logistic,
    StandardNormal,
    Uniform,
)

SHAPE = (2, 3)
MEAN = torch.linspace(-2, 3, 6, dtype=torch.float64).reshape(SHAPE)
LOG_SCALE = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(SHAPE)


def diagonal():
    base = DiagonalNormal(SHAPE).double()
    with torch.no_grad():
        base.mean.copy_(MEAN)
        base.log_scale.copy_(LOG_SCALE)
    return base


BASES = {
    "normal": (lambda: StandardNormal(SHAPE).double(), scipy.stats.norm()),
    "logistic": (lambda: Logistic(SHAPE).double(), scipy.stats.logistic()),
    "uniform": (lambda: Uniform(SHAPE).double(), scipy.stats.uniform()),
    # Three times the standard normal; others are in test_gaussian_mixture.py.
    "mixture": (lambda: GaussianMixture(SHAPE, 3).double(), scipy.stats.norm()),
    "diagonal": (diagonal, scipy.stats.norm(MEAN.numpy(), LOG_SCALE.exp().numpy())),
}
every_base = pytest.mark.parametrize("name", BASES)


@every_base
def test_log_prob_is_that_of_scipy(name):
    base, oracle = BASES[name][0](), BASES[name][1]
    z = torch.as_tensor(oracle.rvs((50, *SHAPE), random_state=1))
    expected = oracle.logpdf(z.numpy()).sum((1, 2))
    assert np.allclose(base.log_prob(z).detach(), expected, rtol=0, atol=1e-12)


@every_base
def test_samples_follow_the_density(name):
    base, oracle = BASES[name][0](), BASES[name][1]
    draws = base.sample(4000, generator=torch.Generator().manual_seed(2)).detach().numpy()
    uniform = oracle.cdf(draws)  # where the distribution is right, these are uniform
    assert draws.shape == (4000, *SHAPE)
    assert scipy.stats.kstest(uniform.flatten(), "uniform").pvalue > 1e-3
    for i in range(SHAPE[1]):
        assert scipy.stats.kstest(uniform[:, 0, i], "uniform").pvalue > 1e-4
    correlation = np.corrcoef(uniform.reshape(4000, -1).T) - np.eye(6)
    assert abs(correlation).max() < 5 / np.sqrt(4000)


@every_base
def test_temperature_multiplies_the_spread(name):
    base = BASES[name][0]()
    centre = {"uniform": 0.5, "diagonal": MEAN}.get(name, 0.0)
    for temperature in (0.0, 0.5, 1.0):
        cold = base.sample(50, temperature, torch.Generator().manual_seed(3))
        warm = base.sample(50, 1.0, torch.Generator().manual_seed(3))
        assert torch.allclose(cold - centre, temperature * (warm - centre), atol=1e-12)


@every_base
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_follows_the_module(name, dtype):
    base = BASES[name][0]().to(dtype)
    z = base.sample(3)
    assert z.dtype == base.log_prob(z).dtype == dtype
    assert base.sample(0).shape == (0, *SHAPE)
    assert base.log_prob(z[:0]).shape == (0,)
    assert f"shape={SHAPE}" in repr(base)


@every_base
def test_generators_make_draws_repeatable(name):
    base = BASES[name][0]()
    state = torch.get_rng_state()
    draws = [base.sample(5, generator=torch.Generator().manual_seed(s)) for s in (4, 4, 5)]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_uniform_is_zero_outside_and_has_no_samples_there():
    base = Uniform((2,))
    z = torch.tensor([[0.0, 1.0], [0.5, 0.5], [-0.01, 0.5], [0.5, 1.01]])
    assert base.log_prob(z).tolist() == [0.0, 0.0, -np.inf, -np.inf]
    with pytest.raises(InputError, match=r"at most 1, got 1\.5"):
        base.sample(2, temperature=1.5)


def test_the_tails_of_the_logistic_are_finite():
    for dtype in (torch.float32, torch.float64):
        base = Logistic((1,)).to(dtype)
        z = torch.tensor([[-800.0], [800.0]], dtype=dtype)
        assert torch.allclose(base.log_prob(z), torch.tensor(-800.0, dtype=dtype))
        assert torch.isfinite(base.sample(100_000)).all()


def test_diagonal_normal_is_that_of_torch_and_learns():
    base = diagonal()
    z = torch.randn(20, *SHAPE, dtype=torch.float64)
    oracle = torch.distributions.Normal(MEAN, LOG_SCALE.exp())
    assert torch.allclose(base.log_prob(z), oracle.log_prob(z).sum((1, 2)), atol=1e-12)
    base.log_prob(z).sum().backward()
    assert (base.mean.grad != 0).all()
    assert (base.log_scale.grad != 0).all()
    fresh = DiagonalNormal(SHAPE).double()
    assert torch.allclose(fresh.log_prob(z), StandardNormal(SHAPE).log_prob(z), atol=1e-12)


def test_every_base_is_tested():
    made = {type(make()) for make, _ in BASES.values()}
    assert made == set(Base.__subclasses__())
