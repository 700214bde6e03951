"""Walk through a flow layer by layer, down to the layers that hold no others."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import InputError
from ...layers import Chain, Dequantize, Inverted, Layer, Logit, Multiscale, Standardize

__all__ = ["FRONT", "Leaf", "leaves", "round_trip", "spread", "worst_error"]

FRONT = (Dequantize, Logit, Standardize)
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

    Lists and factor-outs are entered if going through their parts gives just what they give; any
    other layer, and one that does something of its own besides, is a leaf.
    """
    dot = f"{path}." if path else ""
    if type(layer) is Chain:
        for index in range(start, len(layer)):
            x = yield from leaves(layer[index], x, context, f"{dot}{index}")
        return x
    if type(layer) is Multiscale:
        inner = layer.inner if isinstance(layer.inner, Chain) else Chain([layer.inner])
        kept = yield from leaves(inner, x[:, : layer.keep], context, path)
        return torch.cat((kept, x[:, layer.keep :]), dim=1)
    z, log_det = layer(x, context)
    if isinstance(layer, Chain) and _is_its_parts(layer, x, context, z, log_det):
        for index, part in enumerate(layer):
            x = yield from leaves(part, x, context, f"{dot}{index}")
        return x
    yield Leaf(path, layer, x, context, z, log_det)
    return z


def _is_its_parts(
    layer: Chain, x: Tensor, context: Tensor | None, z: Tensor, log_det: Tensor
) -> bool:
    parts_z, parts_log_det = Chain.forward(layer, x, context)
    rtol = 100 * torch.finfo(z.dtype).eps
    return torch.allclose(z, parts_z, rtol=rtol) and torch.allclose(
        log_det, parts_log_det, rtol=rtol
    )


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


def round_trip(layer: Layer, x: Tensor, z: Tensor, context: Tensor | None) -> float | None:
    """How far a layer's inverse of ``z`` is from ``x``; None if it has no inverse."""
    try:
        back, _ = layer.inverse(z, context)
    except (NotImplementedError, InputError):
        return None
    return worst_error(x, back, spread(x))
