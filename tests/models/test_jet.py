"""Jet: what a coupling computes, in what order they come, how it starts, what it refuses."""

from __future__ import annotations

import math

import pytest
import torch

from pushforward import InputError, Jet
from pushforward.elementwise import SigmoidScale
from pushforward.layers import Coupling, Dequantize, Rescale
from pushforward.layers.masks import IndexSplit, MaskSplit, SliceSplit
from pushforward.models.jet import PRESETS
from registry import perturb


def couplings(flow):
    return [layer for layer in flow.chain if isinstance(layer, Coupling)]


def test_it_starts_as_the_identity():
    flow = Jet((1, 8, 8), width=8, heads=1, front="linear").eval()
    v = torch.randint(256, (5, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    z = flow.encode(v)
    x, _ = flow.chain[1](flow.chain[0](v)[0])
    assert torch.allclose(z, x)
    for layer in couplings(flow):
        y = torch.randn(5, *layer.shape)
        z, log_det = layer(y)
        assert torch.allclose(z, y)
        assert torch.allclose(log_det, torch.zeros(5), atol=1e-5)


def test_bits_per_dim_are_counted_as_the_authors_count_them():
    flow = Jet((3, 4, 4), width=8, heads=1, front="linear", couplings=2).double().eval()
    noise, front = flow.chain[0], flow.chain[1]
    assert isinstance(noise, Dequantize)
    assert isinstance(front, Rescale)
    v = torch.randint(256, (4, 3, 4, 4), generator=torch.Generator().manual_seed(0))
    u = 256 * noise(v)[0] - v
    x = v / 127.5 - 1 + u / 127.5  # from -1 to a cell above 1
    assert torch.allclose(front(noise(v)[0])[0], x)
    minus_log_normal = (0.5 * x.square() + 0.5 * math.log(2 * math.pi)).sum((1, 2, 3))
    expected = (minus_log_normal + 48 * math.log(127.5)) / (48 * math.log(2))
    assert torch.allclose(flow.bits_per_dim(v), expected)


@pytest.mark.parametrize("between", ["channels", "tokens"])
def test_a_coupling_is_what_the_paper_says(between):
    flow = perturb(Jet((1, 8, 8), width=8, heads=2, couplings=5, seed=3).double().eval())
    layer = couplings(flow)[4 if between == "tokens" else 1]
    x = torch.randn(3, 4, 4, 4, dtype=torch.float64)
    z, log_det = layer(x)
    kept = (z == x).all(0)
    assert kept.sum() == 32, "half of the numbers stay as they are"
    if between == "channels":
        x1, x2 = x[:, kept[:, 0, 0]], x[:, ~kept[:, 0, 0]]
    else:
        assert kept[0].equal(kept[3]), "whole tokens stay as they are"
        x1, x2 = x * kept, x
    b, r = layer.conditioner(x1).chunk(2, dim=1)
    scale = 2 * torch.sigmoid(r)
    y2, log_scale = (x2 + b) * scale, scale.log()
    if between == "channels":
        assert torch.allclose(z[:, ~kept[:, 0, 0]], y2)
    else:
        assert torch.allclose(z, torch.where(kept, x, y2))
        log_scale = log_scale * ~kept
    assert torch.allclose(log_det, log_scale.sum((1, 2, 3)))


def test_the_scale_lies_between_0_and_2_and_the_inverse_pays_for_it():
    law, x = SigmoidScale().double(), torch.ones(1, 2001, dtype=torch.float64)
    r = torch.linspace(-40, 40, 2001, dtype=torch.float64)[None]
    parameters = torch.cat((torch.zeros_like(r), r), dim=1)
    z, log_slope = law(x, parameters)
    assert (log_slope < math.log(2) + 1e-15).all()
    assert (z > 0).all()
    assert torch.allclose(log_slope.exp(), z, rtol=1e-12)
    amplified = law.inverse(z + 1e-9 * z.abs(), parameters)[0] - x
    slope = (law.inverse(z + 1, parameters)[0] - x).log()
    assert torch.allclose(slope, ((1 + (-r).exp()) / 2).log(), atol=1e-6)
    assert amplified.abs().max() < 2e-9


def test_four_couplings_between_channels_then_one_between_tokens():
    flow = Jet((1, 8, 8), width=4, heads=1, couplings=32)
    kinds = [type(layer.split) for layer in couplings(flow)]
    for index, kind in enumerate(kinds):
        wanted = (MaskSplit,) if index % 5 == 4 else (IndexSplit, SliceSplit)
        assert kind in wanted
    masks = [layer.split.mask[0] for layer in couplings(flow) if type(layer.split) is MaskSplit]
    assert len({tuple(mask.flatten().tolist()) for mask in masks}) == 6
    for one, other in zip(masks[0::2], masks[1::2], strict=True):
        assert torch.equal(one, ~other)
    assert torch.equal(masks[0], (torch.arange(4)[:, None] + torch.arange(4)) % 2 == 0)
    assert all(mask.sum() == 8 for mask in masks)


def test_channels_are_drawn_from_the_seed_and_the_halves_exchanged():
    def kept(index, seed):
        layer = perturb(couplings(Jet((1, 8, 8), width=4, couplings=3, seed=seed))[index], 1)
        x = torch.randn(2, *layer.shape)
        return (layer(x)[0] == x).all(0)

    assert torch.equal(kept(0, 1), kept(0, 1))
    assert torch.equal(kept(0, 1), ~kept(1, 1))
    drawn = {tuple(kept(0, seed)[:, 0, 0].tolist()) for seed in range(8)}
    assert len(drawn) > 2, "of the six halves of four channels"


@pytest.mark.parametrize(
    ("shape", "patch"),
    [
        ((1, 28, 28), 4),
        ((3, 32, 32), 4),
        ((3, 64, 64), 4),
        ((1, 8, 8), 2),
        ((1, 12, 12), 3),
        ((1, 9, 27), 3),
        ((1, 4, 4), 2),
    ],
)
def test_patches_by_the_size_of_the_image(shape, patch):
    flow = Jet(shape, couplings=1, width=4, heads=1)
    grid = (shape[0] * patch**2, shape[1] // patch, shape[2] // patch)
    assert couplings(flow)[0].shape == grid


@pytest.mark.parametrize(("name", "millions"), [("jet-cifar10", 52), ("jet-imagenet64", 207)])
def test_presets_have_the_sizes_of_their_sources(name, millions):
    sizes = PRESETS[name].settings
    w, tokens = sizes["width"], (sizes["shape"][1] // 4) ** 2
    # What tests/nets/test_vit.py counts, for 48 numbers a token; most couplings see half of them.
    conditioner = sizes["blocks"] * (12 * w**2 + 13 * w) + (24 + 1 + tokens + 2 + 48) * w + 48
    assert round(sizes["couplings"] * conditioner / 1e6) == millions


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((6,), {}, r"Jet cuts images \(C, H, W\) into patches; got \(6,\)"),
        ((1, 7, 7), {}, "7x7 images do not allow: pad or resize them .* such as 8x8"),
        ((1, 28, 28), {"patch": 3}, "28x28 images into patches of 3x3"),
        ((1, 8, 8), {"heads": 5}, "cannot have 5 heads"),
        ((1, 1, 1), {"patch": 1}, "something to condition on"),
        ((1, 8, 8), {"depth": 3}, "no setting 'depth'"),
    ],
)
def test_what_cannot_be_built_is_refused(shape, options, message):
    with pytest.raises(InputError, match=message):
        Jet(shape, **options)
