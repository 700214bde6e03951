"""The Sylvester layer: several planar steps at once, in an orthogonal frame."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import InputError
from .amortised import Amortised
from .layer import Layer, Shape, same_shape
from .tanh_root import above_minus_one, tanh_root

__all__ = ["Sylvester"]

_LIMIT = 3.0


class Sylvester(Layer):
    r"""A residual network with one hidden layer of M units whose Jacobian is triangular.

    .. math:: z = x + Q R \tanh(\tilde R Q^\top x + b), \qquad
              \log|\det| = \sum_{i=1}^{M} \log\bigl(1 + k_i\,(1 - \tanh^2 t_i)\bigr), \qquad
              t = \tilde R Q^\top x + b

    Q ``(D, M)`` has orthonormal columns, made of M Householder reflections; R and
    :math:`\tilde R` are upper triangular, and :math:`k_i = R_{ii} \tilde R_{ii} = m(\cdot) > -1`,
    strictly. The sign of :math:`\tilde R_{ii}` can be moved into R and b, so it is the exponential
    of a bounded number. It starts as the identity (R = 0). With M = 1 it is a planar layer.

    ``inverse`` solves :math:`t + \tilde R R \tanh t = \tilde R Q^\top z + b` from the last
    component to the first, each one equation of one unknown, to round-off: M searches, where
    ``forward`` is two matrix products. As with ``Planar``, ``Inverted(Sylvester(D, M))`` samples
    by the cheap direction.

    Shapes: x, z ``(N, D)``; log_det ``(N,)`` in nats.
    Source: van den Berg et al. 2018, equations 8 to 13; Householder Sylvester flows, section 3.2.
    The paper bounds both diagonals by tanh; here only their product is bounded, and below only.

    Args:
        size: D.
        columns: M, from 1 to D; all of D, but at most 8, if None.
        context: how many numbers of context choose all of it, through a network; 0 for none.
        hidden: widths of that network's hidden layers.

    Raises:
        InputError: M is not from 1 to D.
    """

    reversible = False  # M searches are not cheap
    below: Tensor
    above: Tensor

    def __init__(
        self,
        size: int,
        columns: int | None = None,
        *,
        context: int = 0,
        hidden: Sequence[int] = (64,),
    ) -> None:
        super().__init__()
        m = min(size, 8) if columns is None else columns
        if not 1 <= m <= size:
            raise InputError(
                f"Sylvester on rows of {size} takes 1 to {size} columns; got columns={columns}."
            )
        self.size, self.columns = size, m
        self.register_buffer("below", _places(torch.ones(size, m).tril(-1)), persistent=False)
        self.register_buffer("above", _places(torch.ones(m, m).triu(1)), persistent=False)
        frame, corner = size * m - m * (m + 1) // 2, m * (m - 1) // 2
        self.counts = (frame, corner, corner, m, m, m)
        start = torch.cat(
            (torch.randn(frame), torch.zeros(corner), torch.randn(corner) / m, torch.zeros(2 * m))
        )
        self.parameters_of = Amortised(torch.cat((start, torch.randn(m))), context, hidden)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """All steps at once."""
        into, out, _, k, b = self._parts(x, context)
        h = torch.tanh(_times(x, into) + b)
        return x + _times(h, out), torch.log1p(k * (1 - h * h)).sum(1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One unknown after the other, from the last."""
        into, out, coupled, k, b = self._parts(z, context)
        rest = _times(z, into) + b
        steps = []
        for i in reversed(range(self.columns)):
            h_i = torch.tanh(tanh_root(rest[:, i], k[:, i]))
            rest = rest - h_i[:, None] * coupled[:, :, i]
            steps.append(h_i)
        h = torch.stack(steps[::-1], dim=1)
        return z - _times(h, out), -torch.log1p(k * (1 - h * h)).sum(1)

    def _parts(
        self, x: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        r""":math:`Q \tilde R^\top`, :math:`(Q R)^\top`, :math:`\tilde R R`, k and b.

        Each has N rows, or 1 without context.
        """
        parts = self.parameters_of(x, context).split(self.counts, dim=1)
        reflections = _filled(parts[0], self.below)
        size = torch.exp(_LIMIT * torch.tanh(parts[4] / _LIMIT))
        k = above_minus_one(parts[3])
        r = _filled(parts[1], self.above) + torch.diag_embed(k / size)
        r_tilde = _filled(parts[2], self.above) + torch.diag_embed(size)
        with torch.autocast(x.device.type, enabled=False):
            # LAPACK's convention: ones on the diagonal are understood.
            frame = torch.linalg.householder_product(
                reflections, 2 / (1 + reflections.square().sum(1))
            )
            return frame @ r_tilde.mT, (frame @ r).mT, r_tilde @ r, k, parts[5]

    def output_shape(self, shape: Shape) -> Shape:
        """Unchanged; only rows of its size."""
        return same_shape(self, (self.size,), shape)

    def extra_repr(self) -> str:
        """Show D and M."""
        return f"size={self.size}, columns={self.columns}"


def _places(pattern: Tensor) -> Tensor:
    """Which packed number stands at each place of a matrix; one beyond the last for zeros."""
    count = int(pattern.sum())
    places = torch.full(pattern.shape, count)
    places[pattern.bool()] = torch.arange(count)
    return places


def _filled(packed: Tensor, places: Tensor) -> Tensor:
    """``(N, count) -> (N, *places.shape)``, zero where the pattern was."""
    padded = torch.cat((packed, packed.new_zeros(packed.shape[0], 1)), dim=1)
    return padded[:, places]


def _times(x: Tensor, matrix: Tensor) -> Tensor:
    """Rows ``(N, A)`` times ``(1, A, B)``, or each times its own of ``(N, A, B)``."""
    with torch.autocast(x.device.type, enabled=False):
        if matrix.shape[0] == 1:
            return x @ matrix[0]
        return (x[:, None, :] @ matrix)[:, 0]
