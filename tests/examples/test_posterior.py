"""The posterior of a small Bayesian model by a flow, against references that know nothing of it."""

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import pushforward as pf

EXAMPLE = Path(__file__).parents[2] / "examples" / "posterior.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("posterior_example", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def iris():
    """Versicolor or virginica, by the width of a petal."""
    from sklearn.datasets import load_iris

    loaded = load_iris()
    x = loaded.data[50:, 3]
    return np.stack((np.ones(100), (x - x.mean()) / x.std()), axis=1), loaded.target[50:] - 1


def test_the_energy_is_minus_the_log_of_likelihood_and_prior(example):
    x, y = iris()
    w = np.array([[0.3, 2.0], [-1.0, 0.4]])
    chance = 1 / (1 + np.exp(-x @ w.T))  # (100, 2)
    likelihood = np.where(y[:, None] == 1, chance, 1 - chance).prod(0)
    prior = np.exp(-0.5 * (w / 3) ** 2).prod(1) / (2 * math.pi * 9)
    found = example.logistic_energy(x, y)(torch.from_numpy(w))
    assert np.allclose(found, -np.log(likelihood * prior))


def test_two_weights_agree_with_quadrature(example):
    energy = example.logistic_energy(*iris())
    first, second = np.linspace(-3, 3, 240), np.linspace(-1, 11, 320)
    points = np.stack(np.meshgrid(first, second), axis=-1).reshape(-1, 2)
    height = -energy(torch.from_numpy(points)).numpy()
    weights = np.exp(height - height.max())
    log_z = math.log(weights.sum() * (first[1] - first[0]) * (second[1] - second[0]))
    log_z += height.max()
    weights /= weights.sum()
    mean = weights @ points
    std = np.sqrt(weights @ (points - mean) ** 2)

    flow = pf.PlanarFlow((2,), layers=3, direction="sampling")
    run = pf.fit_density(
        energy, flow, steps=400, lr=0.1, batch_size=64, samples=4_000, progress=False
    )
    assert run.pareto_k < 0.7
    assert run.ess > 0.7
    assert run.log_z == pytest.approx(log_z, abs=5 * run.log_z_error)
    assert run.elbo < log_z
    found_mean, found_std = (values.numpy() for values in run.moments())
    assert np.abs(found_mean - mean).max() < 0.08 * std.min()
    assert np.abs(found_std / std - 1).max() < 0.08


def test_metropolis_samples_what_is_known(example):
    energy = lambda w: 0.5 * ((w - 1) / torch.tensor([0.5, 2.0])).square().sum(1)  # noqa: E731
    chains, gelman_rubin = example.metropolis(energy, 2, chains=32, steps=600)
    assert gelman_rubin < 1.05
    assert np.allclose(chains.reshape(-1, 2).mean(0), 1, atol=0.15)
    assert np.allclose(chains.reshape(-1, 2).std(0), [0.5, 2.0], rtol=0.06)


@pytest.mark.slow
def test_six_weights_agree_with_metropolis(example, tmp_path):
    found = example.main(str(tmp_path / "posterior.png"))
    assert found["gelman_rubin"] < 1.01
    assert found["ess"] > 0.9
    assert found["mean"].max() < 0.05, "in posterior deviations"
    assert found["std"].max() < 0.03
    assert (tmp_path / "posterior.png").stat().st_size > 10_000
