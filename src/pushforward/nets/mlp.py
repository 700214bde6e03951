"""The fully connected conditioner."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .activations import activation as make_activation

__all__ = ["MLP"]


class MLP(nn.Module):
    r"""Linear layers with activations between; the last one starts at zero.

    With ``residual=True`` every hidden layer after the first is a step :math:`h + W\phi(h)`, for
    which the hidden widths must agree. The context is concatenated to the input.

    Shapes: ``(N, *in_shape)`` and context ``(N, context)`` -> ``(N, *out_shape)``. Events of any
    rank are flattened.

    Args:
        in_shape: shape of the part that is seen.
        out_shape: shape of the parameters that are wanted.
        context: size of the context.
        hidden: widths of the hidden layers.
        activation: a name in ``ACTIVATIONS``.
        residual: residual steps instead of plain layers.
        dropout: probability, after each activation.
    """

    def __init__(
        self,
        in_shape: tuple[int, ...],
        out_shape: tuple[int, ...],
        context: int = 0,
        *,
        hidden: Sequence[int] = (128, 128),
        activation: str = "relu",
        residual: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        hidden = tuple(hidden)
        if residual and len(set(hidden)) > 1:
            raise ValueError(f"a residual MLP needs hidden layers of one width; got {hidden}.")
        self.out_shape = tuple(out_shape)
        self.context = context
        self.residual = residual
        widths = (math.prod(in_shape) + context, *hidden)
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        self.last = nn.Linear(widths[-1], math.prod(out_shape))
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.activation = make_activation(activation)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Compute the parameters."""
        h = x.flatten(1)
        if self.context and context is not None:
            h = torch.cat((h, context), dim=1)
        for index, linear in enumerate(self.hidden):
            if self.residual and index:
                h = h + linear(self.dropout(self.activation(h)))
            elif self.residual:
                h = linear(h)
            else:
                h = self.dropout(self.activation(linear(h)))
        if self.residual:
            h = self.activation(h)
        return self.last(h).reshape(x.shape[0], *self.out_shape)
