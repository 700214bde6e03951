"""FlowDensity is a density, samples from it, and takes KernelDensity's place."""

import time

import numpy as np
import pytest
from quickly import QUICK, quick, rows
from scipy import stats
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pushforward.sklearn import FlowDensity


@pytest.fixture(scope="module")
def normal():
    """Learned from a normal, on which its mixture is exact."""
    x = np.random.default_rng(0).multivariate_normal([1, 2], [[1, 0.8], [0.8, 1]], 2_000)
    return FlowDensity(max_steps=1, random_state=0).fit(x)


def test_it_is_close_to_the_density_of_the_data(normal):
    law = stats.multivariate_normal([1, 2], [[1, 0.8], [0.8, 1]])
    x = law.rvs(500, random_state=1)
    assert np.abs(normal.score_samples(x) - law.logpdf(x)).mean() < 0.1


def test_it_integrates_to_one(normal):
    grid = np.linspace(-5, 9, 141)
    points = np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2)
    assert np.exp(normal.score_samples(points)).sum() * 0.01 == pytest.approx(1, abs=1e-3)


def test_samples_have_its_moments_and_repeat(normal):
    draws = normal.sample(5_000, random_state=0)
    assert draws.shape == (5_000, 2)
    assert np.allclose(draws.mean(0), [1, 2], atol=0.08)
    assert np.allclose(np.cov(draws.T), [[1, 0.8], [0.8, 1]], atol=0.12)
    assert np.array_equal(draws, normal.sample(5_000, random_state=0))
    assert not np.array_equal(draws, normal.sample(5_000, random_state=np.random.RandomState(3)))
    assert normal.sample().shape == (1, 2)


def test_score_is_the_total_as_kernel_densitys(normal):
    x = rows(20, 2)
    assert normal.score(x) == pytest.approx(normal.score_samples(x).sum())
    kernel = KernelDensity().fit(x)
    assert kernel.score(x) == pytest.approx(kernel.score_samples(x).sum())


def test_it_stands_in_pipelines_searches_and_cross_validation():
    x = rows(60, 2)
    line = make_pipeline(StandardScaler(), quick(FlowDensity)).fit(x)
    assert np.isfinite(line.score(x))
    assert len(cross_val_score(quick(FlowDensity), x, cv=3)) == 3
    search = GridSearchCV(quick(FlowDensity), {"max_steps": [1, 2]}, cv=2).fit(x)
    assert search.best_params_["max_steps"] in (1, 2)
    assert np.isfinite(search.best_estimator_.score(x))


def test_a_score_does_not_depend_on_the_rows_beside_it(normal):
    x = rows(50, 2)
    alone = [normal.score_samples(row[None])[0] for row in x]
    assert np.allclose(alone, normal.score_samples(x), rtol=1e-12, atol=1e-12)


@pytest.mark.slow
def test_a_thousand_rows_of_ten_take_less_than_ten_seconds():
    x = rows(1_000, 10)
    began = time.process_time()
    FlowDensity().fit(x)
    assert time.process_time() - began < 10


def test_training_can_be_told_what_fit_takes():
    fitted = FlowDensity(**{**QUICK, "training": {"lr": 1e-4, "batch_size": 16}}).fit(rows())
    assert np.isfinite(fitted.score(rows()))
