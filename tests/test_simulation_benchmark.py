"""The tasks of the simulation benchmark: their reference posteriors, and the classifier's ruler."""

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "simulation.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("simulation_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def moons_likelihood(x, theta, script):
    """p(x | theta) of two moons in closed form: a normal radius, a uniform angle to the right."""
    p = x - script.shift(theta) - torch.tensor([0.25, 0.0])
    radius = p.norm(dim=1)
    log_radius = torch.distributions.Normal(0.1, 0.01).log_prob(radius)
    return torch.where(p[:, 0] > 0, (log_radius - (math.pi * radius).log()).exp(), 0.0)


def test_two_moons_reference_is_the_posterior_on_a_grid(script):
    (x,) = script.observations(script.TWO_MOONS, 1)
    draws = script.two_moons_posterior(x, 20_000, torch.Generator().manual_seed(0))
    assert script.TWO_MOONS.inside(draws).all()
    line = (torch.arange(900, dtype=torch.float64) + 0.5) / 450 - 1
    grid = torch.cartesian_prod(line, line)
    weights = moons_likelihood(x, grid, script)
    weights = weights / weights.sum()
    mean = (weights[:, None] * grid).sum(0)
    assert torch.allclose(draws.mean(0), mean, atol=0.02)
    for first in (True, False):  # the shares of the quarters, and their own moments
        half = (grid.sum(1) > 0) == first
        mine = (draws.sum(1) > 0) == first
        assert float(mine.double().mean()) == pytest.approx(float(weights[half].sum()), abs=0.015)
        within = weights[half] / weights[half].sum()
        centre = (within[:, None] * grid[half]).sum(0)
        spread = (within[:, None] * (grid[half] - centre).square()).sum(0).sqrt()
        assert torch.allclose(draws[mine].mean(0), centre, atol=2e-3)
        assert torch.allclose(draws[mine].std(0), spread, atol=2e-3)


@pytest.mark.slow
def test_two_moons_reference_is_what_rejection_finds(script):
    # The simulator anew, as the published benchmark writes it: a rotation by an eighth of a turn.
    rng, cos, sin = np.random.default_rng(7), math.cos(-math.pi / 4), math.sin(-math.pi / 4)
    (x,) = script.observations(script.TWO_MOONS, 1)
    kept = []
    for _ in range(20):
        theta = rng.uniform(-1, 1, (1_000_000, 2))
        angle, radius = rng.uniform(-math.pi / 2, math.pi / 2, 10**6), rng.normal(0.1, 0.01, 10**6)
        first, second = theta.T
        made = np.stack((radius * np.cos(angle) + 0.25, radius * np.sin(angle)), axis=1)
        made[:, 0] -= np.abs(cos * first - sin * second)
        made[:, 1] += sin * first + cos * second
        kept.append(theta[np.hypot(*(made - x.numpy()).T) < 0.005])
    found = np.concatenate(kept)
    assert len(found) > 500
    draws = script.two_moons_posterior(x, len(found), torch.Generator().manual_seed(0)).numpy()
    assert abs(script.c2st(draws, found) - 0.5) < 0.06
    assert np.allclose(found.mean(0), draws.mean(0), atol=0.03)


def test_gaussian_linear_reference_is_what_regression_finds(script):
    task = script.GAUSSIAN_LINEAR
    theta, x = script.simulations(task, 40_000, 0)
    slope = torch.linalg.lstsq(x, theta).solution
    assert torch.allclose(slope, torch.eye(10).double() / 2, atol=0.01)
    left = theta - x @ slope
    draws = task.reference(x[0], 40_000, torch.Generator().manual_seed(0))
    assert torch.allclose(draws.mean(0), x[0] / 2, atol=0.005)
    assert torch.allclose(draws.T.cov(), left.T.cov(), atol=0.002)


def test_simulations_follow_their_seed_and_observations_do_not(script):
    task = script.TWO_MOONS
    assert torch.equal(script.simulations(task, 5, 1)[1], script.simulations(task, 5, 1)[1])
    assert not torch.equal(script.simulations(task, 5, 1)[1], script.simulations(task, 5, 2)[1])
    assert torch.equal(script.observations(task, 3), script.observations(task, 10)[:3])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_the_classifier_tells_apart_what_differs_and_no_more(script):
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 300, 2))
    assert abs(script.c2st(first, second) - 0.5) < 0.08
    assert script.c2st(first, second + 4) > 0.95
