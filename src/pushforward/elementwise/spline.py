"""The rational-quadratic spline of neural spline flows, as an element-wise law."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import pad, softplus

from .affine import Law

__all__ = ["RationalQuadratic"]


class RationalQuadratic(Law):
    r"""A monotonic spline of K rational quadratics on :math:`[-B, B]`, the identity outside.

    In the bin of width w, height h and mean slope :math:`s = h / w`, with slopes :math:`d_0, d_1`
    at its ends and :math:`\xi = (x - x_0) / w`:

    .. math:: z = z_0 + h\,\frac{s\,\xi^2 + d_0\,\xi(1-\xi)}{q}, \qquad
              q = s + (d_0 + d_1 - 2s)\,\xi(1-\xi)

    .. math:: \frac{\partial z}{\partial x} =
              \frac{s^2\left(d_1\xi^2 + 2s\,\xi(1-\xi) + d_0(1-\xi)^2\right)}{q^2}

    Parameters come as K raw widths, K raw heights and K - 1 raw slopes of the inner knots; the
    slopes at the ends are 1, so that density and tails join. All zero gives the identity.

    Source: Durkan et al. 2019 (Neural Spline Flows), equations 4 to 8.

    Args:
        bins: K.
        tail: B. Standardised data beyond it is neither bent nor stretched.
        floor: least share of a bin in width and height, and the least slope.
    """

    def __init__(self, bins: int = 8, tail: float = 3.0, floor: float = 1e-3) -> None:
        super().__init__()
        if bins < 1 or not tail > 0 or not 0 < floor < min(1.0, 1 / bins):
            raise ValueError(
                f"RationalQuadratic needs bins of at least 1, a tail above 0 and a floor between 0 "
                f"and 1 / bins; got bins={bins}, tail={tail}, floor={floor}."
            )
        self.bins, self.tail, self.floor = bins, float(tail), float(floor)
        self.count = 3 * bins - 1
        self.raw_of_one = math.log(math.expm1(1 - floor))  # the raw slope that makes a slope of 1

    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Bend ``x``."""
        inside = x.clamp(-self.tail, self.tail)
        corner, size, d0, d1 = self._bin_of(inside, parameters, axis=0)
        (x0, z0), (w, h) = corner.unbind(1), size.unbind(1)
        s, xi = h / w, (inside - x0) / w
        between, bend = xi * (1 - xi), d0 + d1 - 2 * s
        q = s + bend * between
        z = z0 + h * (s * xi.square() + d0 * between) / q
        log_slope = self._log_slope(xi, between, s, d0, d1, q)
        tails = x.abs() >= self.tail
        return torch.where(tails, x, z), log_slope.masked_fill(tails, 0.0)

    def inverse(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Unbend ``z``: the root between 0 and 1 of a quadratic in xi."""
        inside = z.clamp(-self.tail, self.tail)
        corner, size, d0, d1 = self._bin_of(inside, parameters, axis=1)
        (x0, z0), (w, h) = corner.unbind(1), size.unbind(1)
        s, rise, bend = h / w, inside - z0, d0 + d1 - 2 * h / w
        # a xi^2 + b xi + c = 0, by the formula that subtracts no near-equals. The discriminant is
        # positive in exact arithmetic, and never below 0 by rounding.
        b = h * d0 - rise * bend
        a, c = h * s - b, -s * rise
        root = (b.square() - 4 * a * c).clamp(min=torch.finfo(z.dtype).tiny).sqrt()
        xi = (2 * c / (-b - root)).clamp(0, 1)
        between = xi * (1 - xi)
        log_slope = self._log_slope(xi, between, s, d0, d1, s + bend * between)
        tails = z.abs() >= self.tail
        return torch.where(tails, z, x0 + xi * w), -log_slope.masked_fill(tails, 0.0)

    def _bin_of(
        self, value: Tensor, parameters: Tensor, axis: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The bin of each value along x (axis 0) or z (axis 1).

        Returns its lower corner ``(N, 2, C, ...)``, its width and height likewise, and the slopes
        at its ends ``(N, C, ...)``.
        """
        k, (n, *event) = self.bins, value.shape
        raw = parameters.to(value.dtype).reshape(n, self.count, *event)
        shares = raw[:, : 2 * k].reshape(n, 2, k, *event).softmax(2)
        shares = 2 * self.tail * (self.floor + (1 - self.floor * k) * shares)
        inner = shares[:, :, :-1].cumsum(2) - self.tail  # (N, 2, K - 1, C, ...): the inner knots
        index = (value.unsqueeze(1) >= inner[:, axis]).sum(1, keepdim=True)  # (N, 1, C, ...)
        both = index.unsqueeze(1).expand(n, 2, 1, *event)
        rest = (0, 0) * len(event)
        knots = pad(inner, (*rest, 1, 0), value=-self.tail)
        corner, size = knots.gather(2, both).squeeze(2), shares.gather(2, both).squeeze(2)
        raw_slopes = pad(raw[:, 2 * k :], (*rest, 1, 1))  # raw 0 is a slope of 1
        ends = raw_slopes.gather(1, torch.cat((index, index + 1), 1))
        d0, d1 = (self.floor + softplus(ends + self.raw_of_one)).unbind(1)
        return corner, size, d0, d1

    def _log_slope(
        self, xi: Tensor, between: Tensor, s: Tensor, d0: Tensor, d1: Tensor, q: Tensor
    ) -> Tensor:
        top = d1 * xi.square() + 2 * s * between + d0 * (1 - xi).square()
        return torch.log(top * (s / q).square())

    def extra_repr(self) -> str:
        """Show the size."""
        return f"bins={self.bins}, tail={self.tail}"
