"""Noise hashed from content, and the way from integers to reals and back."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch

from pushforward import InputError
from pushforward.layers import Dequantize
from pushforward.layers.noise import content_noise

MASK = (1 << 64) - 1


def splitmix(z):
    """The finaliser of splitmix64, in integers that do not overflow."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def noise_by_hand(event, seed, bits):
    golden = 0x9E3779B97F4A7C15
    positions = [splitmix((i ^ seed) * golden & MASK) for i in range(1, len(event) + 1)]
    total = sum(v * (p | 1) for v, p in zip(event, positions, strict=True)) & MASK
    key = splitmix(total ^ splitmix(seed * golden + 1 & MASK))
    return [((splitmix(key + p & MASK) >> (64 - bits)) + 0.5) / 2**bits for p in positions]


def noise(x, seed=0, bits=20, dtype=torch.float64):
    return content_noise(torch.as_tensor(x), torch.tensor(seed), bits, dtype)


def images(n, shape=(1, 6, 6), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (n, *shape), generator=generator)


# Noise -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 7 << 32])
@pytest.mark.parametrize("bits", [6, 20, 44])
def test_noise_is_what_exact_integers_give(seed, bits):
    x = images(5, (7,))
    expected = [noise_by_hand(event, seed, bits) for event in x.tolist()]
    assert torch.equal(noise(x, seed, bits), torch.tensor(expected, dtype=torch.float64))


def test_noise_stays_what_it_was_in_the_first_release():
    found = noise([[0, 0, 0], [1, 2, 255]], bits=20, dtype=torch.float32)
    assert found.tolist() == [
        [0.8215994834899902, 0.06797170639038086, 0.9177241325378418],
        [0.22571802139282227, 0.3903813362121582, 0.8166289329528809],
    ]


def test_noise_is_uniform():
    u = noise(images(500)).flatten().numpy()
    assert scipy.stats.kstest(u, "uniform").pvalue > 1e-3
    assert scipy.stats.kstest(noise(torch.zeros(1, 20_000)).flatten(), "uniform").pvalue > 1e-3
    # over seeds, for one pixel of one image
    one = torch.stack([noise(torch.zeros(1, 1), seed) for seed in range(2000)])
    assert scipy.stats.kstest(one.flatten(), "uniform").pvalue > 1e-3


def independent(a, b):
    """Chi-square over an 8 x 8 table, which sees more than a correlation."""
    table, _, _ = np.histogram2d(a.flatten(), b.flatten(), bins=8, range=[[0, 1], [0, 1]])
    return scipy.stats.chi2_contingency(table).pvalue > 1e-3


def test_noise_of_seeds_positions_and_neighbours_is_independent():
    x = images(600)
    u = noise(x)
    assert independent(u, noise(x, seed=1)), "seeds"
    assert independent(noise(x, seed=1), noise(x, seed=2)), "seeds in a row"
    assert independent(u[..., :-1], u[..., 1:]), "pixels side by side"
    assert independent(u[:, :, :-1], u[:, :, 1:]), "pixels one above the other"
    for change in (1, 128):
        near = x.clone()
        near[:, 0, 2, 3] ^= change  # one bit of one pixel
        assert independent(u, noise(near)), "images that differ in one bit"
    swapped = x.flip(3)
    assert independent(u, noise(swapped)), "an image and its mirror image"
    blank = torch.arange(256)[:, None].expand(256, 36)  # all pixels alike
    v = noise(blank)
    assert independent(v[:-1], v[1:]), "grey next to grey"


def test_noise_depends_on_the_event_alone():
    x = images(20)
    u = noise(x)
    order = torch.randperm(20)
    assert torch.equal(noise(x[order]), u[order])
    assert torch.equal(torch.cat([noise(x[i : i + 1]) for i in range(20)]), u)
    assert torch.equal(noise(x.to(torch.uint8)), u)
    assert torch.equal(noise(x), u)
    layer = Dequantize(256).eval()
    assert torch.equal(layer(x.float())[0], layer(x)[0])


def test_noise_is_strictly_inside_the_unit_interval_and_as_fine_as_asked():
    for bits, dtype in ((6, torch.float32), (21, torch.float32), (44, torch.float64)):
        u = noise(images(300), bits=bits, dtype=dtype)
        assert u.dtype == dtype
        assert u.min() > 0
        assert u.max() < 1
        steps = u.double() * 2**bits - 0.5
        assert torch.equal(steps, steps.round())
        assert len(u.unique()) > (60 if bits == 6 else 0.99 * u.numel())


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 16, 72, 3072])
def test_compiled_noise_is_the_same_noise(size):
    torch._dynamo.reset()  # a kernel for each size, not one for all
    x, seed = images(4, (size,)), torch.tensor(3)
    compiled = torch.compile(lambda v, s: content_noise(v, s, 13, torch.float32), fullgraph=True)
    assert torch.equal(compiled(x, seed), content_noise(x, seed, 13, torch.float32))


# Dequantize ------------------------------------------------------------------------------------

all_levels = pytest.mark.parametrize("levels", [2, 17, 256, 65536])


@all_levels
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_every_level_comes_back(levels, dtype):
    layer = Dequantize(levels).to(dtype)
    values = torch.arange(levels).repeat(max(1, 2000 // levels))[:, None]
    values = torch.cat((values, values.flip(0)), dim=1)
    x, log_det = layer.eval()(values)
    assert x.dtype == dtype
    assert (x > values / levels).all()
    assert (x < (values + 1) / levels).all()
    assert torch.allclose(log_det, torch.tensor(-2 * math.log(levels), dtype=dtype))
    back, log_det_back = layer.inverse(x)
    assert torch.equal(back.long(), values)
    assert torch.equal(log_det_back, -log_det)


@all_levels
def test_noise_fills_each_cell_evenly(levels):
    layer = Dequantize(levels).eval()
    values = torch.randint(levels, (300, 10))
    x, _ = layer(values)
    u = (x.double() * levels - values).flatten()
    # 65536 levels leave float32 only 64 steps in a cell
    tolerance = 0.02 if levels == 65536 else 0.0
    result = scipy.stats.kstest(u.numpy(), "uniform")
    assert result.pvalue > 1e-3 or result.statistic < tolerance


@all_levels
def test_reals_outside_their_range_become_the_nearest_level(levels):
    layer = Dequantize(levels)
    v, _ = layer.inverse(torch.tensor([[-0.5, 0.0, 0.999999, 1.0, 7.0]], dtype=torch.float64))
    assert v.tolist() == [[0, 0, int(0.999999 * levels), levels - 1, levels - 1]]
    assert v.dtype == (torch.uint8 if levels <= 256 else torch.int32)


def test_training_draws_anew_and_evaluation_does_not():
    layer, x = Dequantize(), images(4)
    layer.eval()
    first = layer(x)[0]
    assert torch.equal(layer(x)[0], first)
    layer.train()
    draws = [layer(x)[0] for _ in range(3)]
    for one, other in ((draws[0], draws[1]), (draws[1], draws[2]), (draws[0], first)):
        assert not torch.equal(one, other)
    u = [(256 * d - x).numpy() for d in draws]
    assert abs(np.corrcoef(u[0].flatten(), u[1].flatten())[0, 1]) < 4 / 12


def test_fewer_than_two_levels_are_refused():
    with pytest.raises(InputError, match="at least 2 levels; got 1"):
        Dequantize(1)
    assert "levels=17" in repr(Dequantize(17))
    assert not Dequantize().exact
