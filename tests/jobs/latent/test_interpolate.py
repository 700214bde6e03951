"""Interpolation stays on the shell of the base, and the ends are the events themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from pushforward import GAN, GMM, NICE, VAE, Flow, InputError, RealNVP, interpolate
from pushforward.bases import DiagonalNormal, Logistic, StandardNormal, Uniform
from pushforward.jobs.latent.latents import normal_scores


def identity(base):
    return Flow(base.shape, [], base).double()


def test_the_identity_flow_walks_along_the_great_circle():
    flow = identity(StandardNormal((3,)))
    x = interpolate(flow, torch.tensor([[2.0, 0, 0]]), torch.tensor([[0, 2.0, 0]]), steps=3)
    half = 2 / np.sqrt(2)
    expected = [[2.0, 0, 0], [half, half, 0], [0, 2.0, 0]]
    assert x[0].tolist() == pytest.approx(np.array(expected), abs=1e-12)
    line = interpolate(flow, x[:, 0], x[:, 2], steps=3, path="line")
    assert line[0, 1].tolist() == pytest.approx([1.0, 1.0, 0.0])


@pytest.mark.parametrize(
    ("base", "law"),
    [
        (Logistic((200,)), stats.logistic),
        (Uniform((200,)), stats.uniform),
        (StandardNormal((200,)), stats.norm),
    ],
)
def test_the_middle_of_random_pairs_is_a_draw_of_the_base(base, law):
    # Two independent draws at 90 degrees: on the shell their middle has the law of the base,
    # while that of the straight line is far narrower.
    x = interpolate(identity(base), pairs=40, steps=3, seed=0)[:, 1].flatten().numpy()
    assert stats.kstest(x, law.cdf).pvalue > 1e-3
    line = interpolate(identity(base), pairs=40, steps=3, seed=0, path="line")[:, 1]
    assert stats.kstest(line.flatten().numpy(), law.cdf).pvalue < 1e-9


@pytest.mark.parametrize("base", [Logistic((5,)), StandardNormal((5,)), DiagonalNormal((5,))])
def test_normal_scores_are_those_of_scipy_and_go_back_far_into_the_tails(base):
    to, back = normal_scores(identity(base))
    z = torch.tensor([[-300.0, -5.0, 0.0, 5.0, 300.0]], dtype=torch.float64)
    assert back(to(z))[0].tolist() == pytest.approx(z[0].tolist(), rel=1e-9)
    if isinstance(base, Logistic):
        known = stats.norm.isf(stats.logistic.sf(np.array([-5.0, 0.0, 5.0, 300.0])))
        assert to(z)[0, 1:].tolist() == pytest.approx(known, rel=1e-9)


@pytest.mark.parametrize("make", [RealNVP, NICE])
def test_the_ends_are_the_images_themselves(make):
    flow = make((1, 4, 4), levels=17, width=8)
    x = torch.randint(0, 17, (4, 1, 4, 4))
    ways = interpolate(flow, x[:2], x[2:], steps=5)
    assert ways.shape == (2, 5, 1, 4, 4)
    assert torch.equal(ways[:, 0], x[:2])
    assert torch.equal(ways[:, -1], x[2:])


def test_rows_and_a_seed():
    flow = RealNVP((3,), width=8, couplings=2)
    x = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    ways = interpolate(flow, x[:1], x[1:], steps=4)
    assert np.abs(ways[0, [0, -1]].numpy() - x).max() < 1e-5
    first, again = (interpolate(flow, pairs=2, steps=3, seed=4) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, interpolate(flow, pairs=2, steps=3, seed=5))


def test_the_way_through_a_mixture_is_straight():
    flow = GMM((2,), components=3)
    x = torch.randn(2, 2)
    ways = interpolate(flow, x[:1], x[1:], steps=3)
    assert ways[0, 1].tolist() == pytest.approx(x.mean(0).tolist(), abs=1e-5)


def test_a_vae_gives_expectations_and_a_gan_goes_between_noises():
    vae = VAE((1, 4, 4), levels=2, latent=3, hidden=(8,))
    ways = interpolate(vae, pairs=2, steps=3, seed=0)
    assert ways.is_floating_point()
    assert float(ways.min()) > 0
    gan = GAN((1, 4, 4), latent=5)
    made = interpolate(gan, pairs=2, steps=4, seed=0)
    assert made.shape == (2, 4, 1, 4, 4)
    with pytest.raises(InputError, match="no way leads back"):
        interpolate(gan, made[:, 0], made[:, 1])


def test_a_context_is_taken_along():
    flow = RealNVP((2,), context=3, width=8, couplings=2)
    x, given = torch.randn(2, 2), torch.tensor([1.0, 0, 0])
    ways = interpolate(flow, x[:1], x[1:], steps=4, context=given)
    assert (ways[0, [0, -1]] - x).abs().max() < 1e-5
    with pytest.raises(InputError, match="is conditional"):
        interpolate(flow, x[:1], x[1:])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": 1}, "at least 2 steps"),
        ({"path": "arc"}, "'shell' or 'line'"),
        ({"pairs": 0}, "at least one pair"),
        ({"start": torch.zeros(1, 2)}, "both a start and an end"),
        ({"start": torch.zeros(1, 2), "end": torch.zeros(2, 2)}, "got 1 and 2"),
        ({"start": torch.zeros(0, 2), "end": torch.zeros(0, 2)}, "got 0 and 0"),
        ({"start": torch.zeros(1, 3), "end": torch.zeros(1, 3)}, "rows of 2 numbers"),
    ],
)
def test_what_will_not_do_is_said(options, said):
    with pytest.raises(InputError, match=said):
        interpolate(RealNVP((2,), width=8, couplings=2), **options)
