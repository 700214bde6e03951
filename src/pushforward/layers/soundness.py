"""Where in a chain the numbers stop being finite."""

from __future__ import annotations

import torch
from torch import Tensor

from .layer import Chain
from .multiscale import Multiscale

__all__ = ["first_unsound"]


def first_unsound(
    chain: Chain, x: Tensor, context: Tensor | None = None, prefix: str = "layer "
) -> str | None:
    """The first layer whose output or log-det is not finite, such as ``layer 3 (Coupling)``.

    Chains within a ``Multiscale`` are looked into: ``layer 27.5 (LULinear)``. None if all are.
    """
    for index, layer in enumerate(chain):
        z, log_det = layer(x, context)
        if not (torch.isfinite(z).all() and torch.isfinite(log_det).all()):
            inside = None
            if isinstance(layer, Multiscale) and isinstance(layer.inner, Chain):
                part = x[:, : layer.keep]
                inside = first_unsound(layer.inner, part, context, f"{prefix}{index}.")
            return inside or f"{prefix}{index} ({type(layer).__name__})"
        x = z
    return None
