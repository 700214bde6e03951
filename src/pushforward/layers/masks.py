"""Which part of an event a coupling keeps, and how the two parts are taken and put back.

A mask is a Boolean tensor of the event's shape: True is kept (the conditioner sees it), False is
changed. Source: Dinh et al. 2017 (Real NVP), section 3.4 and figure 3.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..errors import InputError
from .layer import Shape, sum_event

__all__ = [
    "MASKS",
    "Split",
    "alternating_mask",
    "as_mask",
    "channel_mask",
    "checkerboard_mask",
    "half_mask",
    "split_by",
]


def half_mask(shape: Shape) -> Tensor:
    """Keep the first half along the first dimension (the smaller half where it is odd)."""
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[: shape[0] // 2] = True
    return mask


def alternating_mask(shape: Shape) -> Tensor:
    """Keep the even positions 0, 2, 4, ... along the first dimension, as NICE does."""
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[0::2] = True
    return mask


def checkerboard_mask(shape: Shape) -> Tensor:
    """Keep the pixels at which row + column is even, in every channel; images only."""
    if len(shape) != 3:
        raise InputError(
            f"a checkerboard mask needs an image shape (C, H, W); got {shape}. "
            f"For rows use 'half' or 'alternating'."
        )
    _, height, width = shape
    even = (torch.arange(height)[:, None] + torch.arange(width)[None, :]) % 2 == 0
    return even.expand(shape).clone()


def channel_mask(shape: Shape) -> Tensor:
    """Keep the first half of the channels; images only."""
    if len(shape) != 3:
        raise InputError(
            f"a channel-wise mask needs an image shape (C, H, W); got {shape}. "
            f"For rows use 'half' or 'alternating'."
        )
    return half_mask(shape)


MASKS: dict[str, Callable[[Shape], Tensor]] = {
    "half": half_mask,
    "alternating": alternating_mask,
    "checkerboard": checkerboard_mask,
    "channels": channel_mask,
}


def as_mask(mask: Tensor | str, shape: Shape, flip: bool = False) -> Tensor:
    """A Boolean mask of ``shape`` from a name in ``MASKS`` or from the user's own tensor."""
    shape = tuple(shape)
    if isinstance(mask, str):
        if mask not in MASKS:
            raise InputError(f"there is no mask named {mask!r}; choose from {', '.join(MASKS)}.")
        mask = MASKS[mask](shape)
    mask = torch.as_tensor(mask)
    if mask.dtype != torch.bool:
        raise InputError(f"a mask must be Boolean (True = kept); got dtype {mask.dtype}.")
    if tuple(mask.shape) != shape:
        raise InputError(f"a mask for events of shape {shape} got shape {tuple(mask.shape)}.")
    return ~mask if flip else mask


class Split(nn.Module):
    """Take an event apart into a kept and a changed part, and put it together again.

    ``forward(x)`` gives ``(kept, changed)``; ``join(kept, changed)`` undoes it; ``total`` sums
    values of the changed part's shape over the elements that really change: ``(N, ...) -> (N,)``.
    """

    kept_shape: Shape
    changed_shape: Shape

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Take apart."""
        raise NotImplementedError

    def join(self, kept: Tensor, changed: Tensor) -> Tensor:
        """Put together."""
        raise NotImplementedError

    def total(self, values: Tensor) -> Tensor:
        """Sum over the changed elements: ``(N,)``."""
        return sum_event(values)


class SliceSplit(Split):
    """A mask along the first event dimension that slices can express: views, no arithmetic."""

    def __init__(self, shape: Shape, kept: slice, changed: slice, order: Tensor | None) -> None:
        super().__init__()
        self.kept, self.changed = kept, changed
        size = range(shape[0])
        self.kept_shape = (len(size[kept]), *shape[1:])
        self.changed_shape = (len(size[changed]), *shape[1:])
        self.kept_first = not self.kept_shape[0] or kept.start == 0
        # Interleaved slices are put back by an index; contiguous ones by their order alone.
        self.register_buffer("order", order, persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Two views of ``x``."""
        return x[:, self.kept], x[:, self.changed]

    def join(self, kept: Tensor, changed: Tensor) -> Tensor:
        """Concatenate in the original order."""
        if isinstance(self.order, Tensor):
            return torch.cat((kept, changed), dim=1).index_select(1, self.order)
        pair = (kept, changed) if self.kept_first else (changed, kept)
        return torch.cat(pair, dim=1)


class IndexSplit(Split):
    """Any mask along the first event dimension: two index selections."""

    kept: Tensor
    changed: Tensor
    order: Tensor

    def __init__(self, shape: Shape, kept: Tensor, changed: Tensor) -> None:
        super().__init__()
        self.kept_shape = (len(kept), *shape[1:])
        self.changed_shape = (len(changed), *shape[1:])
        self.register_buffer("kept", kept, persistent=False)
        self.register_buffer("changed", changed, persistent=False)
        self.register_buffer("order", torch.argsort(torch.cat((kept, changed))), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Gather both parts."""
        return x.index_select(1, self.kept), x.index_select(1, self.changed)

    def join(self, kept: Tensor, changed: Tensor) -> Tensor:
        """Concatenate and put back in order."""
        return torch.cat((kept, changed), dim=1).index_select(1, self.order)


class MaskSplit(Split):
    """A mask that varies within a channel: both parts keep the full shape.

    The kept part has zeros where elements change; of the changed part only those elements count.
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.kept_shape = self.changed_shape = tuple(mask.shape)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Zero what changes in the kept part; hand on all of ``x`` as the changed part."""
        return torch.where(self.mask, x, 0), x

    def join(self, kept: Tensor, changed: Tensor) -> Tensor:
        """Choose element by element."""
        return torch.where(self.mask, kept, changed)

    def total(self, values: Tensor) -> Tensor:
        """Sum where the mask is False."""
        return sum_event(torch.where(self.mask, 0, values))


def split_by(mask: Tensor) -> Split:
    """The cheapest ``Split`` that does what ``mask`` says: slices, indices or a masked image."""
    shape: Shape = tuple(mask.shape)
    per_channel = mask.flatten(1) if mask.ndim > 1 else mask[:, None]
    if not bool((per_channel == per_channel[:, :1]).all()):
        return MaskSplit(mask)
    flags = per_channel[:, 0] if per_channel.shape[1] else torch.zeros(shape[0], dtype=torch.bool)
    kept, changed = flags.nonzero().flatten(), (~flags).nonzero().flatten()
    kept_slice, changed_slice = _as_slice(kept), _as_slice(changed)
    if kept_slice is None or changed_slice is None:
        return IndexSplit(shape, kept, changed)
    interleaved = 2 in (kept_slice.step, changed_slice.step)
    order = torch.argsort(torch.cat((kept, changed))) if interleaved else None
    return SliceSplit(shape, kept_slice, changed_slice, order)


def _as_slice(positions: Tensor) -> slice | None:
    """The slice with step 1 or 2 that selects exactly these sorted positions, if there is one."""
    if len(positions) == 0:
        return slice(0, 0, 1)
    steps = positions.diff()
    step = int(steps[0]) if len(steps) else 1
    if step > 2 or bool((steps != step).any()):
        return None
    return slice(int(positions[0]), int(positions[-1]) + 1, step)
