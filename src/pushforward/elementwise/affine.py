"""The affine family of coupling laws, from NICE's additive one to Real NVP's affine one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .bounds import SoftClamp

__all__ = ["Additive", "Affine", "Law", "Multiplicative"]


class Law(nn.Module):
    r"""An invertible scalar map applied to each element, its parameters given from outside.

    .. math:: z_i = \tau(x_i;\; \theta_i)

    Both methods take ``x`` ``(N, C, ...)`` and ``parameters`` ``(N, count * C, ...)``, parameter
    by parameter along the second dimension, and return the mapped elements with
    :math:`\log|\partial z_i / \partial x_i|` (of the map applied), each of the shape of ``x``.
    The arithmetic runs in the precision of ``x``, whatever that of the parameters.
    """

    count: int

    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Map each element of ``x``."""
        raise NotImplementedError

    def inverse(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Undo ``forward``."""
        raise NotImplementedError

    # For backpropagation that restores x from z: see layers/reversible.py.

    def retrace(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Restore x, and apply ``forward`` with a graph from there: ``(x, z, log_slope)``."""
        x = self.inverse(z, parameters.detach())[0].detach().requires_grad_()
        return x, *self(x, parameters)

    def retrace_inverse(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same for ``inverse``: ``(z, x, log_slope)``."""
        z = self(x, parameters.detach())[0].detach().requires_grad_()
        return z, *self.inverse(z, parameters)


class Additive(Law):
    """``z = x + shift``: volume-preserving. Source: Dinh et al. 2014 (NICE), section 3.2."""

    count = 1

    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Add the shift."""
        return x + parameters.to(x.dtype), torch.zeros_like(x)

    def inverse(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Subtract the shift."""
        return z - parameters.to(z.dtype), torch.zeros_like(z)


class Multiplicative(Law):
    """``z = x exp(s)``, s bounded. Source: Dinh et al. 2014 (NICE), section 3.2."""

    count = 1

    def __init__(self, bound: nn.Module | None = None) -> None:
        super().__init__()
        self.bound = SoftClamp() if bound is None else bound

    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Scale."""
        s = self.bound(parameters.to(x.dtype))
        return x * torch.exp(s), s

    def inverse(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Unscale."""
        s = self.bound(parameters.to(z.dtype))
        return z * torch.exp(-s), -s


class Affine(Law):
    """``z = x exp(s) + t``, s bounded. Source: Dinh et al. 2017 (Real NVP), equation 4.

    Parameters come as all shifts ``t``, then all raw log-scales.
    """

    count = 2

    def __init__(self, bound: nn.Module | None = None) -> None:
        super().__init__()
        self.bound = SoftClamp() if bound is None else bound

    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Scale, then shift."""
        t, h = parameters.to(x.dtype).chunk(2, dim=1)
        s = self.bound(h)
        return x * torch.exp(s) + t, s

    def inverse(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Unshift, then unscale."""
        t, h = parameters.to(z.dtype).chunk(2, dim=1)
        s = self.bound(h)
        return (z - t) * torch.exp(-s), -s

    def retrace(self, z: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Both ways with one evaluation of the bound, which costs as much as all the rest."""
        t, h = parameters.to(z.dtype).chunk(2, dim=1)
        s = self.bound(h)
        scale = torch.exp(s)
        x = ((z - t.detach()) / scale.detach()).requires_grad_()
        return x, x * scale + t, s
