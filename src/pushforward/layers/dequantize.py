"""From integers to real numbers: the first layer of a flow over discrete data."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..errors import InputError
from .layer import constant_log_det
from .noisy import Noisy

__all__ = ["Dequantize"]


class Dequantize(Noisy):
    r"""Spread each integer over its cell: :math:`x = (v + u) / L`, u uniform in (0, 1).

    .. math:: \log P(v) \ge \mathbb{E}_u \log p\!\left(\tfrac{v+u}{L}\right) - D \log L

    The flow's log_prob is then one draw of this lower bound on a discrete log-probability, so
    ``exact`` is False. In evaluation the noise of an event is the same at every call (noisy.py).
    ``inverse`` is :math:`v = \lfloor L x \rfloor`, clipped to the levels.

    Shapes: v ``(N, *shape)`` with integers 0 to L-1 (of any dtype), x ``(N, *shape)``.
    Source: Theis et al. 2016, section 3.1; Dinh et al. 2017 (Real NVP), section 4.1.

    Args:
        levels: L, the number of integer levels, at least 2.
    """

    levels: int

    def __init__(self, levels: int = 256) -> None:
        super().__init__()
        if not isinstance(levels, int) or levels < 2:
            raise InputError(f"Dequantize needs a whole number of at least 2 levels; got {levels}.")
        self.levels = levels

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Integers to reals in (0, 1)."""
        # v + u must be exact, with digits to spare for the way back: 2^21 (float32) or 2^44 steps.
        digits = 44 if self.dtype == torch.float64 else 21
        noise = self.uniform(x, bits=max(6, digits - math.ceil(math.log2(self.levels))))
        log_det = -math.log(self.levels) * math.prod(x.shape[1:])
        z = (x.to(self.dtype) + noise) / self.levels
        return z, constant_log_det(z, log_det)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Reals to the integers whose cells they lie in."""
        kind = torch.uint8 if self.levels <= 256 else torch.int32
        v = (z * self.levels).floor().clamp(0, self.levels - 1).to(kind)
        return v, constant_log_det(z, math.log(self.levels) * math.prod(z.shape[1:]))

    def extra_repr(self) -> str:
        """Show the number of levels."""
        return f"levels={self.levels}"
