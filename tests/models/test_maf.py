"""Autoregressive and spline flows against densities that are known otherwise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

import pushforward as pf
from pushforward import IAF, MAF, NSF, InputError, RealNVP
from pushforward.elementwise import NormalMixture
from pushforward.layers import Autoregressive
from registry import perturb


def test_one_layer_finds_the_cholesky_factor_of_a_gaussian():
    rng = np.random.default_rng(0)
    factor = np.array([[1.0, 0, 0], [0.8, 0.5, 0], [-0.3, 0.9, 0.4]])
    x = torch.from_numpy(rng.standard_normal((500, 3)) @ factor.T + [1.0, -2.0, 0.5])
    flow = MAF((3,), layers=1, width=16, depth=1, activation="tanh", norm="none").double()
    flow.initialise(x)
    optimiser = torch.optim.LBFGS(
        flow.parameters(), max_iter=40, history_size=20, line_search_fn="strong_wolfe"
    )

    def closure():
        optimiser.zero_grad()
        loss = -flow.log_prob(x, check=False).mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    found = stats.multivariate_normal(x.mean(0), np.cov(x.T, bias=True))
    best = float(found.logpdf(x).mean())
    ours = float(flow.log_prob(x).detach().mean())
    assert ours == pytest.approx(best, abs=0.02)
    assert ours > best - 0.005, "the maximum likelihood of a Gaussian is within its reach"


def test_mog_made_is_exactly_the_mixture_that_its_network_describes():
    k, d = 3, 4
    flow = perturb(MAF((d,), layers=0, mog=k, width=8, norm="none").double().eval(), scale=0.5)
    x = torch.randn(6, d, dtype=torch.float64)
    standardise, layer = flow.chain
    assert isinstance(layer, Autoregressive)
    assert isinstance(layer.law, NormalMixture)
    y, log_det = standardise(x)
    theta = layer.made(y).reshape(6, 3, k, d).detach().numpy()
    weights = np.exp(theta[:, 0] - np.logaddexp.reduce(theta[:, 0], axis=1, keepdims=True))
    means = theta[:, 1] + np.linspace(-1, 1, k)[:, None]
    parts = weights * stats.norm.pdf(y.numpy()[:, None], means, np.exp(theta[:, 2]))
    expected = np.log(parts.sum(1)).sum(1) + log_det.numpy()
    assert np.allclose(flow.log_prob(x).detach(), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        lambda: MAF((2,), layers=2, width=8, law="spline"),
        lambda: MAF((2,), layers=2, width=8, law="mixture", components=3),
        lambda: MAF((2,), layers=1, width=8, mog=3),
        lambda: NSF((2,), steps=2, width=8),
        lambda: IAF((2,), layers=2, width=8),
        lambda: RealNVP((2,), couplings=3, width=8, law="mixture"),
    ],
    ids=["maf-spline", "maf-mixture", "maf-mog", "nsf", "iaf", "realnvp-mixture"],
)
def test_densities_in_the_plane_integrate_to_one(make):
    flow = perturb(make().double().eval(), seed=3, scale=0.15)
    line = torch.linspace(-12, 12, 241, dtype=torch.float64)
    points = torch.cartesian_prod(line, line)
    with torch.no_grad():
        mass = flow.log_prob(points).exp().sum() * (line[1] - line[0]) ** 2
    assert float(mass) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("law", ["spline", "mixture"])
def test_densities_on_the_line_integrate_to_one(law):
    flow = perturb(MAF((1,), layers=2, width=8, law=law).double().eval(), seed=1)
    line = torch.linspace(-30, 30, 20_001, dtype=torch.float64)
    with torch.no_grad():
        mass = torch.trapezoid(flow.log_prob(line[:, None]).exp(), line)
    assert float(mass) == pytest.approx(1, abs=2e-4)


@pytest.mark.parametrize("make", [MAF, IAF, NSF])
def test_samples_have_the_density_that_comes_with_them(make):
    flow = perturb(make((3,), width=8).double().eval(), scale=0.05)
    x, log_prob = flow.rsample(5, seed=1)
    assert torch.allclose(flow.log_prob(x), log_prob, atol=1e-9)
    (gradient,) = torch.autograd.grad(x.square().sum(), [next(flow.parameters())])
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("maf", {}),
        ("maf-mog", {}),
        ("iaf", {}),
        ("made", {}),
        ("made-mog", {}),
        ("nsf", {"steps": 2}),
        ("nsf-ar", {"steps": 2}),
    ],
)
def test_presets_take_rows_and_come_back_from_their_folder(name, options, tmp_path):
    flow = pf.create(name, shape=(4,), width=8, **options)
    perturb(flow)
    flow.save(tmp_path / "model")
    x = torch.randn(3, 4)
    assert torch.equal(pf.load(tmp_path / "model").log_prob(x), flow.eval().log_prob(x))


def test_images_are_rows_of_pixels():
    flow = pf.create("maf-mnist", shape=(1, 3, 4), width=16)
    x = torch.randint(256, (4, 1, 3, 4))
    assert flow.bits_per_dim(x).shape == (4,)
    assert flow.sample(2).shape == (2, 1, 3, 4)
    decoded = flow.decode(flow.encode(x))
    assert torch.equal(decoded.long(), x)


def test_bad_options_are_refused_in_a_sentence():
    with pytest.raises(InputError, match="nothing to learn"):
        MAF((3,), layers=0)
    with pytest.raises(InputError, match="NSF is for rows"):
        NSF((1, 4, 4))
    with pytest.raises(InputError, match=r"MAF: law = 'curly'"):
        MAF((3,), law="curly")
