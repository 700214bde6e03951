"""Columns with heavy tails."""

from __future__ import annotations

import torch
from torch import Tensor

from .columnwise import Columnwise

__all__ = ["Power"]

_ROWS = 5_000
"""Rows that the exponents are fitted to; more would not change their second digit."""


class Power(Columnwise):
    r"""The Yeo-Johnson transform, with an exponent for each side of a chosen origin.

    .. math:: y = \frac{x - c}{s}, \qquad z = \begin{cases}
              ((1 + y)^{\lambda_+} - 1)/\lambda_+ & y \ge 0 \\
              -((1 - y)^{\lambda_-} - 1)/\lambda_- & y < 0 \end{cases}, \qquad
              \log\frac{\partial z}{\partial x} = (\lambda_\pm - 1) \log(1 + |y|) - \log s

    with :math:`\log(1 + |y|)` in the limit :math:`\lambda = 0`. Yeo and Johnson's own has
    :math:`\lambda_- = 2 - \lambda_+`, which pulls in one tail only by stretching the other: a
    Cauchy column needs both pulled in. Exponents stay within [0, 2], where every z has an x.

    ``initialise`` chooses by maximum likelihood of a normal z: the origin c with its unit s among
    0 with the median of |x|, and the median with the median distance from it; and the exponents.

    Shapes: x, z ``(N, D)``; log_det ``(N,)`` in nats.
    Source: Yeo and Johnson 2000.

    Args:
        size: D.
    """

    reads_data = True
    centre: Tensor
    log_scale: Tensor
    exponents: Tensor
    fitted: Tensor

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.register_buffer("centre", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("log_scale", torch.zeros(size, dtype=torch.float64))
        # (2, D): of what lies above the origin, and below it
        self.register_buffer("exponents", torch.ones(2, size, dtype=torch.float64))
        self.register_buffer("fitted", torch.tensor(False))

    def bend(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pull in, or stretch, each side."""
        y = (x - self.centre) * torch.exp(-self.log_scale)
        power = torch.where(y < 0, self.exponents[1], self.exponents[0])
        length = torch.log1p(y.abs())
        z = torch.copysign(_power(length, power), y)
        return z, (power - 1) * length - self.log_scale

    def unbend(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Undo."""
        power = torch.where(z < 0, self.exponents[1], self.exponents[0])
        small = power < 1e-8
        divisor = torch.where(small, 1.0, power)
        length = torch.where(small, z.abs(), torch.log1p(power * z.abs()) / divisor)
        length = length.clamp(max=200.0)  # e^200: large enough, and finite also in its square
        x = torch.copysign(torch.expm1(length), z) * torch.exp(self.log_scale) + self.centre
        return x, (power - 1) * length - self.log_scale

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Fit origin, unit and exponents to what is not missing, once."""
        if bool(self.fitted) or len(x) == 0:
            return
        values = x[:: max(1, len(x) // _ROWS)].double()
        for column in range(self.size):
            known = values[~torch.isnan(values[:, column]), column]
            if len(known) and bool(known.amin() < known.amax()):
                self._fit(column, known)
        self.fitted.fill_(True)

    def _fit(self, column: int, x: Tensor) -> None:
        best = -torch.inf
        median = x.median()
        for centre in (torch.zeros_like(median), median):
            distance = (x - centre).abs()
            scale = distance.median()
            if not scale > 0:  # more than half of the column is one value
                scale = distance.mean()
            above, below, value = _likeliest((x - centre) / scale)
            if value - len(x) * float(scale.log()) > best:
                best = value - len(x) * float(scale.log())
                self.centre[column], self.log_scale[column] = centre, scale.log()
                self.exponents[:, column] = torch.tensor([above, below], dtype=torch.float64)


def _power(length: Tensor, power: Tensor) -> Tensor:
    """((1 + |y|)^power - 1) / power, of length = log(1 + |y|)."""
    small = power < 1e-8
    divisor = torch.where(small, 1.0, power)
    return torch.where(small, length, torch.expm1(power * length) / divisor)


def _likeliest(y: Tensor) -> tuple[float, float, float]:
    """The two exponents of the greatest normal likelihood of z, and its logarithm.

    z of each side depends on that side's exponent alone, so that a grid over both costs no more
    than two grids over one.
    """
    sides = [torch.log1p(y[y >= 0]), torch.log1p(-y[y < 0])]
    middles, reach, result = [1.0, 1.0], 1.0, (1.0, 1.0, -float("inf"))
    for _ in range(3):
        grids, sums = [], []
        for middle, length in zip(middles, sides, strict=True):
            grid = torch.linspace(middle - reach, middle + reach, 17, dtype=torch.float64)
            grid = grid.clamp(0.0, 2.0)
            z = _power(length[:, None], grid)  # (N, 17)
            grids.append(grid)
            sums.append((z.sum(0), z.square().sum(0), (grid - 1) * length.sum()))
        (above, above_2, slope), (below, below_2, slope_2) = sums
        mean = (above[:, None] - below) / len(y)  # (17, 17)
        variance = (above_2[:, None] + below_2) / len(y) - mean.square()
        value = slope[:, None] + slope_2 - 0.5 * len(y) * variance.clamp(min=1e-300).log()
        at = int(value.argmax())
        middles = [float(grids[0][at // 17]), float(grids[1][at % 17])]
        result = (middles[0], middles[1], float(value.flatten()[at]))
        reach /= 8
    return result
