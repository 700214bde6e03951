"""Bounded log-scales: what keeps ``exp`` from exploding, forwards and backwards."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["LearnedTanh", "SoftClamp"]


class SoftClamp(nn.Module):
    r"""Bound a log-scale smoothly: :math:`s = \tfrac{2c}{\pi}\arctan\tfrac{\pi h}{2c}`.

    Near zero it is the identity; it never leaves :math:`(-c, c)`, so one layer stretches or
    shrinks by at most :math:`e^c` in either direction. Any shape; no parameters.
    """

    def __init__(self, limit: float = 2.0) -> None:
        super().__init__()
        if not limit > 0:
            raise ValueError(f"SoftClamp needs a limit above 0; got {limit}.")
        self.limit = float(limit)

    def forward(self, h: Tensor) -> Tensor:
        """Bound ``h``, any shape."""
        width = 2 * self.limit / math.pi
        return torch.atan(h / width) * width

    def extra_repr(self) -> str:
        """Show the limit."""
        return f"limit={self.limit}"


class LearnedTanh(nn.Module):
    r"""The log-scale of the Real NVP paper: :math:`s = a \tanh h`, one learned scalar :math:`a`.

    The authors start ``a`` at 0 for checkerboard couplings, which then begin as pure shifts, and
    at 1 for channel-wise ones. Their L2 penalty acts on the former only, for which ``decay`` is.

    Source: Dinh et al. 2017, section 4.1, and the authors' released code.
    """

    def __init__(self, initial: float = 1.0, *, decay: bool = False) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(float(initial)))
        self.decayed = ("scale",) if decay else ()

    def forward(self, h: Tensor) -> Tensor:
        """Bound ``h``, any shape."""
        return torch.tanh(h) * self.scale
