"""The toy densities are what their docstrings say."""

from math import log

import numpy as np
import pytest
from scipy import integrate, stats

from pushforward.data import TOYS, make_toy, open_data, two_moons_log_density
from pushforward.errors import InputError


@pytest.mark.parametrize("name", TOYS)
def test_splits_of_toys(name):
    data = open_data(name)
    assert [part.shape for part in data.splits().values()] == [(20000, 2), (2000, 2), (2000, 2)]
    assert data.train.dtype == np.float32
    np.testing.assert_array_equal(data.train, open_data(name.replace("-", "_")).train)
    assert not np.array_equal(data.train, open_data(name, split_seed=1).train)
    np.testing.assert_allclose(make_toy(name, 24000, 0), data.everything, atol=1e-6)


@pytest.mark.parametrize("noise", [0.05, 0.2])
def test_two_moons_integrates_to_one_and_its_entropy_is_that_of_samples(noise):
    x = np.linspace(-1 - 6 * noise, 2 + 6 * noise, 181)
    y = np.linspace(-0.5 - 6 * noise, 1 + 6 * noise, 121)
    grid = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)
    log_p = two_moons_log_density(grid, noise)
    cell = (x[1] - x[0]) * (y[1] - y[0])
    assert np.exp(log_p).sum() * cell == pytest.approx(1, abs=1e-6)
    entropy = -(np.exp(log_p) * log_p).sum() * cell
    samples = TOYS["two-moons"](10_000, np.random.default_rng(0), noise)
    surprise = -two_moons_log_density(samples, noise)
    error = surprise.std() / np.sqrt(len(samples))
    assert abs(surprise.mean() - entropy) < 4 * error
    wrong = -two_moons_log_density(samples, 1.3 * noise).mean()  # the test can tell
    assert wrong - entropy > 4 * error


@pytest.mark.parametrize("noise", [0.02, 0.05, 0.5])
@pytest.mark.parametrize("point", [(0.0, 1.0), (1.0, 0.2), (-1.0, 0.0), (0.5, 0.25), (2.5, -1.0)])
def test_two_moons_density_agrees_with_adaptive_quadrature(point, noise):
    x = np.array(point)

    def exponents(t):
        outer, inner = (np.cos(t), np.sin(t)), (1 - np.cos(t), 0.5 - np.sin(t))
        return [-((x[0] - a) ** 2 + (x[1] - b) ** 2) / (2 * noise**2) for a, b in (outer, inner)]

    grid = np.linspace(0, np.pi, 4001)
    top = np.max(exponents(grid))
    peaks = [grid[np.argmax(arm)] for arm in exponents(grid)]
    value, _ = integrate.quad(
        lambda t: np.exp(np.array(exponents(t)) - top).sum(),
        *(0, np.pi),
        points=[*peaks, *grid[100:-100:200]],
        limit=500,
    )
    expected = log(value) + top - log(2 * np.pi) - log(2 * np.pi * noise**2)
    assert two_moons_log_density(x[None], noise)[0] == pytest.approx(expected, abs=1e-8)


def test_checkerboard_is_uniform_on_the_dark_squares():
    x = make_toy("checkerboard", 16_000)
    squares = np.floor(x / 2).astype(int)
    assert (squares.sum(axis=1) % 2 == 0).all()
    assert (np.abs(x) <= 4).all()
    _, counts = np.unique(squares, axis=0, return_counts=True)
    assert len(counts) == 8
    assert stats.chisquare(counts).pvalue > 1e-4
    assert stats.kstest((x / 2 % 1).ravel(), "uniform").pvalue > 1e-4


def test_eight_gaussians_have_their_centres_and_width():
    x = make_toy("eight-gaussians", 16_000)
    nearest = np.round(np.arctan2(x[:, 1], x[:, 0]) / (np.pi / 4)).astype(int) % 8
    assert stats.chisquare(np.bincount(nearest)).pvalue > 1e-4
    # The second moment of the mixture is known exactly: 4^2 + 2 * 0.5^2.
    square = (x**2).sum(axis=1)
    assert abs(square.mean() - 16.5) < 4 * square.std() / np.sqrt(len(x))


def test_circles_have_their_radii():
    radius = np.linalg.norm(make_toy("circles", 16_000), axis=1)
    outer = radius > 0.75
    assert abs(outer.mean() - 0.5) < 0.02
    for part, centre in ((radius[outer], 1.0), (radius[~outer], 0.5)):
        rice = stats.rice(centre / 0.05, scale=0.05)  # the length of a 2-D Gaussian off the origin
        assert stats.kstest(part, rice.cdf).pvalue > 1e-4


def test_spirals_have_two_equal_arms():
    x = make_toy("spirals", 16_000)
    radius = np.linalg.norm(x, axis=1)
    angle = np.pi - np.arctan2(x[:, 1], x[:, 0])  # of (-cos t, sin t), this is t
    off = (3 * radius - angle) / np.pi  # near an even number on one arm, an odd one on the other
    odd = np.abs((off + 0.5) % 2 - 1.5) < 0.5
    far = radius > 1
    assert abs(odd[far].mean() - 0.5) < 0.03
    assert np.std((off[far] + 0.5) % 1) * np.pi / 3 == pytest.approx(0.1, abs=0.015)
    assert np.median(radius) == pytest.approx(np.pi * np.sqrt(0.5), abs=0.05)


def test_wrong_toys_are_refused():
    with pytest.raises(InputError, match="two-moons"):
        make_toy("moons", 5)
    with pytest.raises(InputError, match="n=-1"):
        make_toy("circles", -1)
    with pytest.raises(InputError, match="noise"):
        two_moons_log_density(np.zeros((1, 2)), 0)
    with pytest.raises(InputError, match=r"\(3,\)"):
        two_moons_log_density(np.zeros(3))
