"""The planar layer: noise pushed apart or together at right angles to a plane."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .amortised import Amortised
from .layer import Layer, Shape, same_shape
from .tanh_root import above_minus_one, tanh_root

__all__ = ["Planar"]


class Planar(Layer):
    r"""Move along one direction by a bump-free step across one plane.

    .. math:: z = x + \hat u \tanh(w^\top x + b), \qquad
              \hat u = u + \bigl(m(w^\top u) - w^\top u\bigr) \frac{w}{\|w\|^2}, \qquad
              \log|\det| = \log\bigl(1 + k\,(1 - \tanh^2(w^\top x + b))\bigr)

    with :math:`k = w^\top \hat u = m(w^\top u) > -1`, strictly: at -1, which the paper allows, the
    determinant can be 0. It starts as the identity (u = 0) with random planes.

    ``inverse`` has no closed form. It solves :math:`t + k \tanh t = w^\top z + b` for
    :math:`t = w^\top x + b`, one equation per event whatever D, to round-off; it costs about five
    times what ``forward`` does. Where samples matter more than scores wrap the layer:
    ``Inverted(Planar(D))`` goes from noise to sample by the cheap formula, as in the paper.

    Shapes: x, z ``(N, D)``; log_det ``(N,)`` in nats.
    Source: Rezende and Mohamed 2015, equations 10 to 12 and appendix A.1.

    Args:
        size: D.
        context: how many numbers of context choose w, u and b, through a network; 0 for none.
        hidden: widths of that network's hidden layers.
    """

    reversible = False  # not to the last digits where k is near -1

    def __init__(self, size: int, *, context: int = 0, hidden: Sequence[int] = (64,)) -> None:
        super().__init__()
        self.size = size
        start = torch.cat((torch.randn(size) / math.sqrt(size), torch.zeros(size), torch.randn(1)))
        self.parameters_of = Amortised(start, context, hidden)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Step across the plane."""
        w, u, b, k = self._parts(x, context)
        h = torch.tanh((x * w).sum(1) + b)
        return x + u * h[:, None], torch.log1p(k * (1 - h * h))

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Find on which side of the plane z came from, and step back."""
        w, u, b, k = self._parts(z, context)
        h = torch.tanh(tanh_root((z * w).sum(1) + b, k))
        return z - u * h[:, None], -torch.log1p(k * (1 - h * h))

    def _parts(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """w, u-hat ``(N or 1, D)``, b and k ``(N or 1,)``."""
        w, u, b = self.parameters_of(x, context).split((self.size, self.size, 1), dim=1)
        a = (w * u).sum(1)
        k = above_minus_one(a)
        square = w.square().sum(1).clamp(min=torch.finfo(w.dtype).tiny)
        return w, torch.addcmul(u, ((k - a) / square)[:, None], w), b[:, 0], k

    def output_shape(self, shape: Shape) -> Shape:
        """Unchanged; only rows of its size."""
        return same_shape(self, (self.size,), shape)

    def extra_repr(self) -> str:
        """Show the size."""
        return f"size={self.size}"
