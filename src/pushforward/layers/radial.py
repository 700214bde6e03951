"""The radial layer: noise pushed away from one point or drawn towards it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .amortised import Amortised
from .layer import Layer, Shape, same_shape
from .tanh_root import above_minus_one

__all__ = ["Radial"]


class Radial(Layer):
    r"""Stretch or shrink around a point, less and less with distance.

    .. math:: z = x + \beta h\,(x - x_0), \qquad h = \frac{1}{\alpha + r}, \qquad
              r = \|x - x_0\|, \\
              \log|\det| = (D - 1) \log(1 + \beta h) + \log(1 + \alpha \beta h^2)

    with :math:`\beta = \alpha\, m(\cdot) > -\alpha`, strictly: :math:`-\alpha` plus a softplus,
    scaled so that 0 is the identity. :math:`\alpha` is the exponential of what is learned.

    The inverse needs no search: :math:`s = \|z - x_0\|` makes r the positive root of
    :math:`r^2 + (\alpha + \beta - s)\, r - \alpha s = 0`. Both directions cost the same.

    Shapes: x, z ``(N, D)``; log_det ``(N,)`` in nats.
    Source: Rezende and Mohamed 2015, equation 14 and appendix A.2.

    Args:
        size: D.
        context: how many numbers of context choose :math:`x_0, \alpha, \beta`; 0 for none.
        hidden: widths of the hidden layers of the network that makes them.
    """

    def __init__(self, size: int, *, context: int = 0, hidden: Sequence[int] = (64,)) -> None:
        super().__init__()
        self.size = size
        self.parameters_of = Amortised(
            torch.cat((torch.randn(size), torch.zeros(2))), context, hidden
        )

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Stretch or shrink."""
        centre, alpha, k = self._parts(x, context)
        difference = x - centre
        r = torch.linalg.vector_norm(difference, dim=1)
        factor, log_det = self._at(r, alpha, k)
        return centre + difference * (1 + factor)[:, None], log_det

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Undo it at the distance that the quadratic equation gives."""
        centre, alpha, k = self._parts(z, context)
        difference = z - centre
        s = torch.linalg.vector_norm(difference, dim=1)
        p = s - alpha * (1 + k)
        # Of the two ways to write the root, the one that adds: the other loses digits.
        total = p.abs() + torch.sqrt(p.square() + 4 * alpha * s)
        r = torch.where(p > 0, total / 2, 2 * alpha * s / total)
        factor, log_det = self._at(r, alpha, k)
        return centre + difference / (1 + factor)[:, None], -log_det

    def _at(self, r: Tensor, alpha: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        r""":math:`\beta h` and the log-det at distance r from the centre."""
        near = alpha / (alpha + r)
        factor = k * near
        return factor, (self.size - 1) * torch.log1p(factor) + torch.log1p(factor * near)

    def _parts(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        r"""The centre ``(N or 1, D)``, :math:`\alpha` and :math:`\beta / \alpha` ``(N or 1,)``."""
        centre, rest = self.parameters_of(x, context).split((self.size, 2), dim=1)
        return centre, torch.exp(rest[:, 0]), above_minus_one(rest[:, 1])

    def output_shape(self, shape: Shape) -> Shape:
        """Unchanged; only rows of its size."""
        return same_shape(self, (self.size,), shape)

    def extra_repr(self) -> str:
        """Show the size."""
        return f"size={self.size}"
