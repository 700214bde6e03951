"""Draws of missing values, beside conditionals in closed form."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import scipy.stats
import torch
from scipy.stats import kstest, multivariate_normal, norm

from pushforward import Flow, InputError, RealNVP, impute
from pushforward.gaussians.mixture import GaussianMixture
from pushforward.jobs.imputation.chain import Chains
from pushforward.jobs.imputation.space import FillingSpace
from pushforward.jobs.imputation.summary import _nearest, split_rhat
from pushforward.layers import Chain, Coupling, Dequantize, Logit, LULinear, Scaling, Standardize
from pushforward.nets import MLP
from registry import perturb

WEIGHTS = np.array([0.3, 0.7])
MEANS = np.array([[-3.0, -1.0], [3.0, 1.0]])
COVARIANCES = np.array([[[1.0, 0.5], [0.5, 1.0]], [[0.5, -0.2], [-0.2, 0.8]]])


def gaussian(size=4, seed=0):
    """A flow that is a correlated normal density, and its covariance."""
    flow = Flow((size,), [LULinear(size, seed), Scaling((size,)), LULinear(size, seed + 1)])
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    matrix = flow(torch.eye(size))[0].T.detach().double().numpy()
    return flow.double(), np.linalg.inv(matrix.T @ matrix)


def mixture(hidden):
    """A density of two separate modes; ``hidden`` behind a coupling that does nothing."""
    base = GaussianMixture((2,), 2)
    base.set_moments(*(torch.from_numpy(part) for part in (WEIGHTS, MEANS, COVARIANCES)))
    layers = [Standardize((2,))]
    if hidden:
        layers.append(Coupling((2,), "half", partial(MLP, hidden=(4,))))
    return Flow((2,), layers, base)


def given_second(y):
    """Weights, means and deviations of the first number of the mixture, given the second."""
    weight = WEIGHTS * norm(MEANS[:, 1], np.sqrt(COVARIANCES[:, 1, 1])).pdf(y)
    slope = COVARIANCES[:, 0, 1] / COVARIANCES[:, 1, 1]
    mean = MEANS[:, 0] + slope * (y - MEANS[:, 1])
    return weight / weight.sum(), mean, np.sqrt(COVARIANCES[:, 0, 0] - slope * COVARIANCES[:, 0, 1])


def test_draws_of_a_normal_density_have_its_conditional_law():
    flow, covariance = gaussian()
    x = np.array([[0.5, np.nan, -1.0, np.nan]])
    found = impute(flow, x, draws=1000, steps=18, seed=1)
    o, m = [0, 2], [1, 3]
    gain = covariance[np.ix_(m, o)] @ np.linalg.inv(covariance[np.ix_(o, o)])
    mean = gain @ x[0, o]
    spread = covariance[np.ix_(m, m)] - gain @ covariance[np.ix_(o, m)]
    white = np.linalg.solve(np.linalg.cholesky(spread), (found.draws[:, 0, m] - mean).T)
    assert all(kstest(part, "norm").pvalue > 1e-3 for part in white)
    assert abs(np.corrcoef(white)[0, 1]) < 0.1
    sd = np.sqrt(np.diag(spread))
    assert np.abs(found.mean[0, m] - mean).max() < 0.1 * sd.max()
    assert np.abs(found.best[0, m] - mean).max() < 0.05 * sd.max()
    assert np.allclose(found.spread[0, m], sd, rtol=0.1)
    assert np.allclose(found.high[0, m] - found.low[0, m], 2 * 1.645 * sd, rtol=0.1)


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("y", [0.0, -0.4])
def test_both_modes_of_a_mixture_are_found_with_their_weights(hidden, y):
    found = impute(mixture(hidden), [[np.nan, y]], draws=1000, steps=24)
    weight, mean, spread = given_second(y)

    def law(t):
        return (weight[:, None] * norm(mean[:, None], spread[:, None]).cdf(t)).sum(0)

    assert 0.1 < weight[0] < 0.9
    assert kstest(found.draws[:, 0, 0], law).pvalue > 1e-3
    assert found.mean[0, 0] == pytest.approx(weight @ mean, abs=0.3)
    peak = mean[np.argmax(weight / spread)]
    assert found.best[0, 0] == pytest.approx(peak, abs=0.05)
    assert not found.notes


@pytest.mark.parametrize("kind", ["leap", "walk", "climb"])
def test_each_step_alone_leaves_the_law_as_it_is(kind):
    # Chains that begin in the law must stay in it, by a proposal that is rather wrong.
    flow, covariance = gaussian(2)
    space, count = FillingSpace(flow), 4000
    generator = torch.Generator().manual_seed(0)
    gaps = torch.tensor([[True, False]])
    slope = covariance[0, 1] / covariance[1, 1]
    deviation = np.sqrt(covariance[0, 0] - slope * covariance[0, 1])
    law = norm(slope * 0.7, deviation)
    u = torch.full((count, 1, 2), 0.7, dtype=torch.float64)
    u[:, 0, 0] = torch.from_numpy(law.rvs(count, random_state=1))
    from pushforward.gaussians.conditional import condition

    means = torch.tensor([[0.5, 0.0], [-0.5, 0.3]], dtype=torch.float64)
    precision = torch.eye(2, dtype=torch.float64).expand(2, 2, 2) / (2 * deviation**2)
    log_weights = torch.tensor([0.5, 0.5], dtype=torch.float64).log()
    q = condition(u[0], gaps, log_weights, means, precision)
    chains = Chains(space, u, gaps, q, None, generator)
    chains.warm = False
    for _ in range(20):
        chains.step(kind)
    assert 0.05 < chains.tally[kind].rate < 0.99
    assert (chains.u[:, 0, 1] == 0.7).all()
    assert kstest(chains.u[:, 0, 0].numpy(), law.cdf).pvalue > 1e-3


@pytest.mark.parametrize(("row", "at"), [([np.nan, 0.4], 0), ([-1.0, np.nan], 1)])
def test_draws_from_a_bent_density_have_the_law_of_quadrature(row, at):
    flow = RealNVP((2,), couplings=4, width=8).double()
    flow.initialise(np.random.default_rng(0).normal(size=(500, 2)))
    perturb(torch.nn.ModuleList(list(flow.chain)[1:]), 6, 0.5)
    draws = impute(flow, [row], draws=1500, steps=60).draws[:, 0, at]
    points = torch.linspace(-12, 12, 4001, dtype=torch.float64)
    line = torch.tensor(row, dtype=torch.float64).repeat(len(points), 1)
    line[:, at] = points
    with torch.no_grad():
        below = flow.log_prob(line).exp().cumsum(0)
    assert abs(scipy.stats.skew(draws)) > 0.2, "not a normal"
    law = partial(np.interp, xp=points.numpy(), fp=(below / below[-1]).numpy())
    assert kstest(draws, law).pvalue > 1e-3


def test_a_code_is_drawn_as_often_as_enumeration_says_beside_observed_codes():
    specs = ({"kind": "discrete", "count": 3}, {}, {"kind": "discrete", "count": 4})
    flow = RealNVP((3,), columns=specs, couplings=3, width=8).double()
    rng = np.random.default_rng(0)
    codes = rng.choice(3, size=800, p=[0.5, 0.3, 0.2])
    flow.initialise(np.stack([codes, rng.normal(size=800), rng.integers(0, 4, 800)], 1) * 1.0)
    perturb(torch.nn.ModuleList(list(flow.chain)[3:]), 2, 0.5)
    found = impute(flow, [[np.nan, 0.3, 2.0]], draws=2000, steps=40)
    # Each code is worth the mean density over its cell and that of the observed one.
    places = torch.rand(3, 4000, 3, dtype=torch.float64) * torch.tensor([1.0, 0.0, 1.0])
    rows = torch.tensor([[[k, 0.3, 2.0]] for k in range(3)], dtype=torch.float64) + places
    with torch.no_grad():
        z, log_det = Chain(list(flow.chain)[1:])(rows.flatten(0, 1))
        density = (flow.base.log_prob(z) + log_det).exp()
    chances = density.reshape(3, 4000).mean(1).numpy()
    counts = np.bincount(found.draws[:, 0, 0].astype(int), minlength=3)
    expected = 2000 * chances / chances.sum()
    assert abs(chances / chances.sum() - [0.5, 0.3, 0.2]).max() > 0.05, "more than frequencies"
    assert scipy.stats.chisquare(counts, expected).pvalue > 1e-3
    assert found.acceptance["shake"] > 0.1


def test_observed_values_are_kept_to_the_bit_and_nothing_is_left_missing():
    flow = RealNVP((3,), couplings=2, width=8)
    rows = np.random.default_rng(0).normal(size=(30, 3))
    gaps = np.random.default_rng(1).random(rows.shape) < 0.4
    x = np.where(gaps, np.nan, rows)
    x[0], gaps[0] = np.nan, True  # a row that lacks all
    found = impute(flow, x, draws=2, steps=6)
    for filled in (found.mean, found.best, *found.draws):
        assert (filled[~gaps] == x[~gaps]).all()
        assert np.isfinite(filled).all()
    assert (found.spread[gaps] > 0).all()
    assert (found.spread[~gaps] == 0).all()
    again = impute(flow, x, draws=2, steps=6)
    assert (again.draws == found.draws).all()
    assert (found.draws[0] != found.draws[1])[gaps].all()


def test_discrete_cells_come_back_on_their_grid_with_the_right_chances():
    columns = ({"kind": "discrete", "count": 3}, {"kind": "discrete", "step": 1.0}, {})
    flow = RealNVP((3,), columns=columns, couplings=2, width=8)
    rng = np.random.default_rng(0)
    codes = rng.choice(3, size=2000, p=[0.6, 0.3, 0.1])
    rows = np.stack([codes, rng.poisson(9, 2000), rng.normal(size=2000)], axis=1).astype(float)
    flow.initialise(rows)
    x = rows[:6].copy()
    x[:3, 0], x[3:, 1] = np.nan, np.nan
    found = impute(flow, x, draws=300, steps=15)
    values = found.draws[:, :3, 0]
    assert np.isin(values, [0, 1, 2]).all()
    assert np.abs([(values == k).mean() for k in range(3)] - np.array([0.6, 0.3, 0.1])).max() < 0.08
    assert (found.mean[:3, 0] == 0).all()  # the most frequent
    for filled in (found.mean, found.best, *found.draws[:3]):
        assert (filled == np.round(filled))[:, :2].all()


def test_images_of_integers_take_a_mask():
    flow = Flow((1, 4, 4), [Dequantize(16), Logit(0.05)])
    x = torch.randint(0, 16, (3, 1, 4, 4), dtype=torch.uint8)
    missing = torch.zeros(1, 4, 4, dtype=torch.bool)
    missing[:, :, 2:] = True
    found = impute(flow, x, missing=missing, draws=2, steps=8)
    assert found.mean.dtype == found.draws.dtype == np.uint8
    assert (found.draws[:, ..., :2] == x.numpy()[..., :2]).all()
    assert found.draws.max() < 16


def test_a_context_steers_what_is_drawn():
    flow = RealNVP((2,), context=1, couplings=2, width=8)
    x = np.full((2, 2), np.nan)
    with pytest.raises(InputError, match="conditional"):
        impute(flow, x)
    assert np.isfinite(impute(flow, x, context=[[0.0], [1.0]], steps=6).mean).all()


def test_nothing_missing_is_told():
    found = impute(RealNVP((2,), couplings=2, width=8), np.zeros((3, 2)))
    assert (found.mean == 0).all()
    assert "Nothing is missing" in found.notes[0]


def test_bad_input_is_refused_in_a_sentence():
    flow = RealNVP((2,), couplings=2, width=8)
    x = np.array([[1.0, np.nan]])
    with pytest.raises(InputError, match="draws of at least 1"):
        impute(flow, x, draws=0)
    with pytest.raises(InputError, match="infinite"):
        impute(flow, [[np.inf, np.nan]])
    with pytest.raises(InputError, match="rows of 2"):
        impute(flow, np.zeros((3, 5)))
    with pytest.raises(InputError, match="Boolean"):
        impute(flow, x, missing=np.array([0, 1]))
    with pytest.raises(InputError, match="says that values are observed"):
        impute(flow, x, missing=np.array([True, False]))
    with pytest.raises(InputError, match="array of numbers"):
        impute(flow, [["a", "b"]])
    with pytest.raises(InputError, match="density of a flow"):
        impute(object(), x)
    share = RealNVP((2,), columns=({}, {"transform": "logit", "low": 0, "high": 1}), width=8)
    with pytest.raises(InputError, match="between 0 and 1; got 3"):
        impute(share, [[np.nan, 3.0]])


def test_a_mean_on_a_grid_is_the_number_that_is_written():
    grid = np.array([0.01, 0.1, 1.0, 5.0, np.nan])
    values = np.array([[19.994, 0.31, 2.4, 12.0, 0.123], [0.07, 0.69, -1.6, -1.0, 4.5]])
    nearest = np.array([[19.99, 0.3, 2, 10, np.nan], [0.07, 0.7, -2, 0, np.nan]])
    assert np.array_equal(_nearest(values, grid), nearest, equal_nan=True)


# Convergence -----------------------------------------------------------------------------------


def test_rhat_is_one_for_chains_that_agree_and_large_for_those_that_do_not():
    states = torch.randn(8, 200, 3, generator=torch.Generator().manual_seed(0))
    assert (split_rhat(states) - 1).abs().max() < 0.02
    states[:4] += 3
    assert split_rhat(states).min() > 1.5
    assert torch.isinf(split_rhat(torch.arange(8.0)[:, None].expand(8, 10))).all()
    assert float(split_rhat(torch.zeros(8, 10))) == 1


def test_chains_that_disagree_are_told():
    # Modes far apart, and a proposal that knows one normal only: few steps lead across.
    base = GaussianMixture((140,), 2)
    means = torch.zeros(2, 140)
    means[0], means[1] = -6, 6
    base.set_moments(torch.ones(2), means, 0.1 * torch.eye(140).expand(2, 140, 140))
    flow = Flow((140,), [Coupling((140,), "half", partial(MLP, hidden=(2,)))], base)
    found = impute(flow, np.full((1, 140), np.nan), steps=12)
    assert any("do not agree" in note or "Hardly" in note for note in found.notes)


def test_the_density_of_the_space_is_that_of_the_flow():
    flow, covariance = gaussian(3)
    x = torch.randn(5, 3, dtype=torch.float64)
    space = FillingSpace(flow)
    told = space.log_density(space.enter(x)).detach()
    assert np.allclose(told, multivariate_normal(np.zeros(3), covariance).logpdf(x.numpy()))
