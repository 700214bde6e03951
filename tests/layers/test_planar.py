"""Planar, radial and Sylvester layers: constraint, root, and what the papers say of them."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from scipy.optimize import brentq

from pushforward import InputError
from pushforward.flow import Flow
from pushforward.layers import Inverted, Planar, Radial, Sylvester
from pushforward.layers.tanh_root import MARGIN, above_minus_one, tanh_root
from registry import jacobian, perturb

KINDS = [Planar, Radial, Sylvester]


def moved(kind, size, scale=0.7, seed=0, **options):
    torch.manual_seed(seed)
    return perturb(kind(size, **options).double(), seed, scale)


# The constraint --------------------------------------------------------------------------------


def test_the_bound_is_strict_smooth_increasing_and_zero_at_zero():
    for dtype in (torch.float32, torch.float64):
        a = torch.cat((-torch.logspace(8, -8, 200), torch.zeros(1), torch.logspace(-8, 8, 200)))
        m = above_minus_one(a.to(dtype))
        assert (m > -1).all()
        assert (m >= -1 + MARGIN * 0.99).all()
        assert (m.diff() >= 0).all()
        assert abs(float(m[200])) < 1e-6


@pytest.mark.parametrize("scale", [1e-8, 1.0, 30.0, 1e4])
def test_w_times_u_hat_is_above_minus_one_for_any_w_and_u(scale):
    for seed in range(50):
        torch.manual_seed(seed)
        layer = Planar(6).double().requires_grad_(False)
        layer.parameters_of.values.copy_(scale * torch.randn(13))
        w, u, _, k = layer._parts(torch.zeros(1, 6).double(), None)
        given_u = layer.parameters_of.values[6:12]
        assert float((w * u).sum()) > -1
        assert float((w * u).sum()) == pytest.approx(float(k), abs=1e-7 * max(1, scale**2 * 1e-6))
        # u-hat differs from u along w only
        across = (u[0] - given_u) - ((u[0] - given_u) @ w[0]) * w[0] / w[0].square().sum()
        assert across.abs().max() <= 1e-12 * max(1, scale)


def test_a_plane_without_normal_does_nothing_and_has_a_gradient():
    layer = Planar(3)
    with torch.no_grad():
        layer.parameters_of.values.zero_()
    x = torch.randn(4, 3)
    z, log_det = layer(x)
    assert torch.equal(z, x)
    (z.square().sum() + log_det.sum()).backward()
    assert torch.isfinite(layer.parameters_of.values.grad).all()


@pytest.mark.parametrize("kind", KINDS)
def test_layers_begin_as_the_identity(kind):
    x = torch.randn(10, 4).double()
    z, log_det = kind(4).double()(x)
    assert torch.allclose(z, x, atol=1e-12)
    assert log_det.abs().max() < 1e-12


# The root --------------------------------------------------------------------------------------


def test_the_root_is_that_of_a_bracketing_search():
    ks = [-0.999, -0.99, -0.5, -1e-9, 0.0, 1e-9, 1.0, 40.0, 1000.0]
    cs = [0.0, 1e-12, 1e-4, 0.03, 0.5, 1.0, 7.0, 39.0, 1e3, 1e9]
    for k in ks:
        for c in (*cs, *(-c for c in cs)):
            t = float(
                tanh_root(
                    torch.tensor([c], dtype=torch.float64), torch.tensor([k], dtype=torch.float64)
                )
            )
            bound = abs(c) + abs(k) + 1
            expected = brentq(
                lambda t, c=c, k=k: t + k * math.tanh(t) - c, -bound, bound, xtol=1e-15
            )
            assert t == pytest.approx(expected, rel=1e-9, abs=1e-12), (c, k)
            residual = t + k * math.tanh(t) - c
            assert abs(residual) <= 4e-16 * (abs(c) + abs(k) + abs(t)), (c, k)


def test_its_derivatives_of_first_and_second_order_are_right():
    c = torch.tensor([-2.0, 0.2, 0.7]).double().requires_grad_()
    k = torch.tensor([-0.9, 4.0, 0.0]).double().requires_grad_()
    assert torch.autograd.gradcheck(tanh_root, (c, k))
    assert torch.autograd.gradgradcheck(tanh_root, (c, k))


# Far out and near the edge ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("distance", [1.0, 1e3, 1e8])
def test_latents_far_out_come_back(kind, distance):
    for seed in range(5):
        layer = moved(kind, 4, 1.0, seed)
        for there, back in ((layer.forward, layer.inverse), (layer.inverse, layer.forward)):
            x = distance * torch.randn(100, 4).double()
            y, log_det = there(x)
            again, log_det_back = back(y)
            assert (again - x).abs().max() <= 1e-10 * distance
            assert torch.isfinite(log_det).all()
            assert (log_det + log_det_back).abs().max() < 1e-7


@pytest.mark.parametrize("kind", KINDS)
def test_layers_at_the_edge_of_the_constraint_are_still_undone(kind):
    layer = kind(3).double()
    with torch.no_grad():
        if kind is Planar:  # w'u = -1e4
            layer.parameters_of.values.copy_(torch.tensor([1.0, 2, -1, -2e3, -4e3, 2e3, 0.3]))
        elif kind is Radial:
            layer.parameters_of.values[-1] = -1e4
        else:
            layer.parameters_of.values[-9:-6] = -1e4
    x = torch.randn(200, 3).double()
    z, log_det = layer(x)
    assert torch.isfinite(log_det).all()
    assert log_det.min() < -1, "it does squeeze"
    back, _ = layer.inverse(z)
    assert (back - x).abs().max() < 1e-9


@settings(max_examples=20, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    size=st.integers(1, 6),
    seed=st.integers(0, 10**6),
    scale=st.sampled_from([0.1, 1.0, 3.0]),
)
def test_any_weights_give_a_bijection_with_the_right_log_det(kind, size, seed, scale):
    layer = moved(kind, size, scale, seed)
    x = 2 * torch.randn(5, size).double()
    z, log_det = layer(x)
    expected = torch.linalg.slogdet(jacobian(layer, x))
    assert (expected.sign == 1).all(), "no folding over"
    assert torch.allclose(log_det, expected.logabsdet, atol=1e-7)
    assert (layer.inverse(z)[0] - x).abs().max() < 1e-8


# What the layers are ---------------------------------------------------------------------------


def test_sylvester_with_one_column_is_planar():
    sylvester, x = moved(Sylvester, 4, columns=1), torch.randn(20, 4).double()
    into, out, _, k, b = sylvester._parts(x, None)
    planar = Planar(4).double()
    w, u_hat = into[0, :, 0], out[0, 0]
    # u with m(w'u) = w'u-hat and the same part across w
    a = math.log(math.expm1(float(k.detach()) / (1 - MARGIN) + 1)) - math.log(math.e - 1)
    u = u_hat + (a - float(k.detach())) * w / w.square().sum()
    with torch.no_grad():
        planar.parameters_of.values.copy_(torch.cat((w, u, b[0])))
    for one, other in zip(sylvester(x), planar(x), strict=True):
        assert torch.allclose(one, other, atol=1e-12)


def test_the_frame_of_sylvester_is_orthonormal_and_its_matrices_are_triangular():
    layer = moved(Sylvester, 6, columns=4)
    into, out, coupled, k, _ = layer._parts(torch.zeros(1, 6).double(), None)
    assert torch.allclose(coupled[0], coupled[0].triu(), atol=1e-15)
    assert torch.allclose(coupled[0].diagonal(), k[0], atol=1e-12)
    # Q R' and Q R~' span the same 4 directions; moves stay within them
    x = torch.randn(50, 6).double()
    moves = layer(x)[0] - x
    frame = torch.linalg.qr(into[0]).Q
    assert torch.allclose(moves @ frame @ frame.T, moves, atol=1e-12)
    assert torch.linalg.matrix_rank(torch.cat((into[0], out[0].T), dim=1), atol=1e-9) == 4


def test_radial_moves_along_rays_from_its_centre():
    layer, x = moved(Radial, 3), torch.randn(20, 3).double()
    centre = layer.parameters_of.values[:3]
    ratio = (layer(x)[0] - centre) / (x - centre)
    assert torch.allclose(ratio, ratio[:, :1].expand(-1, 3))
    assert (ratio > 0).all()
    z, log_det = layer(centre[None].detach())
    assert torch.equal(z, centre[None])
    assert torch.isfinite(log_det).all()


def test_sylvester_refuses_more_columns_than_numbers():
    with pytest.raises(InputError, match="1 to 3 columns"):
        Sylvester(3, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_context_that_is_missing_is_missed(kind):
    with pytest.raises(InputError, match="context"):
        kind(3, context=2)(torch.zeros(1, 3))


# The density -----------------------------------------------------------------------------------


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_density_of_one_layer_integrates_to_one(kind, turned):
    layer = moved(kind, 2, 0.9, 3)
    flow = Flow((2,), [Inverted(layer) if turned else layer]).double()
    axis = np.linspace(-10, 10, 301)
    points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    with torch.no_grad():
        total = float(flow.log_prob(points).exp().sum()) * (axis[1] - axis[0]) ** 2
    assert total == pytest.approx(1, abs=2e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_have_the_moments_of_the_density(kind):
    layer = moved(kind, 2, 0.9, 4)
    flow = Flow((2,), [Inverted(layer)]).double()
    axis = np.linspace(-10, 10, 301)
    points = torch.from_numpy(np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2))
    with torch.no_grad():
        weights = flow.log_prob(points).exp() * (axis[1] - axis[0]) ** 2
    mean = weights @ points
    square = weights @ points.square()
    x = flow.sample(40_000, seed=0)
    for values, expected in ((x, mean), (x.square(), square)):
        error = values.std(0) / 200
        assert ((values.mean(0) - expected).abs() < 5 * error + 1e-3).all()
