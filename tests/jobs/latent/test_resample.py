"""Which latents left at which scale, and what keeping the coarse ones means."""

from __future__ import annotations

import pytest
import torch

from pushforward import GAN, NICE, VAE, Flow, Glow, InputError, RealNVP, create, resample
from pushforward.jobs.latent import coarsest_first, latent_scales
from pushforward.jobs.latent.resample import resampled_latents
from pushforward.layers import Chain, Inverted, Multiscale, OrderedSqueeze, Permutation, Scaling


def flows():
    paper = create("realnvp-cifar10", shape=(1, 16, 16), scales=4, width=4, blocks=1)
    return [
        (paper, 4),
        (RealNVP((1, 16, 16), scales=3, couplings=1, width=4), 3),
        (RealNVP((3, 8, 8), scales=2, couplings=1, width=4), 2),
        (Glow((1, 16, 16), scales=3, steps=1, width=4), 3),
    ]


@pytest.mark.parametrize(("flow", "scales"), flows(), ids=lambda value: str(value)[:12])
def test_half_leaves_at_each_scale_and_the_coarsest_come_first(flow, scales):
    found = latent_scales(flow)
    assert tuple(found.shape) == flow.latent_shape
    size = found.numel()
    counts = [size // 2 ** (k + 1) for k in range(scales - 1)]
    assert found.flatten().bincount().tolist() == [*counts, size - sum(counts)]
    order = coarsest_first(flow)
    assert sorted(order.tolist()) == list(range(size))
    along = found.flatten()[order]
    assert (along.diff() <= 0).all(), "the scale that leaves last comes first"


@pytest.mark.parametrize(("flow", "scales"), flows(), ids=lambda value: str(value)[:12])
def test_what_left_at_a_scale_does_not_pass_the_layers_of_the_next(flow, scales):
    # An oracle that knows nothing of the order: change the layers behind each factoring out, and
    # see which latents of an image change.
    inner, x = flow.chain, torch.randint(0, 17, (2, *flow.shape))
    for depth in range(1, scales):
        inner = next(la for la in inner if isinstance(la, Multiscale)).inner
        before = flow.encode(x)
        with torch.no_grad():
            for parameter in inner.parameters():
                parameter += 0.5 * torch.rand(parameter.shape)
        changed = (flow.encode(x) != before).any(0)
        assert not changed[latent_scales(flow) < depth].any()
        for later in range(depth, scales):
            assert changed[latent_scales(flow) == later].float().mean() > 0.4


def test_permutations_of_latents_are_followed():
    shape = (2, 4, 4)
    squeeze, back = OrderedSqueeze(), Inverted(OrderedSqueeze(), shape)
    layers = [squeeze, Multiscale(Chain([Scaling((3, 2, 2))]), 3), back]
    plain = latent_scales(Flow(shape, layers))
    turned = latent_scales(Flow(shape, [*layers, Permutation([1, 0])]))
    assert torch.equal(turned, plain.flip(0))
    assert int(plain.sum()) == 12


def test_within_a_scale_the_order_is_that_of_further_ordered_squeezes():
    order = coarsest_first(Flow((1, 4, 4), []))
    half = sorted(order[:8].tolist())
    assert half == [0, 2, 5, 7, 8, 10, 13, 15], "one colour of the checkerboard"
    assert sorted(order[:4].tolist()) == [0, 5, 10, 15], "(0,0) of each block, and (1,1) of those"


@pytest.mark.parametrize("fill", ["noise", "zero"])
def test_kept_latents_are_bit_equal_and_all_the_others_are_new(fill):
    flow = RealNVP((1, 8, 8), levels=17, width=8, couplings=2)
    x = torch.randint(0, 17, (3, 1, 8, 8))
    keep = (1.0, 0.5, 0.25, 0.125, 0.0625)
    z = flow.encode(x).flatten(1)
    mixed = resampled_latents(flow, x, keep=keep, fill=fill, seed=0).flatten(2)
    order = coarsest_first(flow)
    for index, share in enumerate(keep):
        count = round(64 * share)
        kept, other = order[:count], order[count:]
        assert torch.equal(mixed[:, index, kept], z[:, kept])
        if fill == "zero":
            assert (mixed[:, index, other] == 0).all()
        else:
            assert (mixed[:, index, other] != z[:, other]).all()
    images = resample(flow, x, keep=keep, fill=fill, seed=0)
    assert images.shape == (3, 5, 1, 8, 8)
    assert torch.equal(images[:, 0], x)


def test_the_noise_is_repeatable_and_the_same_at_all_shares():
    flow = RealNVP((1, 8, 8), levels=17, width=8, couplings=2)
    x = torch.randint(0, 17, (2, 1, 8, 8))
    mixed = resampled_latents(flow, x, seed=3).flatten(2)
    last = coarsest_first(flow)[-8:]
    assert torch.equal(mixed[:, 1, last], mixed[:, 4, last])
    assert torch.equal(resample(flow, x, seed=3), resample(flow, x, seed=3))


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        (NICE((1, 4, 4), width=8), {}, "leave at one scale"),
        (VAE((1, 4, 4), levels=2, latent=2, hidden=(4,)), {}, "leave at one scale"),
        (RealNVP((3,), width=8), {}, "resample is for images"),
        (GAN((1, 4, 4), latent=2), {}, "no way leads back"),
        (RealNVP((1, 8, 8), width=8), {"keep": [0.5, 0]}, "at most 1, such as 0.25; got 0"),
        (RealNVP((1, 8, 8), width=8), {"keep": [50]}, "got 50"),
        (RealNVP((1, 8, 8), width=8), {"keep": []}, "got none"),
        (RealNVP((1, 8, 8), width=8), {"fill": "ones"}, "'noise' or 'zero'"),
    ],
)
def test_what_will_not_do_is_said(model, options, said):
    with pytest.raises(InputError, match=said):
        resample(model, torch.zeros(1, *model.shape, dtype=torch.uint8), **options)
