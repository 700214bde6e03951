"""Logit and Standardize against their formulas, at the ends and at awkward columns."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch

from pushforward import Flow, InputError
from pushforward.layers import Logit, Standardize

alphas = pytest.mark.parametrize("alpha", [0.05, 1e-5])


@alphas
def test_logit_is_the_logit_of_the_squashed_value(alpha):
    layer = Logit(alpha).double()
    a = float(layer.alpha)
    assert a == pytest.approx(alpha, rel=1e-7)
    x = torch.linspace(0, 1, 201, dtype=torch.float64)[:, None]
    z, log_det = layer(x)
    p = a + (1 - 2 * a) * x.numpy()
    assert np.allclose(z, scipy.special.logit(p), rtol=0, atol=1e-10)
    assert np.allclose(log_det, np.log((1 - 2 * a) / (p * (1 - p)))[:, 0], rtol=0, atol=1e-10)


@alphas
def test_logit_slope_is_that_of_autograd(alpha):
    layer = Logit(alpha).double()
    x = torch.rand(50, 1, dtype=torch.float64).requires_grad_()
    z, log_det = layer(x)
    (slope,) = torch.autograd.grad(z.sum(), x)
    assert torch.allclose(log_det, slope.log()[:, 0], rtol=0, atol=1e-12)


@alphas
def test_logit_is_exact_to_the_digits_of_float32_up_to_the_very_ends(alpha):
    layer, exact = Logit(alpha), Logit(alpha).double()
    inside = torch.tensor([2.0**-24, 0.001, 0.3, 0.5, 0.9, 1 - 2.0**-24])
    x = torch.cat((torch.zeros(1), inside, torch.ones(1)))[:, None]
    z, log_det = layer(x)
    z_exact, log_det_exact = exact(x.double())
    assert torch.allclose(z.double(), z_exact, rtol=1e-6, atol=1e-6)
    assert torch.allclose(log_det.double(), log_det_exact, rtol=1e-6, atol=1e-6)
    end = np.log(alpha) - np.log1p(-alpha)
    assert float(z[0]) == pytest.approx(end, rel=1e-6)
    assert float(z[-1]) == pytest.approx(-end, rel=1e-6)
    back, log_det_back = layer.inverse(z)
    assert torch.allclose(back, x, rtol=0, atol=2e-7)
    assert torch.allclose(log_det_back, -log_det)


def test_logit_spreads_a_uniform_density_as_its_slope_says():
    # The image of uniform noise has the density exp(-log_det), up to alpha that of a logistic.
    x = torch.rand(4000, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    z, _ = Logit(1e-6).double()(x)
    assert scipy.stats.kstest(z[:, 0].numpy(), "logistic").pvalue > 1e-3


def test_the_data_choose_alpha_once():
    photograph = 0.1 + 0.8 * torch.rand(20, 1, 8, 8)
    drawing = torch.where(torch.rand(20, 1, 8, 8) < 0.8, 0.001, torch.rand(20, 1, 8, 8))
    for data, alpha in ((photograph, 0.05), (drawing, 256.0**-2)):
        layer = Logit()
        layer.initialise(data)
        assert float(layer.alpha) == pytest.approx(alpha)
        layer.initialise(drawing)
        assert float(layer.alpha) == pytest.approx(alpha), "no second choice"
        resumed = Logit()
        resumed.load_state_dict(layer.state_dict())
        resumed.initialise(drawing)
        assert float(resumed.alpha) == pytest.approx(alpha), "nor one after loading"
    given = Logit(0.03)
    given.initialise(drawing)
    assert float(given.alpha) == pytest.approx(0.03)
    coarse = Logit(levels=4)  # nearly all values are outermost; 1/16 would be more than 0.05
    coarse.initialise(drawing)
    assert float(coarse.alpha) == pytest.approx(0.05)
    empty = Logit()
    empty.initialise(torch.empty(0, 1, 8, 8))
    assert not empty.chosen


@pytest.mark.parametrize("alpha", [0.0, 0.5, -0.1, 1.0])
def test_impossible_alphas_are_refused(alpha):
    with pytest.raises(InputError, match=r"0 < alpha < 0\.5; got"):
        Logit(alpha)


def test_standardize_gives_mean_0_and_deviation_1_to_each_column():
    layer = Standardize((3,)).double()
    x = torch.randn(500, 3, dtype=torch.float64) * torch.tensor([1e-6, 1, 1e9]) + 5
    layer.initialise(x)
    z, log_det = layer(x)
    assert np.allclose(z.mean(0), 0, atol=1e-9)
    assert np.allclose(z.numpy().std(0), 1)
    assert np.allclose(log_det, -np.log(x.numpy().std(0)).sum())


def test_standardize_fits_once_and_remembers_it():
    layer = Standardize((1,))
    first = torch.randn(100, 1) * 3 + 2
    layer.initialise(first)
    layer.initialise(torch.randn(100, 1) - 80)
    resumed = Standardize((1,))
    resumed.load_state_dict(layer.state_dict())
    resumed.initialise(torch.randn(100, 1) - 80)
    for one in (layer, resumed):
        assert float(one.mean) == pytest.approx(float(first.mean()), rel=1e-5)
    empty = Standardize((1,))
    empty.initialise(torch.empty(0, 1))
    assert not empty.fitted


@pytest.mark.parametrize("value", [0.0, 0.1, -3e7, 1e-30])
def test_a_constant_column_is_divided_by_one(value):
    layer = Standardize((2,))
    x = torch.stack((torch.randn(1000), torch.full((1000,), value)), dim=1)
    layer.initialise(x)
    z, log_det = layer(x)
    assert z[:, 1].abs().max() <= 1e-6
    assert float(log_det[0]) == pytest.approx(-float(x[:, 0].std(correction=0).log()), abs=1e-5)


def test_an_offset_of_a_million_costs_no_more_than_the_digits_it_takes():
    layer = Standardize((1,))
    x = 3 * torch.randn(4000, 1) + 1e6  # float32 counts in sixteenths there
    layer.initialise(x)
    z = layer(x)[0].double()
    assert abs(float(z.mean())) < 1 / 16 / 3
    assert float(z.std(correction=0)) == pytest.approx(1, abs=1e-3)
    assert torch.equal(layer.inverse(layer(x)[0])[0].float(), x)


def test_standardize_fits_its_own_shape_only():
    with pytest.raises(InputError, match=r"built for events of shape \(3,\); got \(4,\)"):
        Standardize((3,)).output_shape((4,))


def test_standardise_keeps_the_digits_that_float32_has_not():
    """Timestamps a second apart stay apart; in float32 they would share a grid of 128 seconds."""
    seconds = 1.6e9 + torch.arange(300, dtype=torch.float64)[:, None]
    flow = Flow((1,), [Standardize((1,))])
    flow.initialise(seconds)
    z = flow.encode(seconds)
    assert z.dtype == torch.float32
    assert len(z.unique()) == 300
    assert abs(float(z.std(correction=0)) - 1) < 1e-5
