"""Factor-out: part of the event is latent already, the rest goes on."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import InputError
from .layer import Layer, Shape

__all__ = ["Multiscale"]


class Multiscale(Layer):
    r"""Give the first channels to an inner layer and leave the others as they are.

    .. math:: z = (g(x_{1..k}),\; x_{k+1..C}), \qquad \log|\det| = \log|\det g'|

    The others are factored out: they are latents of this scale. Nothing is dropped, since z holds
    both parts, and the shape stays: the inner layer must give back the shape that it gets (let it
    unsqueeze what it squeezed). Scales nest: the inner layer may hold the next ``Multiscale``.
    As a ``Chain`` it takes part in ``memory="constant"``, as any other layer it is checkpointed.

    Shapes: x, z ``(N, C, ...)``, inner ``(N, keep, ...)``; log_det ``(N,)`` in nats.
    Source: Dinh et al. 2017 (Real NVP), section 3.6, equations 14 to 16.
    """

    reversible = False  # a chain within restores its own inputs

    def __init__(self, inner: Layer, keep: int) -> None:
        super().__init__()
        if keep < 1:
            raise InputError(f"Multiscale must keep at least one channel; got keep={keep}.")
        self.inner = inner
        self.keep = keep

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Apply the inner layer to what is kept."""
        kept, log_det = self.inner(x[:, : self.keep], context)
        return torch.cat((kept, x[:, self.keep :]), dim=1), log_det

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Undo the inner layer."""
        kept, log_det = self.inner.inverse(z[:, : self.keep], context)
        return torch.cat((kept, z[:, self.keep :]), dim=1), log_det

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Initialise the inner layer."""
        self.inner.initialise(x[:, : self.keep], context)

    def output_shape(self, shape: Shape) -> Shape:
        """Unchanged; the inner layer must keep its part's shape."""
        if shape[0] <= self.keep:
            raise InputError(
                f"Multiscale keeps {self.keep} channels and factors out the rest; events of "
                f"shape {shape} leave nothing to factor out."
            )
        part = (self.keep, *shape[1:])
        result = self.inner.output_shape(part)
        if result != part:
            raise InputError(
                f"the inner layer of Multiscale must keep the shape {part}, but makes {result}; "
                f"end it with the inverse of its squeeze."
            )
        return shape

    def extra_repr(self) -> str:
        """Show how many channels go on."""
        return f"keep={self.keep}"
