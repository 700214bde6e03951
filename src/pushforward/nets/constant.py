"""The conditioner of a part that has nothing to be conditioned on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Constant"]


class Constant(nn.Module):
    """Learned numbers that depend on nothing, zeros at first.

    It stands in where a coupling keeps no element, as for rows of one number.

    Shapes: ``(N, *in_shape) -> (N, *out_shape)``.
    """

    def __init__(
        self, in_shape: tuple[int, ...], out_shape: tuple[int, ...], context: int = 0
    ) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(out_shape))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The same numbers for each of the N events."""
        return self.value.expand(x.shape[0], *self.value.shape)
