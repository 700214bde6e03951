"""Columns between two bounds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ..errors import InputError
from .columnwise import Columnwise

__all__ = ["Bounded"]


class Bounded(Columnwise):
    r"""Columns within [low, high] to the real line, the bounds themselves included.

    .. math:: p = \alpha + (1 - 2\alpha)\frac{x - l}{h - l}, \qquad z = \log\frac{p}{1 - p},
              \qquad \log\frac{\partial z}{\partial x} = \log\frac{1 - 2\alpha}{h - l}
              + \mathrm{softplus}(z) + \mathrm{softplus}(-z)

    ``inverse`` gives values within the bounds: what lies beyond the image of a bound is clipped.

    Shapes: x, z ``(N, D)``; log_det ``(N,)`` in nats.

    Args:
        low, high: the bounds of each column.
        alpha: keeps the images of the bounds finite; 1e-3 puts them at -6.9 and 6.9.
    """

    low: Tensor
    high: Tensor

    def __init__(self, low: Sequence[float], high: Sequence[float], alpha: float = 1e-3) -> None:
        super().__init__(len(low))
        if len(high) != len(low) or not all(a < b for a, b in zip(low, high, strict=True)):
            raise InputError(f"Bounded needs low < high in each column; got {low} and {high}.")
        if not 0 < alpha < 0.5:
            raise InputError(f"Bounded needs 0 < alpha < 0.5; got {alpha}.")
        self.alpha = alpha
        self.register_buffer("low", torch.tensor(low, dtype=torch.float64), persistent=False)
        self.register_buffer("high", torch.tensor(high, dtype=torch.float64), persistent=False)

    def bend(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Squash, then logit."""
        width = (self.high - self.low) / (1 - 2 * self.alpha)
        p = self.alpha + (x - self.low) / width
        q = self.alpha + (self.high - x) / width  # 1 - p, with its digits
        z = torch.log(p) - torch.log(q)
        return z, self._log_slope(z)

    def unbend(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Sigmoid, then unsquash; from the nearer bound, for its digits."""
        width = (self.high - self.low) / (1 - 2 * self.alpha)
        from_low = self.low + (torch.sigmoid(z) - self.alpha) * width
        from_high = self.high - (torch.sigmoid(-z) - self.alpha) * width
        x = torch.where(z < 0, from_low, from_high)
        return torch.clamp(x, self.low, self.high), self._log_slope(z)

    def _log_slope(self, z: Tensor) -> Tensor:
        width = (self.high - self.low) / (1 - 2 * self.alpha)
        return softplus(z) + softplus(-z) - torch.log(width)

    def check_columns(self, x: Tensor, name: str, places: Sequence[int]) -> None:
        """Look for values out of bounds.

        Raises:
            InputError: there is one; names the column, the value, and the way out.
        """
        slack = 1e-6 * (self.high - self.low)  # what rounding to float32 may add
        wrong = (x.double() < self.low - slack) | (x.double() > self.high + slack)
        if not bool(wrong.any()):
            return
        row, at = (int(i) for i in wrong.nonzero()[0])
        raise InputError(
            f"{name}: column {places[at]} (counted from 0) lies between {float(self.low[at]):g} "
            f"and {float(self.high[at]):g}; got {float(x[row, at]):g} in row {row}. Leave such "
            f"rows out, or build the model with wider bounds in columns=."
        )
