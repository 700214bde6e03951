"""Batch norm with gain and shift, whose statistics are the library's own."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from ..moments import RunningMoments

__all__ = ["BatchNorm"]


class BatchNorm(nn.Module):
    r"""Normalise each channel by the batch in training, by running averages in evaluation.

    .. math:: y = \gamma\, \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + \beta

    The averages are ``RunningMoments``: of the biased variance, free of start-up bias, exact on
    demand (``recalibrate``), shared by the processes of a run, and restored where backpropagation
    in constant memory evaluates a network twice. torch's own batch norm has none of this; its
    kernel does the arithmetic.

    Shapes: ``(N, C)`` with ``rank=1``, ``(N, C, H, W)`` with ``rank=3``.
    Source: Ioffe and Szegedy 2015.
    """

    def __init__(
        self, channels: int, *, rank: int = 3, eps: float = 1e-5, rate: float = 0.1
    ) -> None:
        super().__init__()
        self.moments = RunningMoments((channels, *(1 for _ in range(rank - 1))), rate)
        self.gain = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise, scale and shift."""
        if self.moments.calibrating:
            self.moments.calibrate(x.detach())
        if self.training and self.moments.takes(x):
            return self._by_batch(x)
        mean, variance = (moment.flatten() for moment in self.moments.estimate())
        return batch_norm(x, mean, variance, self.gain, self.shift, False, 0.0, self.eps)

    def _by_batch(self, x: Tensor) -> Tensor:
        if self.moments.group is None:
            y, mean, inverse = torch.native_batch_norm(
                x, self.gain, self.shift, None, None, True, 0.0, self.eps
            )
            # The kernel gives 1 / sqrt(variance + eps), of the biased variance.
            variance = (inverse.detach() ** -2 - self.eps).clamp(min=0)
            like = self.moments.mean
            self.moments.update(mean.detach().reshape_as(like), variance.reshape_as(like))
            return y
        mean, variance, events = self.moments.of_batch(x)
        if not len(x) and not int(events):
            return x
        self.moments.update(mean.detach(), variance.detach())
        y = (x - mean) * torch.rsqrt(variance + self.eps)
        shape = self.moments.mean.shape
        return (y * self.gain.reshape(shape) + self.shift.reshape(shape)).to(x.dtype)

    def extra_repr(self) -> str:
        """Show the channels."""
        return f"{self.gain.numel()}"
