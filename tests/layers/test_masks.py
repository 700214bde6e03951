"""Masks by their tables, and how events are split by them."""

from __future__ import annotations

from functools import partial

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from pushforward import InputError
from pushforward.layers import (
    Coupling,
    alternating_mask,
    channel_mask,
    checkerboard_mask,
    half_mask,
)
from pushforward.layers.masks import IndexSplit, MaskSplit, SliceSplit, as_mask, split_by
from pushforward.nets import MLP, Constant


def test_checkerboard_keeps_even_row_plus_column_in_every_channel():
    expected = torch.tensor([[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0]]).bool()
    assert torch.equal(checkerboard_mask((2, 3, 4)), expected.expand(2, 3, 4))


def test_half_keeps_the_smaller_half_of_the_first_dimension():
    assert half_mask((5,)).tolist() == [True, True, False, False, False]
    assert half_mask((4,)).tolist() == [True, True, False, False]
    assert half_mask((1,)).tolist() == [False]
    assert half_mask((3, 1, 2))[:, 0, 0].tolist() == [True, False, False]


def test_alternating_keeps_even_positions():
    assert alternating_mask((5,)).tolist() == [True, False, True, False, True]
    assert alternating_mask((3, 1, 1)).flatten().tolist() == [True, False, True]


def test_channels_keeps_the_first_half_of_the_channels_of_images_only():
    assert channel_mask((4, 1, 1)).flatten().tolist() == [True, True, False, False]
    with pytest.raises(InputError, match=r"image shape .*'half' or 'alternating'"):
        channel_mask((4,))
    with pytest.raises(InputError, match=r"image shape .*'half' or 'alternating'"):
        checkerboard_mask((4,))


def test_flip_exchanges_the_parts():
    for name in ("half", "alternating", "checkerboard", "channels"):
        kept = as_mask(name, (4, 3, 3))
        assert torch.equal(as_mask(name, (4, 3, 3), flip=True), ~kept)


def test_unfit_masks_are_refused():
    with pytest.raises(InputError, match="no mask named 'chess'; choose from half"):
        as_mask("chess", (4,))
    with pytest.raises(InputError, match=r"Boolean .*float32"):
        as_mask(torch.ones(4), (4,))
    with pytest.raises(InputError, match=r"shape \(4,\) got shape \(5,\)"):
        as_mask(torch.ones(5, dtype=torch.bool), (4,))
    with pytest.raises(InputError, match="would change nothing"):
        Coupling((4,), torch.ones(4, dtype=torch.bool), MLP)
    with pytest.raises(InputError, match="would change nothing"):
        Coupling((1,), "half", MLP, flip=True)


def test_a_coupling_fits_its_own_shape_only():
    coupling = Coupling((4,), "half", partial(MLP, hidden=(3,)))
    with pytest.raises(InputError, match=r"built for events of shape \(4,\); got \(5,\)"):
        coupling.output_shape((5,))
    assert "shape=(4,)" in repr(coupling)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(
    ("name", "shape"),
    [("half", (5,)), ("half", (4, 2, 3)), ("channels", (3, 2, 2)), ("alternating", (4,))]
    + [("alternating", (n,)) for n in (1, 2, 3, 5)],
)
def test_named_masks_along_the_first_dimension_are_views(name, shape, flip):
    mask = as_mask(name, shape, flip)
    split = split_by(mask)
    assert type(split) is SliceSplit
    x = torch.randn(3, *shape)
    kept, changed = split(x)
    assert kept.shape[1:] == split.kept_shape
    assert changed.shape[1:] == split.changed_shape
    for part in (kept, changed):
        assert (
            part.numel() == 0 or part.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
        )
    assert torch.equal(split.join(kept, changed), x)


def test_masks_that_no_slice_expresses_take_indices_or_the_whole_image():
    assert type(split_by(torch.tensor([True, False, False, True]))) is IndexSplit
    assert type(split_by(checkerboard_mask((1, 3, 3)))) is MaskSplit
    # a checkerboard of a single row of pixels does vary within its channel, that of a pixel not
    assert type(split_by(checkerboard_mask((2, 1, 2)))) is MaskSplit
    assert type(split_by(checkerboard_mask((2, 1, 1)))) is SliceSplit


def test_a_coupling_that_sees_nothing_has_learned_numbers_for_a_conditioner():
    coupling = Coupling((1,), "half", MLP)
    assert isinstance(coupling.conditioner, Constant)
    assert coupling.conditioner.value.shape == (2,)
    assert isinstance(Coupling((1,), "half", MLP, context=2).conditioner, MLP)


@settings(max_examples=80)
@given(st.lists(st.booleans(), min_size=1, max_size=7), st.sampled_from([(), (2, 1), (1, 3)]))
def test_every_split_takes_apart_and_puts_together(flags, rest):
    mask = torch.tensor(flags).reshape(-1, *(1 for _ in rest)).expand(len(flags), *rest).clone()
    split = split_by(mask)
    x = torch.randn(2, *mask.shape)
    kept, changed = split(x)
    assert torch.equal(kept, x[:, torch.tensor(flags)])
    assert torch.equal(changed, x[:, ~torch.tensor(flags)])
    assert torch.equal(split.join(kept, changed), x)
    assert torch.allclose(split.total(changed), x.masked_fill(mask, 0).flatten(1).sum(1), atol=1e-5)


@settings(max_examples=40)
@given(st.data())
def test_a_mask_within_channels_hides_what_changes(data):
    shape = (2, 3, 2)
    flags = data.draw(st.lists(st.booleans(), min_size=12, max_size=12))
    mask = torch.tensor(flags).reshape(shape)
    split = split_by(mask)
    x = torch.randn(2, *shape)
    kept, changed = split(x)
    if isinstance(split, MaskSplit):
        assert torch.equal(kept, x * mask)
        x_other = torch.where(mask, x, torch.randn_like(x))
        assert torch.equal(split(x_other)[0], kept), "no changed element shows in the kept part"
    doubled = split.join(kept, 2 * changed)
    assert torch.equal(doubled, torch.where(mask, x, 2 * x))
    assert torch.allclose(split.total(changed), (x * ~mask).flatten(1).sum(1), atol=1e-5)
