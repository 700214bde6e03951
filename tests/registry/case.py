"""A case of the registry, and how what it makes is moved away from its start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pushforward.layers import ActNorm, Cells, Layer, Logit, Power, Shape, Standardize, Whiten
from pushforward.moments import RunningMoments

__all__ = ["Case", "perturb"]


@dataclass(frozen=True)
class Case:
    """A layer, the events that it takes and the context that it sees.

    ``data``: ``real`` numbers, those of the ``unit`` interval, or integers (``levels``).
    ``make`` is called anew for each use, and draws other starting weights each time; ``other`` is
    for layers whose fixed numbers come from a seed: the same layer made from another one.
    """

    make: Callable[[], Layer]
    shape: Shape
    context: int = 0
    data: str = "real"
    other: Callable[[], Layer] | None = None


def perturb(module: nn.Module, seed: int = 0, scale: float = 0.2) -> nn.Module:
    """Move every parameter and every statistic away from its start, by chance but repeatably.

    The last layers of conditioners start at zero and norms start as the identity: a check of
    an undisturbed layer proves next to nothing.
    """
    generator = torch.Generator().manual_seed(seed)

    def uniform(like: Tensor, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(like.shape, generator=generator, dtype=torch.float64)

    with torch.no_grad():
        for parameter in module.parameters():
            sign = torch.sign(uniform(parameter, -1, 1))
            parameter += (scale * sign * uniform(parameter, 0.5, 1.5)).to(parameter)
        for part in module.modules():
            if isinstance(part, RunningMoments):
                weight = uniform(part.weight, 0.3, 0.9)
                part.weight.copy_(weight)
                part.mean.copy_(weight * uniform(part.mean, -1, 1))
                part.variance.copy_(weight * uniform(part.variance, 0.5, 1.5))
            elif isinstance(part, Standardize):
                part.mean.copy_(uniform(part.mean, -1, 1))
                part.log_std.copy_(uniform(part.log_std, -0.5, 0.5))
                part.fitted.fill_(True)
            elif isinstance(part, Logit):
                part.alpha.copy_(uniform(part.alpha, 0.02, 0.1))
                part.chosen.fill_(True)
            elif isinstance(part, Whiten):
                size = len(part.mean)
                gauss = torch.randn(size, size, generator=generator, dtype=torch.float64)
                part.mean.copy_(uniform(part.mean, -1, 1))
                part.log_scale.copy_(uniform(part.log_scale, -0.5, 0.5))
                part.bits.copy_(torch.linalg.qr(gauss)[0].contiguous().view(torch.int64))
                part.fitted.fill_(True)
            elif isinstance(part, Cells):
                weights = part.weights * uniform(part.weights, 0.5, 2.0)
                part.weights.copy_(weights / weights.sum(1, keepdim=True))
                part.fitted.fill_(True)
            elif isinstance(part, Power):
                part.centre.copy_(uniform(part.centre, -1, 1))
                part.log_scale.copy_(uniform(part.log_scale, -0.5, 0.5))
                part.exponents.copy_(uniform(part.exponents, 0.1, 1.9))
                part.fitted.fill_(True)
            elif isinstance(part, ActNorm):
                part.initialised.fill_(True)
    return module
