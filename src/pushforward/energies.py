r"""Four densities in the plane that are known up to a constant, and what a grid says about them.

An energy U is any function ``(N, D) -> (N,)`` in torch; its density is
:math:`p(x) = e^{-U(x)} / Z`. In two dimensions a grid gives Z, and the divergence of a flow from p.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .errors import InputError

__all__ = ["ENERGIES", "Energy", "divergence", "grid", "log_z", "u1", "u2", "u3", "u4"]

Energy = Callable[[Tensor], Tensor]

_EDGE, _WIDTH = 4.0, 0.2


def u1(x: Tensor) -> Tensor:
    r"""A ring with two lobes.

    .. math:: U_1 = \tfrac12 \Bigl(\frac{\|x\| - 2}{0.4}\Bigr)^2
              - \log\Bigl(e^{-\frac12 \left(\frac{x_1 - 2}{0.6}\right)^2}
              + e^{-\frac12 \left(\frac{x_1 + 2}{0.6}\right)^2}\Bigr)

    Source: Rezende and Mohamed 2015, table 1, as are the other three.
    """
    ring = _half_square((torch.linalg.vector_norm(x, dim=1) - 2) / 0.4)
    return ring + _softmin(_half_square((x[:, 0] - 2) / 0.6), _half_square((x[:, 0] + 2) / 0.6))


def u2(x: Tensor) -> Tensor:
    r"""A wave: :math:`\tfrac12 ((x_2 - w_1) / 0.4)^2`, :math:`w_1 = \sin(2 \pi x_1 / 4)`.

    The formula of the paper has no end along :math:`x_1`, so that Z is infinite. Here, and in
    ``u3`` and ``u4``, a wall is added outside of :math:`|x_1| \le 4`, what the paper draws:
    :math:`\tfrac12 ((|x_1| - 4)_+ / 0.2)^2`.
    """
    return _half_square((x[:, 1] - _wave(x)) / 0.4) + _wall(x)


def u3(x: Tensor) -> Tensor:
    r"""A wave that splits around a bump, and a wall as that of ``u2``.

    .. math:: -\log\Bigl(e^{-\frac12 \left(\frac{x_2 - w_1}{0.35}\right)^2}
              + e^{-\frac12 \left(\frac{x_2 - w_1 + w_2}{0.35}\right)^2}\Bigr), \qquad
              w_2 = 3\, e^{-\frac12 \left(\frac{x_1 - 1}{0.6}\right)^2}
    """
    height = x[:, 1] - _wave(x)
    bump = 3 * torch.exp(-_half_square((x[:, 0] - 1) / 0.6))
    return _softmin(_half_square(height / 0.35), _half_square((height + bump) / 0.35)) + _wall(x)


def u4(x: Tensor) -> Tensor:
    r"""A wave that splits in two, and a wall as that of ``u2``.

    .. math:: -\log\Bigl(e^{-\frac12 \left(\frac{x_2 - w_1}{0.4}\right)^2}
              + e^{-\frac12 \left(\frac{x_2 - w_1 + w_3}{0.35}\right)^2}\Bigr), \qquad
              w_3 = 3\, \sigma\Bigl(\frac{x_1 - 1}{0.3}\Bigr)
    """
    height = x[:, 1] - _wave(x)
    step = 3 * torch.sigmoid((x[:, 0] - 1) / 0.3)
    return _softmin(_half_square(height / 0.4), _half_square((height + step) / 0.35)) + _wall(x)


ENERGIES: dict[str, Energy] = {"U1": u1, "U2": u2, "U3": u3, "U4": u4}


def _half_square(x: Tensor) -> Tensor:
    return 0.5 * x.square()


def _softmin(a: Tensor, b: Tensor) -> Tensor:
    return -torch.logaddexp(-a, -b)


def _wave(x: Tensor) -> Tensor:
    return torch.sin(2 * math.pi * x[:, 0] / 4)


def _wall(x: Tensor) -> Tensor:
    return _half_square((x[:, 0].abs() - _EDGE).clamp(min=0) / _WIDTH)


# Quadrature ------------------------------------------------------------------------------------


def grid(limit: float = 8.0, size: int = 400) -> tuple[Tensor, float]:
    """The middles of ``size`` x ``size`` cells of a square, and the area of a cell.

    Returns:
        points ``(size * size, 2)``, float64, row by row from the lowest second coordinate; area.
    """
    step = 2 * limit / size
    axis = -limit + step * (torch.arange(size, dtype=torch.float64) + 0.5)
    second, first = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack((first.flatten(), second.flatten()), dim=1), step * step


@torch.no_grad()
def log_z(energy: Energy, *, limit: float = 8.0, size: int = 400) -> float:
    r""":math:`\log \int e^{-U(x)}\, dx` over the square of half side ``limit``, by midpoints."""
    points, area = grid(limit, size)
    return float(torch.logsumexp(-energy(points), 0)) + math.log(area)


@torch.no_grad()
def divergence(flow: Any, energy: Energy, *, limit: float = 8.0, size: int = 400) -> float:
    r"""The divergence of a flow q over the plane from the density of an energy, on a grid, in nats.

    .. math:: \mathrm{KL}(q \| p) = \int q(x) \bigl(\log q(x) + U(x) + \log Z\bigr)\, dx

    It scores the flow at every point of the grid, where estimates from samples have noise.

    Args:
        flow: with a ``log_prob`` over rows of two.
        energy: ``(N, 2) -> (N,)``.
        limit: half the side of the square; q and p must vanish beyond it.
        size: cells along a side.

    Raises:
        InputError: more than a thousandth of q lies outside of the square, or its features are
            finer than the grid.
    """
    points, area = grid(limit, size)
    log_q = torch.cat([flow.log_prob(part) for part in points.split(20_000)]).double().cpu()
    weights = log_q.exp() * area
    if abs(float(weights.sum()) - 1) > 1e-3:
        raise InputError(
            f"on the grid the flow integrates to {float(weights.sum()):.4f}, not to 1: give a "
            f"larger limit than {limit:g}, or a larger size than {size}."
        )
    inside = weights > 0
    gap = (log_q + energy(points) + log_z(energy, limit=limit, size=size))[inside]
    return float((weights[inside] * gap).sum() / weights.sum())
