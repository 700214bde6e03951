"""The autoregressive layer of MADE, MAF and, turned round, of IAF."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..elementwise import Affine, Law
from ..errors import InputError
from ..nets.made import MADE
from .layer import Layer, Shape, same_shape, sum_event

__all__ = ["Autoregressive"]


class Autoregressive(Layer):
    r"""Change each number by an element-wise map whose parameters the earlier numbers decide.

    .. math:: z_i = \tau(x_i;\; c_i(x_{<i})), \qquad
              \log|\det| = \sum_i \log \tau'(x_i)

    for numbers in the order of the conditioner (``<`` is earlier in that order). The Jacobian is
    triangular in it, and full otherwise: a coupling is the case of two blocks.

    Cost: ``forward``, and so the density, is one pass of the conditioner whatever D is.
    ``inverse``, and so sampling, restores the numbers in turn: D steps after one another. They keep
    what they have computed, and multiply no more than one pass does, but cannot be done at once. A
    flow that must sample fast takes ``Inverted(Autoregressive(...))``, the layer of IAF, and pays
    for the density of data instead. Gradients pass either way.

    Shapes: x, z ``(N, D)``; log_det ``(N,)`` in nats.
    Source: Papamakarios et al. 2017 (MAF), section 3; Kingma et al. 2016 (IAF), section 3.

    Args:
        shape: the event shape, ``(D,)``.
        law: the element-wise map; ``Affine()`` by default.
        made: called with ``(D, law.count, context)`` it builds the conditioner, a ``MADE``. A
            partial application such as ``partial(MADE, hidden=(64, 64), order="reversed")`` is the
            usual form.
        context: how many numbers of context the conditioner sees beside the row.

    Raises:
        InputError: the events are not rows.

    Example:
        >>> layer = Autoregressive((6,))
        >>> z, log_det = layer(torch.randn(4, 6))
    """

    reversible = False  # its inverse takes D steps

    def __init__(
        self,
        shape: Shape,
        law: Law | None = None,
        made: Callable[..., MADE] = MADE,
        *,
        context: int = 0,
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        if len(self.shape) != 1:
            raise InputError(
                f"Autoregressive takes rows (D,); got events of shape {self.shape}. Put "
                f"Flatten({self.shape}) before it."
            )
        self.law = Affine() if law is None else law
        self.made = made(self.shape[0], self.law.count, context)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Change all numbers at once."""
        z, log_slope = self.law(x, self.made(x, context))
        return z, sum_event(log_slope)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Restore the numbers one after the other."""
        turn = self.made.in_turn(z.shape[0], context)
        columns: list[Tensor] = []
        log_slopes: list[Tensor] = []
        order = torch.argsort(self.made.position)
        for column in z.index_select(1, order).split(1, dim=1):  # (N, 1) each
            parameters = turn.next(columns[-1] if columns else None)
            restored, log_slope = self.law.inverse(column, parameters)
            columns.append(restored)
            log_slopes.append(log_slope)
        x = torch.cat(columns, dim=1).index_select(1, self.made.position)
        return x, sum_event(torch.cat(log_slopes, dim=1))

    def output_shape(self, shape: Shape) -> Shape:
        """Unchanged; anything but the shape it was built for is an error."""
        return same_shape(self, self.shape, shape)

    def extra_repr(self) -> str:
        """Show the event shape."""
        return f"shape={self.shape}"
