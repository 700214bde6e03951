"""Means and variances that batch normalisation keeps: running in training, exact on demand."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["RunningMoments"]


class RunningMoments(nn.Module):
    r"""A running mean and biased variance of C channels, free of start-up bias.

    .. math:: m \leftarrow (1-\rho)\, m + \rho\, \hat\mu, \qquad w \leftarrow (1-\rho)\, w + \rho

    with :math:`m, w` from zero; the estimate is :math:`m / w` (and likewise for the variance), so
    it is a true weighted average of batches from the first one on. Before any batch the estimate
    is mean 0, variance 1.

    Between ``start_exact`` and ``finish_exact`` the module instead adds up count, sum and sum of
    squares in float64 and then stores the exact moments of all that it saw.
    """

    mean: Tensor
    variance: Tensor
    weight: Tensor

    def __init__(self, shape: tuple[int, ...], rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("variance", torch.zeros(shape))
        self.register_buffer("weight", torch.zeros(()))
        self._sums: list[Tensor] | None = None

    @property
    def collecting(self) -> bool:
        """Whether exact moments are being added up."""
        return self._sums is not None

    def estimate(self) -> tuple[Tensor, Tensor]:
        """The mean and variance as they stand."""
        empty = self.weight == 0
        weight = torch.where(empty, 1.0, self.weight)
        return self.mean / weight, torch.where(empty, 1.0, self.variance / weight)

    def blend(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """The estimate after one more batch, with the gradient of that batch's share only."""
        keep = 1 - self.rate
        weight = keep * self.weight + self.rate
        return (
            (keep * self.mean + self.rate * mean) / weight,
            (keep * self.variance + self.rate * variance) / weight,
        )

    @torch.no_grad()
    def update(self, mean: Tensor, variance: Tensor) -> None:
        """Take one more batch into the running averages."""
        self.mean.lerp_(mean.to(self.mean), self.rate)
        self.variance.lerp_(variance.to(self.variance), self.rate)
        self.weight.lerp_(torch.ones_like(self.weight), self.rate)

    def start_exact(self) -> None:
        """Begin to add up exact moments."""
        zeros = torch.zeros_like(self.mean, dtype=torch.float64)
        self._sums = [zeros.clone(), zeros.clone(), zeros.clone()]

    @torch.no_grad()
    def collect(self, count: Tensor | float, total: Tensor, squares: Tensor) -> None:
        """Add the count, sum and sum of squares of a batch, per channel."""
        if self._sums is None:
            raise RuntimeError("collect() comes between start_exact() and finish_exact()")
        for store, value in zip(self._sums, (count, total, squares), strict=True):
            store += value

    @torch.no_grad()
    def finish_exact(self) -> None:
        """Store the exact moments, unless nothing was seen."""
        sums, self._sums = self._sums, None
        if sums is None or not bool((sums[0] > 0).any()):
            return
        count = sums[0].clamp(min=1)
        mean = sums[1] / count
        self.mean.copy_(mean)
        self.variance.copy_((sums[2] / count - mean**2).clamp(min=0))
        self.weight.fill_(1)

    def extra_repr(self) -> str:
        """Show size and rate."""
        return f"shape={tuple(self.mean.shape)}, rate={self.rate}"
