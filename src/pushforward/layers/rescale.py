"""A fixed affine map of every number alike, such as from (0, 1) to (-1, 1)."""

from __future__ import annotations

import math

from torch import Tensor

from ..errors import InputError
from .layer import Layer, constant_log_det

__all__ = ["Rescale"]


class Rescale(Layer):
    r"""Multiply by a fixed number and add another: :math:`z = a x + b`.

    .. math:: \log|\det| = D \log|a|

    Shapes: x, z ``(N, *shape)``; log_det ``(N,)`` in nats.

    Args:
        scale: a, not 0.
        shift: b.
    """

    def __init__(self, scale: float, shift: float = 0.0) -> None:
        super().__init__()
        if not (math.isfinite(scale) and math.isfinite(shift) and scale):
            raise InputError(
                f"Rescale needs a finite scale other than 0 and a finite shift; got {scale}, "
                f"{shift}."
            )
        self.scale, self.shift = float(scale), float(shift)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Scale, then shift."""
        return x * self.scale + self.shift, self._log_det(x)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Unshift, then unscale."""
        return (z - self.shift) / self.scale, -self._log_det(z)

    def _log_det(self, x: Tensor) -> Tensor:
        return constant_log_det(x, math.prod(x.shape[1:]) * math.log(abs(self.scale)))

    def extra_repr(self) -> str:
        """Show both numbers."""
        return f"scale={self.scale:.4g}, shift={self.shift:.4g}"
