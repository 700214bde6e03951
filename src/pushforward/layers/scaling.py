"""The diagonal scaling at the end of NICE."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .layer import Layer, Shape, constant_log_det, same_shape

__all__ = ["Scaling"]


class Scaling(Layer):
    r"""Multiply every number of an event by a learned positive number of its own.

    .. math:: z_i = e^{s_i} x_i, \qquad \log|\det| = \sum_i s_i

    Additive couplings keep volumes. What a flow made of them must stretch or press together, this
    layer does: :math:`e^{-s_i}` is the width of the data along latent i, as a spectrum of principal
    components shows it.

    Shapes: x, z ``(N, *shape)``; log_det ``(N,)`` in nats.
    Source: Dinh et al. 2014 (NICE), section 3.3.

    Args:
        shape: the event shape.
        from_data: start, when ``initialise`` sees events, with the scales that give each number
            standard deviation 1, instead of 1: an optimiser that moves a weight by 0.001 a step
            takes thousands of steps to find them.
    """

    fitted: Tensor

    def __init__(self, shape: Shape, *, from_data: bool = False) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.reads_data = from_data
        self.log_scale = nn.Parameter(torch.zeros(self.shape))
        self.register_buffer("fitted", torch.tensor(not from_data))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Scale."""
        return x * torch.exp(self.log_scale), constant_log_det(x, self.log_scale.sum())

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Unscale."""
        return z * torch.exp(-self.log_scale), constant_log_det(z, -self.log_scale.sum())

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Give each number of ``x`` the spread 1, once, where that is wanted."""
        if bool(self.fitted) or len(x) == 0:
            return
        spread = x.double().std(0, correction=0)
        self.log_scale.copy_(torch.where(spread > 0, -spread.clamp(min=1e-12).log(), 0.0))
        self.fitted.fill_(True)

    def output_shape(self, shape: Shape) -> Shape:
        """Unchanged; anything but the shape it was built for is an error."""
        return same_shape(self, self.shape, shape)

    def extra_repr(self) -> str:
        """Show the event shape."""
        return f"shape={self.shape}"
