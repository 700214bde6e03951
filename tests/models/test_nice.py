"""NICE: volumes, dependence, the paper's sizes, and its likelihoods in other units."""

from __future__ import annotations

import math

import pytest
import scipy.stats
import torch
from torch import nn

from pushforward import NICE, InputError, create
from pushforward.layers import Coupling, Dequantize, Scaling, Whiten
from pushforward.models.nice import PRESETS, unit_log_likelihood
from registry import jacobian, perturb


def paper_parameters(size, hidden, width):
    """Four couplings between halves, and one scale a number."""
    half = size // 2
    net = (half + 1) * width + (hidden - 1) * (width + 1) * width + (width + 1) * half
    return 4 * net + size


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nice-mnist", 19_158_352),
        pytest.param("nice-tfd", 346_166_912, marks=pytest.mark.slow),
        pytest.param("nice-svhn", 72_617_216, marks=pytest.mark.slow),
        ("nice-cifar10", 72_617_216),
    ],
)
def test_presets_have_the_papers_sizes(name, expected):
    settings = PRESETS[name].settings
    size = math.prod(settings["shape"])
    assert paper_parameters(size, settings["depth"], settings["width"]) == expected
    if name == "nice-cifar10":
        return  # the same networks as nice-svhn, which are built by a slow test
    flow = create(name)
    assert sum(p.numel() for p in flow.parameters()) == expected
    assert any(isinstance(layer, Whiten) for layer in flow.chain) == (name != "nice-mnist")


def test_the_data_reach_the_couplings_as_the_paper_says():
    flow = create("nice-mnist", width=4, depth=1)
    assert isinstance(flow.chain[0], Dequantize)  # (255 x + u) / 256 of x in [0, 1]
    couplings = [layer for layer in flow.chain if isinstance(layer, Coupling)]
    assert len(couplings) == 4
    x = torch.arange(784.0)[None]
    for index, coupling in enumerate(couplings):
        kept, changed = coupling.split(x)
        assert (kept % 2 == index % 2).all(), "the even numbers are seen first"
        assert (changed % 2 != index % 2).all()


def test_only_the_scaling_has_a_say_in_the_log_det():
    flow = perturb(NICE((6,), levels=None, width=8)).eval()
    x = torch.randn(5, 6)
    scaling = next(layer for layer in flow.chain if isinstance(layer, Scaling))
    standardise = flow.chain[0]
    _, log_det = flow(x)
    expected = scaling.log_scale.sum() - standardise.log_std.sum()
    assert torch.allclose(log_det, expected.float().expand(5), atol=1e-5)


@pytest.mark.parametrize(("couplings", "whole"), [(2, False), (3, True)])
def test_three_couplings_let_every_number_depend_on_every_other(couplings, whole):
    flow = perturb(NICE((6,), couplings=couplings, width=16, activation="silu"), 1).double().eval()
    matrix = jacobian(flow.chain, torch.randn(1, 6, dtype=torch.float64))[0]
    assert bool((matrix != 0).all()) is whole


def test_untrained_it_is_a_logistic_density_of_the_pixels():
    flow = NICE((1, 2, 3), levels=16).eval()
    x = torch.randint(0, 16, (4, 1, 2, 3))
    spread = flow.chain[0](x)[0].double().numpy()
    truth = scipy.stats.logistic.logpdf(spread).sum((1, 2, 3)) - 6 * math.log(16)
    assert flow.log_prob(x).detach().numpy() == pytest.approx(truth, abs=1e-4)


def test_the_uniform_start_is_that_of_the_code():
    flow = create("nice-mnist", width=50, depth=2)
    linears = [m.requires_grad_(False) for m in flow.modules() if isinstance(m, nn.Linear)]
    assert all(float(linear.weight.abs().max()) <= 0.01 for linear in linears)
    assert all(
        float(linear.weight.std()) == pytest.approx(0.01 / 3**0.5, rel=0.05) for linear in linears
    )
    assert not any(linear.bias.any() for linear in linears)


def test_published_likelihoods_in_bits():
    def bits(likelihood, dims, width=1.0):
        one_bit_less = unit_log_likelihood(1, dims, width=width)
        return (unit_log_likelihood(0, dims, width=width) - likelihood) / (
            unit_log_likelihood(0, dims, width=width) - one_bit_less
        )

    assert bits(1980.50, 784) == pytest.approx(4.36, abs=0.005)
    assert bits(5514.71, 48 * 48) == pytest.approx(4.55, abs=0.005)
    assert bits(11496.55, 3072) == pytest.approx(2.60, abs=0.005)
    assert bits(5371.78, 3072, width=2) == pytest.approx(4.48, abs=0.005)


def test_the_likelihood_in_nats_is_that_of_the_dequantised_image():
    flow = NICE((1, 2, 2), levels=8).eval()
    x = torch.randint(0, 8, (1, 1, 2, 2))
    bits = float(flow.bits_per_dim(x).detach())
    z, log_det = flow(x)
    continuous = float((flow.base.log_prob(z) + log_det).detach()) + 4 * math.log(8)
    assert unit_log_likelihood(bits, 4, levels=8) == pytest.approx(continuous, abs=1e-4)


def test_an_unknown_option_is_said():
    with pytest.raises(InputError, match="NICE has no setting 'law'"):
        NICE((3,), law="affine")
    with pytest.raises(InputError, match=r"\(D,\) for rows or \(C, H, W\)"):
        NICE((3, 4))


def test_it_learns_a_correlated_density():
    import pushforward as pf

    generator = torch.Generator().manual_seed(0)
    a = torch.randn(2000, 1, generator=generator)
    x = torch.cat((a, a**2 + 0.3 * torch.randn(2000, 1, generator=generator)), 1)
    flow = NICE((2,), width=32, base="normal")
    run = pf.fit(flow, x, max_steps=300, progress=False, lr=5e-3)
    truth = 0.5 * math.log(2 * math.pi * math.e) * 2 + math.log(0.3)
    assert run.best["validation"] < truth + 0.2
