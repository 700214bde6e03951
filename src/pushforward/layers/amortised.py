"""Parameters that are learned, or made by a network from the context."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..nets import MLP

__all__ = ["Amortised"]


class Amortised(nn.Module):
    r"""The parameters of a layer, one row for all events or one row for each.

    .. math:: \theta(c) = \theta_0 + g(c)

    with a fully connected network g that starts at zero; without context there is no g.

    Shapes: events ``(N, D)`` and context ``(N, context)`` -> ``(N, count)``, or ``(1, count)``
    without context; of the events' type, float32 at least.

    Args:
        start: ``(count,)``, the first :math:`\theta_0`.
        context: how many numbers of context the network sees; 0 for no network.
        hidden: widths of its hidden layers.
    """

    def __init__(self, start: Tensor, context: int = 0, hidden: Sequence[int] = (64,)) -> None:
        super().__init__()
        self.values = nn.Parameter(start)
        self.net = MLP((context,), tuple(start.shape), hidden=hidden) if context else None

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The parameters for the events of ``x``."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        values = self.values.to(dtype)[None]
        if self.net is None:
            return values
        if context is None:
            raise InputError("this layer takes a context, one row per event, and got none.")
        return values + self.net(context).to(dtype)
