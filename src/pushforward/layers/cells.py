"""Discrete columns with finitely many values: cells as wide as they are frequent."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import InputError
from .columnwise import Columnwise

__all__ = ["Cells"]


class Cells(Columnwise):
    r"""Cells of equal width to cells of the widths of their frequencies, then to a normal.

    .. math:: z = \Phi^{-1}\!\left(F_k + \pi_k \left(\tfrac{x - l}{s} - k\right)\right), \qquad
              \log\frac{\partial z}{\partial x} = \log\frac{\pi_k}{s}
              + \tfrac12 z^2 + \tfrac12 \log 2\pi

    for x in cell :math:`k = \lfloor (x - l)/s \rfloor`, where :math:`\pi_k` is the frequency of
    that cell and :math:`F_k = \sum_{i<k} \pi_i`. Behind ``DequantizeColumns`` a flow that does
    nothing more is the product of the columns' own frequencies, whatever they are, and each column
    by itself is standard normal: only what columns have to do with one another is left to learn.

    ``initialise`` reads the frequencies. None is below 1/4096, or 0.05 shared by all cells where
    they are many: values that were never seen stay possible, and none is too narrow for float32.

    Shapes: x, z ``(N, D)``; log_det ``(N,)`` in nats.

    Args:
        counts: of the cells of each column.
        low: where each column's first cell begins; 0 if None.
        step: the width of a cell; 1 if None.
    """

    reads_data = True
    weights: Tensor
    fitted: Tensor
    low: Tensor
    step: Tensor
    count: Tensor

    def __init__(
        self,
        counts: Sequence[int],
        low: Sequence[float] | None = None,
        step: Sequence[float] | None = None,
    ) -> None:
        super().__init__(len(counts))
        if min(counts, default=0) < 1:
            raise InputError(f"Cells needs at least one cell in each column; got {list(counts)}.")
        count = torch.tensor(counts, dtype=torch.int64)
        even = (torch.arange(max(counts)) < count[:, None]) / count[:, None].double()
        ends = {"low": low or [0.0] * len(counts), "step": step or [1.0] * len(counts)}
        self.register_buffer("weights", even)  # (D, most cells), 0 beyond a column's own
        self.register_buffer("fitted", torch.tensor(False))
        self.register_buffer("count", count, persistent=False)
        for name, value in ends.items():
            self.register_buffer(name, torch.tensor(value, dtype=torch.float64), persistent=False)

    def bend(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """To the share of the normal that lies below, and to its quantile."""
        at = (x - self.low) / self.step
        k = self._cell(torch.floor(at))
        below, weight = self._looked_up(k)
        p = below + weight * (at - k)
        # The nearer end keeps its digits: the last cell may be narrow.
        above = self._above(k) + weight * (k + 1 - at)
        z = torch.where(p < above, 1.0, -1.0) * torch.special.ndtri(torch.minimum(p, above))
        return z, self._log_slope(weight, z)

    def unbend(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """To the share below, and to the cell that it falls in."""
        p = torch.special.ndtr(z)
        tops = self._edges()[:, 1:].contiguous()  # (D, most cells)
        k = self._cell(torch.searchsorted(tops, p.T.contiguous(), right=True).T.to(z.dtype))
        below, weight = self._looked_up(k)
        # From the nearer end of the normal, as in bend.
        from_above = 1 - (torch.special.ndtr(-z) - self._above(k)) / weight
        within = torch.where(z < 0, (p - below) / weight, from_above)
        x = self.low + (k + torch.clamp(within, 0.0, 1 - 2.0**-40)) * self.step
        # NaN has no place among edges; it is the sum that keeps it.
        return x + 0 * z, self._log_slope(weight, z)

    def _cell(self, index: Tensor) -> Tensor:
        return torch.nan_to_num(index).clamp(min=0).minimum(self.count.double() - 1)

    def _edges(self) -> Tensor:
        """Where each cell begins, and the last ends: ``(D, most cells + 1)``."""
        total = torch.cumsum(self.weights, dim=1)
        return torch.cat((torch.zeros_like(total[:, :1]), total), dim=1)

    def _above(self, k: Tensor) -> Tensor:
        """The share of the cells above cell k, added up from above."""
        above = self.weights.flip(1).cumsum(1).flip(1) - self.weights
        return above.clamp(min=0).T.gather(0, k.long())

    def _looked_up(self, k: Tensor) -> tuple[Tensor, Tensor]:
        """The share below cell k, and its own, each ``(N, D)``."""
        place = k.long()
        return self._edges()[:, :-1].T.gather(0, place), self.weights.T.gather(0, place)

    def _log_slope(self, weight: Tensor, z: Tensor) -> Tensor:
        return torch.log(weight / self.step) + 0.5 * z.square() + 0.5 * math.log(2 * math.pi)

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Count, once; missing cells are left out."""
        if bool(self.fitted) or len(x) == 0:
            return
        k = self._cell(torch.floor((x.double() - self.low) / self.step)).long()
        seen = torch.zeros_like(self.weights).T.contiguous()  # (most cells, D)
        seen.scatter_add_(0, k, (~torch.isnan(x)).double())
        frequency = seen.T / seen.sum(0)[:, None].clamp(min=1)
        own = self.weights > 0
        least = torch.clamp(0.05 / self.count, max=2.0**-12)[:, None]
        weights = torch.where(own, torch.maximum(frequency, least), 0.0)
        self.weights.copy_(weights / weights.sum(1, keepdim=True))
        self.fitted.fill_(True)
