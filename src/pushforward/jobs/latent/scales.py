"""Which latent numbers left at which scale, and their order from coarse to fine."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...flow import Flow
from ...layers import (
    Chain,
    Flatten,
    Flip,
    Inverted,
    Layer,
    Multiscale,
    OrderedSqueeze,
    Permutation,
    Squeeze,
)
from ...layers.layer import Shape

__all__ = ["coarsest_first", "latent_scales"]

_SHAPES = (Squeeze, OrderedSqueeze, Flatten)
_ORDERS = (Permutation, Flip)
"""Layers that only move numbers; all others keep them in their places."""


def latent_scales(flow: Flow) -> Tensor:
    """The scale at which each latent number left, ``latent_shape``, integers.

    0 is the finest, which a flow without ``Multiscale`` has alone; the largest is the coarsest,
    whose numbers went through all of the layers.
    """
    size = math.prod(flow.latent_shape)
    scales = torch.zeros(size, dtype=torch.long)
    for depth, (places, _) in enumerate(_parts(flow)):
        scales[places] = depth
    return scales.reshape(flow.latent_shape)


def coarsest_first(flow: Flow) -> Tensor:
    """The places of all latent numbers in ``z.flatten(1)``, the coarsest first: ``(D,)``.

    The scale that left last comes first. Within one scale the order is that of further ordered
    squeezes, as in the authors' code: the half that such a squeeze would keep comes first, and of
    this half the one that the next would keep. So every share that is taken lies evenly spread.
    """
    ordered = [places[_spread(shape)] for places, shape in reversed(_parts(flow))]
    return torch.cat(ordered)


def _parts(flow: Flow) -> list[tuple[Tensor, Shape]]:
    """Of each scale, the finest first: the places of its latents, and the shape they left in."""
    size = math.prod(flow.latent_shape)
    ids = torch.arange(size, dtype=torch.float64).reshape(1, *flow.latent_shape)
    return _walk(flow.chain, ids)


def _walk(layer: Layer, ids: Tensor) -> list[tuple[Tensor, Shape]]:
    """Go from the latents back towards the data, up to where a part has left."""
    mixed = False  # a number beyond a coupling is no latent: its order is no longer of interest
    for step in reversed(list(layer) if isinstance(layer, Chain) else [layer]):
        if isinstance(step, Multiscale):
            left = ids[:, step.keep :]
            return [(_places(left), tuple(left.shape[1:])), *_walk(step.inner, ids[:, : step.keep])]
        moved = step.layer if isinstance(step, Inverted) else step
        if isinstance(moved, Chain):
            found = _walk(moved, ids)
            if len(found) > 1:
                return found
            mixed = True
        elif isinstance(moved, _SHAPES) or (isinstance(moved, _ORDERS) and not mixed):
            ids = step.inverse(ids)[0]
        else:
            mixed = mixed or not isinstance(moved, _ORDERS)
    return [(_places(ids), tuple(ids.shape[1:]))]


def _places(ids: Tensor) -> Tensor:
    return ids.flatten().long()


def _spread(shape: Shape) -> Tensor:
    """Places of an event in the order of repeated ordered squeezes, what they keep first."""
    ids = torch.arange(math.prod(shape), dtype=torch.float64).reshape(1, *shape)
    later: list[Tensor] = []
    while ids.ndim == 4 and ids.shape[2] % 2 == 0 and ids.shape[3] % 2 == 0:
        kept, left = OrderedSqueeze()(ids)[0].chunk(2, dim=1)
        later.append(_places(left))
        ids = kept
    return torch.cat([_places(ids), *reversed(later)])
