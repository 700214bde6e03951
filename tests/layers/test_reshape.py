"""Squeezes and factor-out against explicit slices."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from pushforward import InputError
from pushforward.layers import (
    Chain,
    Inverted,
    Multiscale,
    OrderedSqueeze,
    Permutation,
    Squeeze,
    Standardize,
)


def image(n=2, c=3, h=4, w=6):
    return torch.arange(n * c * h * w, dtype=torch.float32).reshape(n, c, h, w)


def test_squeeze_is_pixel_unshuffle():
    x = image()
    z, _ = Squeeze()(x)
    assert torch.equal(z, pixel_unshuffle(x, 2))
    assert torch.equal(Squeeze().inverse(z)[0], pixel_shuffle(z, 2))
    for dy in (0, 1):
        for dx in (0, 1):
            assert torch.equal(z[:, 2 * dy + dx :: 4], x[:, :, dy::2, dx::2])


def test_ordered_squeeze_goes_position_by_position_even_parity_first():
    x = image()
    z, _ = OrderedSqueeze()(x)
    slices = [x[:, :, dy::2, dx::2] for dy, dx in [(0, 0), (1, 1), (0, 1), (1, 0)]]
    assert torch.equal(z, torch.cat(slices, 1))
    assert torch.equal(OrderedSqueeze().inverse(z)[0], x)


def test_the_halves_of_an_ordered_squeeze_are_the_colours_of_a_checkerboard():
    rows, columns = torch.meshgrid(torch.arange(4), torch.arange(6), indexing="ij")
    parity = ((rows + columns) % 2).float().expand(1, 3, 4, 6)
    z, _ = OrderedSqueeze()(parity)
    assert torch.equal(z[:, :6], torch.zeros(1, 6, 2, 3))
    assert torch.equal(z[:, 6:], torch.ones(1, 6, 2, 3))


@pytest.mark.parametrize("kind", [Squeeze, OrderedSqueeze])
@pytest.mark.parametrize("shape", [(1, 3, 4), (1, 4, 3), (4,)])
def test_odd_sides_and_rows_are_refused(kind, shape):
    with pytest.raises(InputError, match=rf"{kind.__name__} needs an image .* even .*got \("):
        kind().output_shape(shape)


def test_a_chain_says_which_of_its_layers_a_shape_stops_at():
    chain = Chain([Squeeze(), Squeeze(), Squeeze()])
    assert Chain(list(chain)[:2]).output_shape((1, 4, 4)) == (16, 1, 1)
    with pytest.raises(InputError, match=r"layer 2 \(Squeeze\)"):
        chain.output_shape((1, 4, 4))


def test_inverted_needs_the_shape_that_its_layer_takes():
    layer = Inverted(Squeeze(), (1, 4, 4))
    assert layer.output_shape((4, 2, 2)) == (1, 4, 4)
    with pytest.raises(InputError, match=r"Inverted\(Squeeze\)"):
        layer.output_shape((8, 2, 2))
    assert Inverted(Permutation([1, 0])).output_shape((2,)) == (2,)


def test_a_squeeze_takes_blocks_of_any_size():
    x = torch.arange(2 * 3 * 8 * 12.0).reshape(2, 3, 8, 12)
    assert torch.equal(Squeeze(4)(x)[0], pixel_unshuffle(x, 4))
    z, _ = Squeeze((1, 2))(x)
    assert torch.equal(z[:, 0::2], x[..., 0::2]), "even columns"
    assert torch.equal(z[:, 1::2], x[..., 1::2]), "odd columns"
    assert torch.equal(Squeeze((2, 3)).inverse(Squeeze((2, 3))(x)[0])[0], x)
    assert Squeeze((2, 3)).output_shape((3, 8, 12)) == (18, 4, 4)
    with pytest.raises(InputError, match="of whole blocks of shape 1x5; got"):
        Squeeze((1, 5)).output_shape((3, 8, 12))


def test_multiscale_leaves_what_it_factors_out_untouched():
    inner = Permutation([2, 0, 1])
    layer = Multiscale(inner, keep=3)
    x = image(c=5)
    z, log_det = layer(x)
    assert torch.equal(z[:, 3:], x[:, 3:])
    assert torch.equal(z[:, :3], x[:, [2, 0, 1]])
    assert torch.equal(log_det, torch.zeros(2))


def test_multiscale_initialises_its_inner_layer_on_what_that_will_see():
    layer = Multiscale(Standardize((2,)), keep=2)
    x = torch.randn(500, 4) * 3 + torch.tensor([1.0, 2, 3, 4])
    layer.initialise(x)
    z, _ = layer(x)
    assert z[:, :2].mean(0).abs().max() < 1e-5
    assert torch.equal(z[:, 2:], x[:, 2:])


def test_multiscale_that_factors_nothing_out_or_changes_its_shape_is_refused():
    with pytest.raises(InputError, match="leave nothing to factor out"):
        Multiscale(Permutation([0, 1]), keep=2).output_shape((2, 4, 4))
    with pytest.raises(InputError, match="must keep the shape"):
        Multiscale(Squeeze(), keep=1).output_shape((2, 4, 4))
    with pytest.raises(InputError, match="at least one channel"):
        Multiscale(Squeeze(), keep=0)
