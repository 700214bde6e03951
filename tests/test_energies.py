"""The four energies against the paper's table, and what the grid says about densities we know."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import simpson

from pushforward import InputError, PlanarFlow
from pushforward.bases import DiagonalNormal
from pushforward.energies import ENERGIES, divergence, grid, log_z
from pushforward.flow import Flow


def as_printed(name, z1, z2):
    """Table 1 of Rezende and Mohamed, with the wall that makes U2 to U4 proper."""
    w1 = np.sin(2 * np.pi * z1 / 4)
    w2 = 3 * np.exp(-0.5 * ((z1 - 1) / 0.6) ** 2)
    w3 = 3 / (1 + np.exp(-(z1 - 1) / 0.3))
    wall = 0.5 * (np.maximum(np.abs(z1) - 4, 0) / 0.2) ** 2
    if name == "U1":
        lobes = np.exp(-0.5 * ((z1 - 2) / 0.6) ** 2) + np.exp(-0.5 * ((z1 + 2) / 0.6) ** 2)
        return 0.5 * ((np.hypot(z1, z2) - 2) / 0.4) ** 2 - np.log(lobes)
    if name == "U2":
        return 0.5 * ((z2 - w1) / 0.4) ** 2 + wall
    narrow, other = (0.35, w2) if name == "U3" else (0.4, w3)
    two = np.exp(-0.5 * ((z2 - w1) / narrow) ** 2) + np.exp(-0.5 * ((z2 - w1 + other) / 0.35) ** 2)
    return -np.log(two) + wall


@pytest.mark.parametrize("name", ENERGIES)
def test_energies_are_those_of_the_table(name):
    z = 2 * torch.randn(200, 2, dtype=torch.float64)
    expected = as_printed(name, *z.numpy().T)
    assert np.allclose(ENERGIES[name](z), expected, rtol=1e-9)


@pytest.mark.parametrize("name", ENERGIES)
def test_log_z_agrees_with_simpsons_rule(name):
    first, second = np.linspace(-5.5, 5.5, 1101), np.linspace(-7, 5, 1001)
    density = np.exp(-as_printed(name, first[:, None], second[None, :]))
    expected = math.log(simpson(simpson(density, x=second), x=first))
    assert log_z(ENERGIES[name]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", ENERGIES)
def test_energies_are_finite_and_smooth_far_out_and_at_the_centre(name):
    x = torch.tensor([[0.0, 0.0], [1e4, -1e4], [-50.0, 3.0], [4.0, 0.0]], requires_grad=True)
    values = ENERGIES[name](x)
    (slope,) = torch.autograd.grad(values.sum(), x)
    assert torch.isfinite(values).all()
    assert torch.isfinite(slope).all()


def test_the_grid_covers_its_square():
    points, area = grid(3.0, 30)
    assert points.shape == (900, 2)
    assert area * len(points) == pytest.approx(36)
    assert float(points.abs().max()) == pytest.approx(2.9)
    assert (points[1] - points[0]).tolist() == pytest.approx([0.2, 0.0])


def test_the_divergence_between_normals_is_the_known_one():
    base = DiagonalNormal((2,))
    with torch.no_grad():
        base.mean.copy_(torch.tensor([0.5, -1.0]))
        base.log_scale.copy_(torch.tensor([0.2, -0.4]))
    flow = Flow((2,), [], base).double()
    q = torch.distributions.Normal(base.mean, base.log_scale.exp())
    p = torch.distributions.Normal(torch.zeros(2), torch.tensor([1.5, 0.9]))
    expected = torch.distributions.kl_divergence(q, p).sum().item()
    energy = lambda x: 0.5 * (x / torch.tensor([1.5, 0.9])).square().sum(1) + 7  # noqa: E731
    assert divergence(flow, energy) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", ENERGIES)
def test_no_flow_has_a_negative_divergence(name):
    flow = PlanarFlow((2,), layers=2, direction="sampling", seed=3)
    assert divergence(flow, ENERGIES[name], size=200) > 0


def test_a_flow_that_leaves_the_grid_is_refused():
    flow = Flow((2,), [], DiagonalNormal((2,)))
    with torch.no_grad():
        flow.base.mean.fill_(7.9)
    with pytest.raises(InputError, match="larger limit"):
        divergence(flow, ENERGIES["U1"], size=200)
