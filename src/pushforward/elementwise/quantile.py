"""The standard normal in its tails: probabilities as logarithms, quantiles and hazards of them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

__all__ = ["log_hazard", "log_ndtr", "normal_quantile"]

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
_ROOT_HALF, _ROOT_HALF_PI = math.sqrt(0.5), math.sqrt(0.5 * math.pi)


class _LogNdtr(torch.autograd.Function):
    """torch's own gradient is a difference of near-equals: 4 % off at -1000, then infinite."""

    @staticmethod
    def forward(ctx: Any, v: Tensor) -> Tensor:
        """``log Phi(v)``."""
        ctx.save_for_backward(v)
        return torch.special.log_ndtr(v)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """The hazard, which can be differentiated once more."""
        return gradient * torch.exp(log_hazard(*ctx.saved_tensors))


def log_ndtr(v: Tensor) -> Tensor:
    r""":math:`\log\Phi(v)`, its gradient right in the far tails too."""
    return _LogNdtr.apply(v)


def log_hazard(v: Tensor) -> Tensor:
    r""":math:`\log\left(\phi(v) / \Phi(v)\right)`, the log-derivative of :math:`\log\Phi`."""
    right = v.clamp(min=0)
    log_density = -0.5 * right.square() - _HALF_LOG_2PI
    return torch.where(
        v < 0, -torch.log(_mills(v.clamp(max=0))), log_density - torch.special.log_ndtr(right)
    )


def normal_quantile(log_p: Tensor) -> Tensor:
    r"""The z with :math:`\log\Phi(z) = \log p`, for p of at most about one half.

    A p far too small for a floating-point number is as good as any: z is finite where log p is.
    """
    z: Tensor = _Quantile.apply(log_p)
    return z


class _Quantile(torch.autograd.Function):
    """Its gradient, ``Phi(z) / phi(z)``, is a function of z: it can be differentiated further."""

    @staticmethod
    def forward(ctx: Any, log_p: Tensor) -> Tensor:
        """Near the middle by ``ndtri``, far out by Newton's method."""
        near = log_p > -20
        z = torch.special.ndtri(torch.exp(torch.where(near, log_p, -1.0)))
        # Far out: log Phi(z) = -z^2 / 2 - log(-z) - log(2 pi) / 2 - ..., then Newton's steps.
        target = torch.where(near, -20.0, log_p)
        square = -2 * target - 2 * _HALF_LOG_2PI
        far = -torch.sqrt(square - torch.log(square))
        for _ in range(3):
            far = far - (torch.special.log_ndtr(far) - target) * _mills(far)
        z = torch.where(near, z, far)
        ctx.save_for_backward(z)
        return z

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Through the saved z, which is the output of this function."""
        return gradient * _mills(*ctx.saved_tensors)


def _mills(z: Tensor) -> Tensor:
    r""":math:`\Phi(z) / \phi(z) = dz / d\log\Phi(z)`, for z up to 0: nothing in it is large."""
    return _ROOT_HALF_PI * torch.special.erfcx(-_ROOT_HALF * z)
