"""Walk through a flow layer by layer, down to the layers that hold no others."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...errors import InputError
from ...layers import (
    Chain,
    Dequantize,
    DequantizeColumns,
    Inverted,
    Layer,
    Logit,
    Multiscale,
    OnColumns,
    Standardize,
)

__all__ = ["FRONT", "Leaf", "leaves", "round_trip", "spread", "worst_error"]

FRONT = (Dequantize, DequantizeColumns, Logit, OnColumns, Standardize)
"""The layers in front of a flow: they only change units, so that their stretch is no defect."""


@dataclass
class Leaf:
    """A layer, what it was given and what it made of it.

    ``path`` counts within the lists that hold it: ``27.3`` is the fourth layer of the list inside
    layer 27.
    """

    path: str
    layer: Layer
    x: Tensor
    context: Tensor | None
    z: Tensor
    log_det: Tensor

    @property
    def name(self) -> str:
        """Its place and class, as in ``layer 7 Coupling``."""
        return f"layer {self.path} {kind(self.layer)}"


def kind(layer: Layer) -> str:
    """The class of a layer; of a layer turned round, the class inside too."""
    inside = f"({kind(layer.layer)})" if isinstance(layer, Inverted) else ""
    return type(layer).__name__ + inside


def leaves(
    layer: Layer, x: Tensor, context: Tensor | None, path: str = "", start: int = 0
) -> Generator[Leaf, None, Tensor]:
    """Yield each innermost layer as the batch passes through it; return the latents.

    ``start`` leaves out the first layers of the list: ``x`` is then what they make.

    Lists, factor-outs and wrappers are entered if going through their parts gives just what they
    give; any other layer, and one that does something of its own besides, is a leaf.
    """
    dot = f"{path}." if path else ""
    if type(layer) is Multiscale:
        kept = yield from leaves(layer.inner, x[:, : layer.keep], context, path)
        return torch.cat((kept, x[:, layer.keep :]), dim=1)
    parts, wrapped = _parts(layer)
    if type(layer) is Chain or (parts and _does_as(layer, Chain(parts), x, context)):
        for index, part in enumerate(parts[start:], start):
            x = yield from leaves(part, x, context, path if wrapped else f"{dot}{index}")
        return x
    z, log_det = layer(x, context)
    yield Leaf(path, layer, x, context, z, log_det)
    return z


def _parts(layer: Layer) -> tuple[list[Layer], bool]:
    """The layers in the list that a layer holds; or the one layer around which it is wrapped."""
    held = list(layer.children())
    if len(held) == 1 and isinstance(held[0], nn.ModuleList):
        return [part for part in held[0] if isinstance(part, Layer)], False
    inside = [part for part in held if isinstance(part, Layer)]
    return (inside, True) if len(inside) == 1 else ([], True)


def _does_as(layer: Layer, parts: Layer, x: Tensor, context: Tensor | None) -> bool:
    """Whether a layer gives the same as its parts, and its inverse the same as theirs."""
    try:
        (z, log_det), (other, other_log_det) = layer(x, context), parts(x, context)
        if not (_same(z, other) and _same(log_det, other_log_det)):
            return False
        (x, log_det), (other, other_log_det) = layer.inverse(z, context), parts.inverse(z, context)
    except (RuntimeError, InputError):  # which NotImplementedError is one of
        return False
    return _same(x, other) and _same(log_det, other_log_det)


def _same(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    rtol = 100 * torch.finfo(one.dtype).eps if one.is_floating_point() else 0.0
    return torch.allclose(one, other, rtol=rtol, atol=rtol)


# Errors, in units of the numbers' own spread -----------------------------------------------------


def spread(x: Tensor) -> Tensor:
    """The standard deviation of each feature or channel of a batch, to broadcast against it.

    A channel that is constant, or seen once, is measured by 1 + |its mean| instead. float64.
    """
    over = (0, *range(2, x.ndim))
    values = x.double()
    mean = values.mean(over, keepdim=True)
    deviation = values.std(over, correction=0, keepdim=True)
    return torch.where(deviation > 1e-9 * (1 + mean.abs()), deviation, 1 + mean.abs())


def worst_error(x: Tensor, back: Tensor, unit: Tensor) -> float:
    """The largest difference of two batches in units of ``unit``; infinite where not a number."""
    error = ((back.double() - x.double()).abs() / unit).amax()
    return float(torch.where(torch.isnan(error), torch.inf, error)) if len(x) else 0.0


def round_trip(leaf: Leaf) -> tuple[float, float] | None:
    """A layer there and back: the error of its input, and the log-dets' sum in nats.

    None if it has no inverse.
    """
    try:
        back, log_det = leaf.layer.inverse(leaf.z, leaf.context)
    except (NotImplementedError, InputError):
        return None
    left = (leaf.log_det + log_det).abs().amax()
    left = torch.where(torch.isnan(left), torch.inf, left)
    return worst_error(leaf.x, back, spread(leaf.x)), float(left)
