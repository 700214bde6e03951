"""Glow: the paper's size, its learned priors, and shapes that cannot be squeezed."""

from __future__ import annotations

import pytest
import torch

import pushforward as pf
from pushforward import Glow, InputError, create
from pushforward.layers import ActNorm, Coupling, Logit, LULinear, Multiscale
from pushforward.models.glow import SigmoidBound
from pushforward.nets import GlowNet, ZeroConv
from registry import perturb


def paper_parameters(channels, steps, width, scales):
    """Of the squeezed scales alone; the base has two numbers an element."""
    total = 0
    for scale in range(scales):
        channels *= 4
        half = channels // 2
        net = 9 * half * width + 9 * width  # the first convolution and the borders
        net += width * width + 4 * width  # the second; scales and shifts of both
        net += 9 * width * channels + 2 * channels  # the last one, with bias and gain
        step = net + 2 * channels + 2 * channels**2 + channels  # ActNorm; L, U, diagonal
        total += steps * step
        if scale < scales - 1:
            total += 9 * half * channels + 2 * channels  # the prior of what leaves
            channels = half
    return total


def test_the_preset_has_the_papers_44_million_parameters():
    expected = paper_parameters(3, 32, 512, 3) + 2 * 3072
    assert expected == pytest.approx(44e6, rel=0.02)
    flow = create("glow-cifar10")
    assert sum(p.numel() for p in flow.parameters()) == expected
    assert not any(isinstance(layer, Logit) for layer in flow.chain)


def test_the_law_and_the_bits_are_options():
    assert isinstance(first_coupling(Glow((1, 4, 4), law="sigmoid")).law.bound, SigmoidBound)
    assert first_coupling(Glow((1, 4, 4), clamp=1.5)).law.bound.limit == 1.5
    assert create("glow-cifar10", steps=1, width=4, levels=32).levels == 32


def first_coupling(flow):
    return next(layer for layer in flow.modules() if isinstance(layer, Coupling))


def test_the_sigmoid_is_glows():
    h = torch.linspace(-5, 5, 11)
    assert torch.allclose(SigmoidBound()(h).exp(), 1 / (1 + torch.exp(-(h + 2))))


def test_what_leaves_has_a_normal_density_given_what_stays():
    flow = perturb(Glow((1, 4, 4), steps=1, width=4, logit=False)).double().eval()
    scale = next(layer for layer in flow.chain if isinstance(layer, Multiscale))
    prior = flow.chain[list(flow.chain).index(scale) - 1]
    assert isinstance(prior.conditioner, ZeroConv)
    h = torch.randn(3, 4, 2, 2, dtype=torch.float64)
    z, log_det = prior(h)
    t, raw = prior.conditioner(h[:, :2]).chunk(2, 1)
    deviation = torch.exp(-prior.law.bound(raw))  # z = (h - mean) / deviation
    density = torch.distributions.Normal(-t * deviation, deviation).log_prob(h[:, 2:])
    standard = torch.distributions.Normal(0.0, 1.0).log_prob(z[:, 2:])
    got = standard.sum((1, 2, 3)) + log_det
    assert torch.allclose(got, density.sum((1, 2, 3)), atol=1e-10)
    assert torch.equal(z[:, :2], h[:, :2])


def test_a_step_is_actnorm_mixing_coupling():
    kinds = [type(layer) for layer in Glow((1, 4, 4), steps=2, scales=1).chain]
    assert kinds[3:6] == kinds[6:9] == [ActNorm, LULinear, Coupling]


def test_a_conditioner_knows_the_border_from_the_inside_and_starts_at_zero():
    net = GlowNet((2, 5, 5), (4, 5, 5), width=8)
    x = torch.ones(1, 2, 5, 5)
    assert not net(x).any()
    perturb(net)
    out = net(0 * x)[0]
    assert torch.equal(out[:, 2, 2], net(0 * x)[0, :, 2, 2])
    assert not torch.allclose(out[:, 0, 0], out[:, 2, 2])


def test_activations_keep_their_size_through_a_wide_conditioner():
    net = GlowNet((24, 8, 8), (48, 8, 8), width=256)
    seen = []
    net.last.register_forward_hook(lambda module, given, out: seen.append(given[0]))
    net(torch.randn(8, 24, 8, 8))
    assert 0.5 < float(seen[0].detach().square().mean()) < 2


@pytest.mark.parametrize(
    ("shape", "scales"), [((1, 28, 28), 2), ((3, 32, 32), 3), ((1, 7, 7), 0), ((2, 6, 8), 1)]
)
def test_it_is_squeezed_as_often_as_its_sides_allow(shape, scales):
    flow = Glow(shape, steps=1, width=4)
    assert sum(isinstance(m, Multiscale) for m in flow.modules()) == max(0, scales - 1)
    assert flow.latent_shape == shape
    assert flow.sample(2, seed=0).shape == (2, *shape)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (((6,),), r"mixes the channels of images .* got the shape \(6,\). For rows use RealNVP"),
        (((1, 6, 6), 2), "cannot make 2 scales of 6x6 images: their sides can be halved 1 times"),
    ],
)
def test_what_it_cannot_be_is_said(arguments, sentence):
    shape, *scales = arguments
    with pytest.raises(InputError, match=sentence):
        Glow(shape, **({"scales": scales[0]} if scales else {}))


def test_it_learns_stripes():
    rng = torch.Generator().manual_seed(0)
    phase = torch.randint(0, 2, (600, 1, 1, 1), generator=rng)
    stripes = (torch.arange(4)[:, None] + phase) % 2 * 2 + torch.randint(
        0, 2, (600, 1, 4, 4), generator=rng
    )
    flow = Glow((1, 4, 4), levels=4, steps=2, width=16)
    run = pf.fit(flow, stripes.to(torch.uint8), max_steps=60, progress=False)
    # One bit a pixel is the truth, two are what independent pixels take.
    assert 1 < run.best["validation"] < 1.7
