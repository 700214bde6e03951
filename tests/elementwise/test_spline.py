"""The rational-quadratic spline: its formula, its ends, its inverse where it is hard to invert."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.interpolate import PchipInterpolator

from pushforward.elementwise import RationalQuadratic

BINS, TAIL = 6, 3.0


@pytest.fixture
def law():
    return RationalQuadratic(BINS, TAIL)


def parameters(n, scale=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    size = (n, 3 * BINS - 1)
    return scale * torch.randn(size, generator=generator, dtype=torch.float64)


def knots_of(row):
    """The knots and their slopes, from the paper's words rather than from the code."""
    row = np.asarray(row)
    floor = 1e-3

    def places(raw):
        share = np.exp(raw - raw.max())
        share = floor + (1 - floor * BINS) * share / share.sum()
        return np.concatenate([[-TAIL], -TAIL + 2 * TAIL * np.cumsum(share)])

    inner = floor + np.logaddexp(0, row[2 * BINS :] + np.log(np.expm1(1 - floor)))
    return places(row[:BINS]), places(row[BINS : 2 * BINS]), np.concatenate([[1], inner, [1]])


def gregory_delbourgo(x, places, heights, slopes):
    """One point by the paper's equation 4, for a loop."""
    k = min(max(int(np.searchsorted(places, x, side="right")) - 1, 0), BINS - 1)
    w, h = places[k + 1] - places[k], heights[k + 1] - heights[k]
    s, xi = h / w, (x - places[k]) / w
    top = h * (s * xi**2 + slopes[k] * xi * (1 - xi))
    return heights[k] + top / (s + (slopes[k + 1] + slopes[k] - 2 * s) * xi * (1 - xi))


def test_it_is_the_formula_of_the_paper(law):
    given = parameters(20)
    x = torch.linspace(-TAIL, TAIL, 20, dtype=torch.float64)[:, None]
    z, _ = law(x, given)
    expected = [
        gregory_delbourgo(value, *knots_of(row))
        for value, row in zip(x[:, 0].tolist(), given, strict=True)
    ]
    assert np.allclose(z[:, 0], expected, rtol=0, atol=1e-12)


def test_it_goes_through_its_knots_with_their_slopes(law):
    row = parameters(1)
    places, heights, slopes = knots_of(row[0])
    x = torch.from_numpy(places[1:-1])[:, None]
    z, log_slope = law(x, row.expand(len(x), -1))
    assert np.allclose(z[:, 0], heights[1:-1], atol=1e-12)
    assert np.allclose(log_slope[:, 0].exp(), slopes[1:-1], atol=1e-9)


def test_it_lies_near_another_monotone_interpolant_of_the_same_knots(law):
    # PCHIP chooses other slopes at the knots: near, where ours are set to its own.
    row = parameters(1, scale=0.3)
    places, heights, _ = knots_of(row[0])
    other = PchipInterpolator(places, heights)
    floor = 1e-3
    slopes = np.clip(other.derivative()(places[1:-1]), 0.01, None)
    row[0, 2 * BINS :] = torch.from_numpy(
        np.log(np.expm1(slopes - floor)) - np.log(np.expm1(1 - floor))
    )
    x = np.linspace(places[1], places[-2], 200)
    z, _ = law(torch.from_numpy(x)[:, None], row.expand(200, -1))
    assert np.abs(z[:, 0].numpy() - other(x)).max() < 0.05


def test_zero_parameters_are_the_identity_and_tails_always_are(law):
    x = torch.linspace(-5, 5, 101, dtype=torch.float64)[:, None]
    z, log_slope = law(x, torch.zeros(101, law.count, dtype=torch.float64))
    assert torch.allclose(z, x, atol=1e-14)
    assert torch.allclose(log_slope, torch.zeros_like(x), atol=1e-13)
    z, log_slope = law(x, parameters(101))
    outside = x.abs() >= TAIL
    assert torch.equal(z[outside], x[outside])
    assert (log_slope[outside] == 0).all()
    assert not torch.allclose(z, x)


def test_value_and_slope_join_the_tails(law):
    row = parameters(1)
    for edge in (-TAIL, TAIL):
        within = torch.tensor([[edge * (1 - 1e-9)]], dtype=torch.float64)
        z, log_slope = law(within, row)
        assert z.item() == pytest.approx(edge, abs=1e-7)
        assert log_slope.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1.0, 10.0, 50.0])
def test_extreme_parameters_stay_finite_increasing_and_invertible(law, scale, dtype):
    x = torch.linspace(-3.5, 3.5, 4_000, dtype=dtype)[:, None]
    row = parameters(1, scale).to(dtype).expand(4_000, -1)
    z, log_slope = law(x, row)
    assert torch.isfinite(z).all()
    assert torch.isfinite(log_slope).all()
    tolerance = 64 * torch.finfo(dtype).eps
    assert (z.diff(dim=0) >= -tolerance).all()
    back, log_slope_back = law.inverse(x, row)
    assert torch.isfinite(back).all()
    assert torch.isfinite(log_slope_back).all()
    assert ((back >= -3.5) & (back <= 3.5)).all()
    if dtype == torch.float64:
        assert torch.allclose(law(back, row)[0], x, atol=1e-9)


def test_gradients_are_those_of_finite_differences_both_ways(law):
    x = torch.tensor([[-2.9], [0.3], [4.0]], dtype=torch.float64).requires_grad_()
    given = parameters(3).requires_grad_()
    assert torch.autograd.gradcheck(law, (x, given))
    assert torch.autograd.gradcheck(law.inverse, (x, given))


def test_nonsense_is_refused():
    for bad in ({"bins": 0}, {"tail": 0.0}, {"bins": 8, "floor": 0.2}):
        with pytest.raises(ValueError, match="RationalQuadratic needs"):
            RationalQuadratic(**bad)
