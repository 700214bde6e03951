"""Integrals that should be one: of flows over one or two numbers, and of any base density."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...bases import Base

__all__ = ["Integral", "base_log_mass", "integrate"]


@dataclass(frozen=True)
class Integral:
    """An integral of a density over a box.

    Attributes:
        value: the integral.
        low, high: the corners of the box.
        points: of the last grid.
        noise: the largest difference between the last three grids, large where the density has
            edges or is finer than the grid.
    """

    value: float
    low: list[float]
    high: list[float]
    points: int
    noise: float

    @property
    def box(self) -> str:
        """The box, as in ``[-3.1, 3.2] x [-2.9, 3.3]``."""
        sides = zip(self.low, self.high, strict=True)
        return " x ".join(f"[{low:.3g}, {high:.3g}]" for low, high in sides)


def integrate(log_prob: Callable[[Tensor], Tensor], samples: Tensor) -> Integral:
    """Integrate a density over a box around samples of it, by the midpoint rule.

    The grid is refined until three in a row agree, the box widened once if mass is missing. A
    log-density of NaN (a point outside the flow's domain) counts as no density.

    Args:
        log_prob: ``(M, *shape) -> (M,)`` nats.
        samples: ``(N, *shape)`` with one or two numbers an event.
    """
    low, high = samples.amin(0).flatten().double(), samples.amax(0).flatten().double()
    side = torch.where(high > low, high - low, 1.0)
    result = None
    for margin in (0.3, 2.0):
        wider = _over_box(log_prob, low - margin * side, high + margin * side, samples)
        if result is None or (wider.noise <= 1e-3 and wider.value > result.value):
            result = wider
        if result.noise > 1e-3 or result.value >= 1 - 1e-3:
            break
    assert result is not None
    return result


def _over_box(
    log_prob: Callable[[Tensor], Tensor], low: Tensor, high: Tensor, samples: Tensor
) -> Integral:
    size, values = len(low), [math.inf, -math.inf]
    side, most = (512, 2**15) if size == 1 else (64, 486)
    while True:
        steps = (torch.arange(side, dtype=torch.float64, device=low.device) + 0.5) / side
        lines = [low[i] + (high[i] - low[i]) * steps for i in range(size)]
        grid = torch.cartesian_prod(*lines).reshape(-1, size)
        total = 0.0
        for part in grid.split(8192):
            density = log_prob(part.to(samples).reshape(-1, *samples.shape[1:])).double().exp()
            total += float(torch.where(torch.isnan(density), 0.0, density).sum())
        values.append(total * float((high - low).prod()) / len(grid))
        noise = max(values[-3:]) - min(values[-3:])
        if noise <= 1e-4 or side >= most:
            return Integral(values[-1], low.tolist(), high.tolist(), len(grid), noise)
        # Not twice as fine: grids that share their lines would agree on a wrong value at an edge.
        side = 3 * side // 2


def base_log_mass(base: Base, generator: torch.Generator, *, reach: float = 12.0) -> float | None:
    r"""The logarithm of the integral of a base density, whatever its size; 0 is right.

    A density whose elements are independent, :math:`\log p(z) = \sum_i g_i(z_i)`, tells all
    :math:`g_i'(t)` by one gradient. They are integrated along a line (Simpson), anchored at one
    value of log p, and each :math:`\exp g_i` summed over ``reach`` standard deviations either side:

    .. math:: \log \int p = \log p(m) + \sum_i \log \int e^{g_i(t) - g_i(m_i)} \, dt

    Returns:
        nats, or None where it does not apply: elements that depend on one another, a density with
        edges, or more than 16,384 elements.
    """
    size = math.prod(base.shape)
    if not 0 < size <= 2**14:
        return None
    draws = base.sample(256, 1.0, generator).double()
    if not _independent(base, draws, generator):
        return None
    middle, scale = draws.mean(0), draws.std(0)
    nodes = 601
    line = torch.linspace(-reach, reach, 2 * nodes - 1, dtype=torch.float64, device=draws.device)
    slopes = []
    for part in line.split(64):
        with torch.enable_grad():
            places = part.reshape(-1, *(1 for _ in base.shape))
            z = (middle + scale * places).requires_grad_()
            log_prob = base.log_prob(z)
            if not log_prob.requires_grad or not bool(torch.isfinite(log_prob).all()):
                return None
            slopes.append(torch.autograd.grad(log_prob.sum(), z)[0].flatten(1) * scale.flatten())
    slope = torch.cat(slopes)  # (2 nodes - 1, D), of g along the line
    step = 2 * reach / (nodes - 1)
    rise = (slope[:-2:2] + 4 * slope[1::2] + slope[2::2]) * (step / 6)
    zero = torch.zeros_like(rise[:1])
    height = torch.cat((zero, rise.cumsum(0)))  # g at the nodes, but for a constant
    height = height - height[nodes // 2]  # the node at the middle
    mass = torch.logsumexp(height, 0) + math.log(step) + scale.flatten().log()
    return float(base.log_prob(middle[None])[0] + mass.sum())


def _independent(base: Base, draws: Tensor, generator: torch.Generator) -> bool:
    """Whether exchanging some elements of two events leaves the sum of their log-densities."""
    one, two = draws[:128], draws[128:]
    whole = base.log_prob(one) + base.log_prob(two)
    size = math.prod(base.shape)
    for _ in range(3):  # never all of them: that would leave the sum of any density
        order = torch.randperm(size, generator=generator, device=draws.device)
        some = (order < size // 2).reshape(base.shape)
        mixed = base.log_prob(torch.where(some, one, two))
        mixed = mixed + base.log_prob(torch.where(some, two, one))
        if not bool(((whole - mixed).abs() <= 1e-9 * (1 + whole.abs())).all()):
            return False
    return True
