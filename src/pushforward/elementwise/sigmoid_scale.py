"""The coupling law of Jet: a shift, then a scale that never exceeds 2."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from .affine import Law

__all__ = ["SigmoidScale"]


class SigmoidScale(Law):
    r"""``z = (x + b) 2 sigmoid(r)``: the identity at zero, and a scale in (0, 2).

    .. math:: \log\frac{\partial z}{\partial x} = \log 2 + \log\sigma(r)

    No layer stretches by more than 2, so that forward nothing explodes. The price is paid by the
    inverse :math:`x = z\,\tfrac{1 + e^{-r}}{2} - b`, which amplifies an error in z by half of
    :math:`1 + e^{-r}`: never by less than one half, and without a bound where r is very negative.

    Parameters come as all shifts ``b``, then all raw scales ``r``.
    Source: Kolesnikov et al. 2024 (Jet), section 2, and the authors' code.
    """

    count = 2

    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Shift, then scale."""
        b, r = parameters.to(x.dtype).chunk(2, dim=1)
        return (x + b) * (2 * torch.sigmoid(r)), logsigmoid(r) + math.log(2)

    def inverse(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Unscale, then unshift."""
        b, r = parameters.to(z.dtype).chunk(2, dim=1)
        return z * ((1 + torch.exp(-r)) / 2) - b, -(logsigmoid(r) + math.log(2))
