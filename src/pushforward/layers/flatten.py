"""Images as rows."""

from __future__ import annotations

import math

from torch import Tensor

from .layer import Layer, Shape, constant_log_det, same_shape

__all__ = ["Flatten"]


class Flatten(Layer):
    """Write the numbers of an event in a row, the last dimension fastest; log_det 0.

    Shapes: ``(N, *shape) -> (N, D)`` with D their number.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``(N, *shape) -> (N, D)``."""
        return x.reshape(x.shape[0], math.prod(self.shape)), constant_log_det(x, 0.0)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``(N, D) -> (N, *shape)``."""
        return z.reshape(z.shape[0], *self.shape), constant_log_det(z, 0.0)

    def output_shape(self, shape: Shape) -> Shape:
        """``shape -> (D,)``."""
        same_shape(self, self.shape, shape)
        return (math.prod(shape),)

    def extra_repr(self) -> str:
        """Show the event shape."""
        return f"shape={self.shape}"
