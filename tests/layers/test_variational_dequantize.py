"""Learned noise: a valid bound, tight in the mean of draws, a drop-in for uniform noise."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from pushforward import InputError, RealNVP
from pushforward.flow import Flow
from pushforward.layers import Dequantize, VariationalDequantize
from registry import perturb

LEVELS = 4


def flow_over(shape):
    flow = RealNVP(
        shape, levels=LEVELS, couplings=2, width=8, depth=1, dequantization="variational"
    )
    perturb(flow.double().eval(), 3, 0.1)
    assert isinstance(flow.chain[0], VariationalDequantize)
    return flow


def all_events(shape):
    """Every event there is: ``(LEVELS ** D, *shape)``."""
    grids = torch.meshgrid(*[torch.arange(LEVELS)] * math.prod(shape), indexing="ij")
    return torch.stack(grids, -1).reshape(-1, *shape)


def true_log_prob(flow, v, points=48):
    """The integral of the continuous density over each cell, by Gauss and Legendre."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    nodes, weights = torch.tensor((nodes + 1) / 2), torch.tensor(weights / 2).log()
    d = v[0].numel()
    u = torch.stack(torch.meshgrid(*[nodes] * d, indexing="ij"), -1).reshape(-1, *v.shape[1:])
    log_w = sum(torch.meshgrid(*[weights] * d, indexing="ij")).flatten()
    body = Flow(v.shape[1:], list(flow.chain)[1:], flow.base).double().eval()
    cells = [
        torch.logsumexp(body.log_prob((one + u) / LEVELS) + log_w, 0) - d * math.log(LEVELS)
        for one in v
    ]
    return torch.stack(cells)


@torch.no_grad()
def draws(flow, v, count):
    """``(count, N)``: log_prob under so many draws of the noise."""
    noise, found = flow.chain[0], []
    for _ in range(count):
        found.append(flow.log_prob(v))
        noise.seed.add_(1)
    return torch.stack(found)


@pytest.mark.parametrize("shape", [(1,), (2,), (1, 1, 1), (1, 1, 2)])
def test_the_draws_average_to_the_probability_and_their_logarithms_stay_below(shape):
    flow = flow_over(shape)
    v = all_events(shape)[[0, -2]]
    # Not chance but quadrature: the noise runs over a grid, each point with its weight.
    axis = torch.linspace(-8, 8, 801 if math.prod(shape) == 1 else 41, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(*[axis] * math.prod(shape), indexing="ij"), -1)
    grid = grid.reshape(-1, *shape)
    log_weight = (-0.5 * grid.square() - 0.5 * math.log(2 * math.pi)).flatten(1).sum(1)
    log_weight = log_weight + math.prod(shape) * math.log(axis[1] - axis[0])
    noise = flow.chain[0]
    noise.normal = lambda x: grid
    with torch.no_grad():
        expected = true_log_prob(flow, v)
        found = torch.stack([flow.log_prob(one.expand(grid.shape)) for one in v])
    mean = torch.logsumexp(found + log_weight, 1)
    assert torch.allclose(mean, expected, atol=1e-3)
    bound = (found * log_weight.exp()).sum(1)
    assert (bound < expected - 1e-3).all()
    assert (bound > expected - 10).all(), "a test that allowed everything would prove nothing"


def test_more_draws_make_a_tighter_bound():
    flow = flow_over((2,))
    v = all_events((2,))
    found = draws(flow, v, 60)
    tighter = torch.logsumexp(found.reshape(10, 6, len(v)), 1) - math.log(6)
    assert (tighter.mean(0) > found.mean(0)).all()
    with torch.no_grad():
        expected = torch.logsumexp(draws(copy.deepcopy(flow), v, 6), 0) - math.log(6)
        assert torch.allclose(flow.log_prob(v, samples=6), expected)


def test_it_starts_as_logistic_normal_noise_that_is_nearly_uniform():
    layer = VariationalDequantize((1, 4, 4), 256, width=4).double().eval()
    v = torch.randint(256, (200, 1, 4, 4), generator=torch.Generator().manual_seed(0))
    z, log_det = layer(v)
    u = (256 * z - v).detach().numpy()
    y = np.log(u / (1 - u)) / 1.702
    log_q = norm.logpdf(y) - math.log(1.702) - np.log(u * (1 - u))
    expected = -log_q.sum((1, 2, 3)) - 16 * math.log(256)
    assert np.allclose(log_det.detach().numpy(), expected, atol=1e-6)
    assert abs(log_q.mean()) < 0.02, "the logarithm of a uniform density is 0"


@pytest.mark.parametrize("shape", [(3,), (1, 2, 4), (1, 3, 5)])
@pytest.mark.parametrize("levels", [2, 256])
def test_whatever_the_noise_is_the_integer_comes_back(shape, levels):
    layer = perturb(VariationalDequantize(shape, levels, width=4), 1, 1.5).eval()
    v = torch.randint(levels, (300, *shape), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        z, log_det = layer(v)
    assert torch.isfinite(log_det).all()
    assert torch.equal(layer.inverse(z)[0].long(), v)
    assert torch.equal(layer.inverse(z)[0], Dequantize(levels).inverse(z)[0])
    u = levels * z.double() - v
    assert float(u.std()) > 0.3, "noise far from its start, much of it at the ends"


def test_the_noise_is_an_event_s_own_and_in_training_new_each_time():
    layer = perturb(VariationalDequantize((1, 2, 2), width=4)).eval()
    v = torch.randint(256, (4, 1, 2, 2), generator=torch.Generator().manual_seed(0))
    assert torch.equal(layer(v)[0], layer(v)[0])
    assert torch.allclose(layer(v)[0][1:2], layer(v[1:2])[0])
    layer.train()
    assert not torch.equal(layer(v)[0], layer(v)[0])


def test_training_the_noise_alone_tightens_the_bound():
    flow = flow_over((1,))
    v = all_events((1,))
    before = draws(flow, v, 40).mean()
    for parameter in flow.parameters():
        parameter.requires_grad_(False)
    own = list(flow.chain[0].requires_grad_().parameters())
    optimiser = torch.optim.Adam(own, 1e-2)
    flow.train()
    for _ in range(40):
        optimiser.zero_grad()
        (-flow.log_prob(v).mean()).backward()
        optimiser.step()
    flow.eval()
    with torch.no_grad():
        truth = true_log_prob(flow, v).mean()
    after = draws(flow, v, 40).mean()
    assert truth - after < 0.5 * (truth - before)
    assert after < truth + 1e-3


@pytest.mark.parametrize("memory", ["checkpoint", "constant"])
def test_gradients_are_the_same_in_little_memory(memory):
    flow = RealNVP((1, 4, 4), couplings=2, width=4, dequantization="variational")
    perturb(flow.double(), 0, 0.1).train()
    v = torch.randint(256, (3, 1, 4, 4), generator=torch.Generator().manual_seed(0))
    flow.initialise(v)
    twin = copy.deepcopy(flow)
    twin.memory = memory
    for each in (flow, twin):
        each.log_prob(v).sum().backward()
    for (name, one), other in zip(flow.named_parameters(), twin.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, rtol=1e-8, atol=1e-8), name


def test_too_few_and_too_many_levels_are_refused():
    with pytest.raises(InputError, match="levels; got 2097152"):
        VariationalDequantize((2,), 2**21)
    with pytest.raises(InputError, match="2 to 1,048,576 levels; got 1"):
        VariationalDequantize((3,), 1)
