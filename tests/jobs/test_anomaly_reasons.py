"""Reasons: exact on a Gaussian, and pointing at the defect that was planted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from pushforward import GMM
from pushforward.flow import Flow
from pushforward.jobs.detection.reasons import heat_maps, row_reasons
from pushforward.layers import Layer
from pushforward.scoring import score


def gaussian(mean: np.ndarray, covariance: np.ndarray) -> Flow:
    flow = GMM((len(mean),), components=1).double()
    flow.base.set_moments(
        torch.ones(1), torch.from_numpy(mean)[None], torch.from_numpy(covariance)[None]
    )
    return flow.eval()


@pytest.fixture(scope="module")
def correlated() -> tuple[np.ndarray, np.ndarray, Flow]:
    mean = np.array([1.0, -200.0, 3e-3, 0.0])
    factor = np.array([[1, 0, 0, 0], [0.98, 0.2, 0, 0], [0.5, 0, 0.4, 0], [0, 0, 0, 1]])
    factor = factor * np.array([[1.0], [50.0], [1e-3], [1.0]])
    covariance = factor @ factor.T
    return mean, covariance, gaussian(mean, covariance)


def test_gain_and_range_are_those_of_the_conditional_normal(correlated) -> None:
    mean, covariance, flow = correlated
    generator = np.random.default_rng(1)
    reference = generator.multivariate_normal(mean, covariance, 1000)
    rows = reference[:5].copy()
    rows[0, 1] += 60.0
    rows[1, 2] -= 4e-3
    found = row_reasons(flow, rows, reference)
    precision = np.linalg.inv(covariance)
    for j in range(4):
        std = 1 / np.sqrt(precision[j, j])
        others = [i for i in range(4) if i != j]
        centre = mean[j] - (rows[:, others] - mean[others]) @ precision[others, j] * std**2
        expected = 0.5 * ((rows[:, j] - centre) / std) ** 2
        np.testing.assert_allclose(found.gain[:, j], expected, rtol=0.02, atol=0.01)
        np.testing.assert_allclose(found.best[:, j], centre, atol=0.2 * std)
        z = stats.norm.ppf(0.95)
        np.testing.assert_allclose(found.low[:, j], centre - z * std, atol=0.15 * std)
        np.testing.assert_allclose(found.high[:, j], centre + z * std, atol=0.15 * std)


def test_reasons_do_not_depend_on_units(correlated) -> None:
    mean, covariance, flow = correlated
    generator = np.random.default_rng(2)
    reference = generator.multivariate_normal(mean, covariance, 300)
    scale = np.array([1e3, 1e-2, 1.0, 5.0])
    other = gaussian(mean * scale, covariance * np.outer(scale, scale))
    first = row_reasons(flow, reference[:4], reference)
    second = row_reasons(other, reference[:4] * scale, reference * scale)
    np.testing.assert_allclose(first.gain, second.gain, atol=1e-6)
    np.testing.assert_allclose(first.low * scale, second.low, rtol=1e-6, atol=1e-9)


def test_columns_keep_to_their_values() -> None:
    generator = np.random.default_rng(4)
    codes = generator.choice(4, 400, p=[0.5, 0.3, 0.15, 0.05])
    counts = np.round(generator.normal(10, 2, 400) + 3 * codes)
    rows = np.column_stack([codes, counts]).astype(np.float64)
    columns = [{"kind": "discrete", "count": 4}, {"kind": "number", "step": 1.0}]
    flow = GMM((2,), columns=columns, components=1)
    flow.initialise(rows)
    found = row_reasons(flow, rows[:20], rows)
    for i, row in enumerate(rows[:20]):
        tried = np.column_stack([np.arange(4.0), np.full(4, row[1])])
        log_p = score(flow, tried)
        assert found.best[i, 0] == log_p.argmax()
        np.testing.assert_allclose(found.gain[i, 0], log_p.max() - log_p[int(row[0])], atol=1e-4)
        mass = np.exp(log_p - log_p.max()).cumsum()
        assert found.low[i, 0] == np.searchsorted(mass / mass[-1], 0.05)
    assert (found.best[:, 1] == np.round(found.best[:, 1])).all()


class Fields(Layer):
    """Differences of neighbouring pixels: a density of smooth images."""

    def forward(self, x, context=None):
        z = x.double().clone() / 10
        z[..., 1:] = (x[..., 1:] - x[..., :-1]).double()
        return z.float(), torch.zeros(len(x))

    def output_shape(self, shape):
        return shape


def test_the_top_of_a_heat_map_lies_on_the_defect() -> None:
    generator = np.random.default_rng(3)
    slopes = generator.normal(0, 0.2, (20, 1, 16, 1))
    images = slopes * np.arange(16) + generator.normal(0, 0.3, (20, 1, 16, 16))
    damaged = images[:6].copy()
    places = generator.integers(0, 12, (6, 2))
    for image, (y, x) in zip(damaged, places, strict=True):
        image[:, y : y + 4, x : x + 4] += 6
    flow = Flow((1, 16, 16), [Fields()])
    maps = heat_maps(flow, damaged, images[6:])
    assert maps.shape == (6, 16, 16)
    for heat, (y, x) in zip(maps, places, strict=True):
        top = np.unravel_index(heat.argmax(), heat.shape)
        assert y - 1 <= top[0] <= y + 4
        assert x - 1 <= top[1] <= x + 4
        inside = heat[y : y + 4, x : x + 4].mean()
        assert inside > 3 * np.median(heat)
