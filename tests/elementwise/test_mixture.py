"""Mixture laws: against scipy's sums, in the tails, and the gradients of their inverses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import logsumexp

from pushforward.elementwise import LogisticMixture, NormalMixture, SoftClamp
from pushforward.elementwise.quantile import log_hazard, log_ndtr, normal_quantile
from pushforward.elementwise.root import increasing_root

K = 4
LAWS = {"logistic": LogisticMixture(K), "normal": NormalMixture(K)}
KINDS = {"logistic": stats.logistic, "normal": stats.norm}
every_law = pytest.mark.parametrize("name", LAWS)


def parameters(law, n, scale=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(n, law.count, generator=generator, dtype=torch.float64)


def mixture(name, x, row):
    """log F, log(1 - F) and log f of one point, component by component by scipy."""
    logits, means, log_scales = np.asarray(row)[: 3 * K].reshape(3, K)
    weights = logits - logsumexp(logits)
    parts = KINDS[name](means + np.linspace(-1, 1, K), np.exp(log_scales))
    return tuple(
        logsumexp(weights + values) for values in (parts.logcdf(x), parts.logsf(x), parts.logpdf(x))
    )


def test_logistic_mixture_is_scaled_logit_of_scipys_distribution_function():
    law, x = LAWS["logistic"], torch.linspace(-6, 6, 30, dtype=torch.float64)[:, None]
    given = parameters(law, 30)
    z, log_slope = law(x, given)
    for i in range(30):
        log_f, log_rest, log_density = mixture("logistic", x[i].item(), given[i])
        b, a = given[i, -2].item(), SoftClamp()(given[i, -1]).item()
        assert z[i].item() == pytest.approx(np.exp(a) * (log_f - log_rest) + b, rel=1e-11)
        assert log_slope[i].item() == pytest.approx(log_density - log_f - log_rest + a, rel=1e-9)


def test_normal_mixture_over_a_normal_has_the_density_of_scipys_mixture():
    law, x = LAWS["normal"], torch.linspace(-6, 6, 30, dtype=torch.float64)[:, None]
    given = parameters(law, 30)
    z, log_slope = law(x, given)
    for i in range(30):
        log_f, log_rest, log_density = mixture("normal", x[i].item(), given[i])
        expected = (
            stats.norm.ppf(np.exp(log_f)) if log_f < log_rest else stats.norm.isf(np.exp(log_rest))
        )
        assert z[i].item() == pytest.approx(expected, rel=1e-10)
        total = stats.norm.logpdf(z[i].item()) + log_slope[i].item()
        assert total == pytest.approx(log_density, rel=1e-11)


def test_one_component_of_width_one_is_the_identity():
    for law in (LogisticMixture(1), NormalMixture(1)):
        x = torch.linspace(-30, 30, 61, dtype=torch.float64)[:, None]
        z, log_slope = law(x, torch.zeros(61, law.count, dtype=torch.float64))
        assert torch.allclose(z, x, rtol=1e-12)
        assert torch.allclose(log_slope, torch.zeros_like(x), atol=1e-11)


def test_components_do_not_start_alike():
    law = NormalMixture(3)
    given = torch.zeros(1, law.count, dtype=torch.float64).requires_grad_()
    _, log_slope = law(torch.tensor([[0.7]], dtype=torch.float64), given)
    (gradient,) = torch.autograd.grad(log_slope.sum(), given)
    assert len(set(gradient[0, 3:6].tolist())) == 3


@every_law
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_far_out_nothing_is_infinite(name, dtype):
    law = LAWS[name]
    far = torch.tensor([[-1e12], [-1e4], [-40.0], [40.0], [1e4], [1e12]], dtype=dtype)
    given = parameters(law, 1).to(dtype).expand(6, -1).clone().requires_grad_()
    for apply in (law, law.inverse):
        x = far.clone().requires_grad_()
        z, log_slope = apply(x, given)
        gradients = torch.autograd.grad(z.sum() + log_slope.sum(), (x, given))
        for values in (z, log_slope, *gradients):
            assert torch.isfinite(values).all()
        assert (z.diff(dim=0) > 0).all()


@every_law
def test_in_the_tail_the_widest_component_alone_counts(name):
    # Far to the right z is that component's own: linear in x, with slope exp(-log_scale).
    law = LAWS[name]
    given = torch.zeros(1, law.count, dtype=torch.float64)
    given[0, 2 * K] = 1.0
    x = torch.tensor([[1e6]], dtype=torch.float64)
    z, log_slope = law(x, given)
    assert z.item() == pytest.approx(1e6 / np.e, rel=1e-5)
    assert log_slope.item() == pytest.approx(-1, abs=1e-5)


@every_law
@pytest.mark.parametrize(("scale", "tolerance"), [(0.5, 1e-12), (2.0, 1e-10)])
def test_the_inverse_is_found_to_the_last_digits(name, scale, tolerance):
    law, given = LAWS[name], parameters(LAWS[name], 500, scale)
    z = 3 * torch.randn(500, 1, dtype=torch.float64)
    x, log_slope = law.inverse(z, given)
    again, forward_slope = law(x, given)
    assert ((again - z).abs() <= tolerance * z.abs().clamp(min=1)).all()
    assert torch.allclose(log_slope, -forward_slope, atol=1e-9)


@every_law
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_fine_structure_is_found_within_a_wide_bracket(name, dtype):
    # Components of widths from 0.001 to 1,000 together: the latent tells of errors far below the
    # rounding of the bracket, and is as exact as the rounding of x lets it be.
    law, eps = LAWS[name], torch.finfo(dtype).eps
    given = parameters(law, 2_000, 6.0).to(dtype)
    z = 5 * torch.randn(2_000, 1, generator=torch.Generator().manual_seed(1)).to(dtype)
    x, log_slope = law.inverse(z, given)
    rounding = eps * (torch.exp(-log_slope) * (1 + x.abs()) + 1 + z.abs())
    assert ((law(x, given)[0] - z).abs() <= 40 * rounding).all()


@every_law
def test_gradients_are_those_of_finite_differences_both_ways(name):
    law = LAWS[name]
    x = torch.tensor([[-2.0], [0.4]], dtype=torch.float64).requires_grad_()
    given = parameters(law, 2, 0.7).requires_grad_()
    assert torch.autograd.gradcheck(law, (x, given), atol=1e-6)
    assert torch.autograd.gradcheck(law.inverse, (x, given), atol=1e-6)


@every_law
@pytest.mark.parametrize("output", [0, 1])
def test_second_derivatives_are_right_both_ways(name, output):
    law = LAWS[name]
    x = torch.tensor([[-2.0], [0.4]], dtype=torch.float64).requires_grad_()
    given = parameters(law, 2, 0.7).requires_grad_()
    for apply in (law, law.inverse):
        assert torch.autograd.gradgradcheck(lambda *a, f=apply: f(*a)[output], (x, given))


@every_law
def test_second_derivatives_leave_fixed_parameters_alone(name):
    law = LAWS[name]
    given = parameters(law, 2)
    y = torch.tensor([[-2.0], [0.4]], dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda y: law.inverse(y, given), (y,))
    assert not given.requires_grad


def test_a_component_of_no_width_keeps_the_least_one():
    law = NormalMixture(1)
    given = torch.tensor([[0.0, 0.0, -50.0]], dtype=torch.float64)
    _, log_slope = law(torch.zeros(1, 1, dtype=torch.float64), given)
    assert log_slope.item() == pytest.approx(7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_normal_quantiles_of_log_probabilities(dtype):
    z = -torch.tensor([0.0, 0.1, 1.0, 5.0, 6.4, 10.0, 40.0, 1e3, 1e6], dtype=torch.float64)
    log_p = torch.from_numpy(stats.norm.logcdf(z.numpy())).to(dtype).requires_grad_()
    found = normal_quantile(log_p)
    assert torch.allclose(found.double(), z, rtol=4 * torch.finfo(dtype).eps, atol=1e-6)
    (gradient,) = torch.autograd.grad(found.sum(), log_p)
    expected = 1 / torch.from_numpy(np.exp(stats.norm.logpdf(z[:6]) - stats.norm.logcdf(z[:6])))
    assert torch.allclose(gradient[:6].double(), expected, rtol=1e-4)


def test_quantiles_have_second_derivatives():
    log_p = -torch.tensor([0.7, 3.0, 19.0, 21.0, 300.0], dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradgradcheck(normal_quantile, (log_p,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_gradient_of_log_ndtr_is_right_far_out(dtype):
    # torch's own is 4 % off at -1000 in float32, and later not a number
    v = torch.tensor([-1e6, -1e3, -3.0, 0.0, 2.0, 30.0], dtype=dtype).requires_grad_()
    (gradient,) = torch.autograd.grad(log_ndtr(v).sum(), v)
    expected = torch.tensor([1e6, 1e3 + 1e-3, 3.2830987, 0.7978846, 0.0552479, 0.0], dtype=dtype)
    assert torch.allclose(gradient, expected, rtol=1e-5, atol=1e-12)
    assert torch.allclose(log_hazard(v.detach())[:5].exp(), expected[:5], rtol=1e-5)
    wide = torch.linspace(-4, 4, 9, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradgradcheck(log_ndtr, (wide,))


def test_roots_of_awkward_functions():
    def steep(x):  # flat on both sides, nearly a step between: Newton alone is thrown out
        value = torch.tanh(200 * (x - 0.3))
        return value, 200 * (1 - value.square())

    def cubic(x):  # a triple root, to which Newton crawls
        return (x - 1) ** 3, 3 * (x - 1) ** 2

    ends = -torch.full((3,), 50.0, dtype=torch.float64), torch.full((3,), 70.0, dtype=torch.float64)
    assert torch.allclose(increasing_root(steep, *ends), torch.tensor(0.3).double(), atol=1e-12)
    assert torch.allclose(increasing_root(cubic, *ends), torch.tensor(1.0).double(), atol=1e-10)


def test_a_mixture_needs_a_component():
    with pytest.raises(ValueError, match="at least one component"):
        NormalMixture(0)
