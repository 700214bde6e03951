"""Where missing numbers are drawn: behind a flow's element-wise front, before anything is mixed."""

from __future__ import annotations

import torch
from torch import Tensor

from ...flow import Flow
from ...layers import (
    Chain,
    Dequantize,
    FillMissing,
    Layer,
    Logit,
    Noisy,
    Standardize,
    VariationalDequantize,
)
from ...layers.columns import DequantizeColumns
from ...layers.columnwise import OnColumns

__all__ = ["FillingSpace"]

_ELEMENTWISE = (
    Dequantize,
    DequantizeColumns,
    FillMissing,
    Logit,
    OnColumns,
    Standardize,
    VariationalDequantize,
)


class FillingSpace:
    r"""A flow taken apart into an element-wise front and the rest: real numbers of moderate size.

    .. math:: u_j = g_j(x_j), \qquad \log p(u) = \log p_Z(r(u)) + \log|\det \partial r / \partial u|

    An observed number is the same there, whatever is missing beside it, and the chain moves the
    missing u. An observed discrete value is known up to its place in its cell, which ``shake``
    draws anew. Events are flat there, ``(N, D)``, images too.

    Args:
        flow: any; one whose first layers are not element-wise is taken as it is.
    """

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        layers = list(flow.chain)
        count = next(
            (i for i, layer in enumerate(layers) if not isinstance(layer, _ELEMENTWISE)),
            len(layers),
        )
        front = [_plain(layer) for layer in layers[:count] if not isinstance(layer, FillMissing)]
        self.front, self.rest = Chain(front).to(flow.device), Chain(layers[count:])
        self.front.eval()
        self.noisy = [layer for layer in front if isinstance(layer, Noisy)]
        smooth = [layer for layer in front if not isinstance(layer, Noisy)]
        self.smooth = Chain(smooth)

    def enter(self, x: Tensor) -> Tensor:
        """The u of events ``(N, *shape)``: ``(N, D)``, NaN where x is."""
        gaps = x.isnan()
        # Integers know no NaN: what is put there is replaced before anyone looks.
        u, _ = self.front(x if self.flow.levels is None else torch.where(gaps, 0, x))
        return torch.where(gaps, torch.nan, u).flatten(1)

    @property
    def shakes(self) -> bool:
        """Whether observed numbers have a place in a cell, to be drawn again and again."""
        return len(self.noisy) == 1 and isinstance(self.noisy[0], DequantizeColumns)

    def shake(
        self, x: Tensor, count: int, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """The u of rows, ``(count, N, D)``, each with places in the cells of its own.

        Returns:
            u, and the log-det of the observed numbers from there on, ``(count, N)``.
        """
        (cells,) = self.noisy
        assert isinstance(cells, DequantizeColumns)
        rows = x.double().repeat(count, 1)
        index = torch.round(rows[:, cells.place] * cells.over / cells.times)
        noise = torch.rand(index.shape, generator=generator, dtype=index.dtype, device=index.device)
        spread = (index + noise) * cells.times / cells.over
        u, log_det = self.smooth(rows.index_copy(1, cells.place, spread))
        return u.unflatten(0, (count, -1)), log_det.unflatten(0, (count, -1))

    def leave(self, u: Tensor) -> Tensor:
        """The events ``(N, *shape)`` of complete u, on their grids."""
        return self.front.inverse(u.unflatten(1, self.flow.shape))[0]

    def log_prob(self, u: Tensor, context: Tensor | None = None) -> Tensor:
        """Log-density of u, ``(N,)``; -inf where the layers leave the finite numbers."""
        z, log_det = self.rest(u.unflatten(1, self.flow.shape), context)
        result = self.flow.base.log_prob(z) + log_det
        return torch.where(result.isnan(), -torch.inf, result)

    def slope(self, u: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Log-density of u and its gradient."""
        with torch.enable_grad():
            leaf = u.detach().requires_grad_()
            log_prob = self.log_prob(leaf, context)
            (gradient,) = torch.autograd.grad(log_prob.sum(), leaf)
        return log_prob.detach(), gradient.nan_to_num(0.0, 0.0, 0.0)

    def log_density(self, u: Tensor, context: Tensor | None = None) -> Tensor:
        """Log-density in the units of the data, discrete values spread over their cells."""
        events = u.unflatten(1, self.flow.shape)
        return self.log_prob(u, context) - self.smooth.inverse(events)[1].to(u.dtype)

    def samples(self, n: int, seed: int, context: Tensor | None = None) -> Tensor:
        """Draws of u from the flow, ``(n, D)``."""
        generator = torch.Generator(self.flow.device).manual_seed(seed)
        parts = []
        for start in range(0, n, 2048):
            size = min(2048, n - start)
            part = None if context is None else context[start : start + size]
            parts.append(self.rest.inverse(self.flow.base.sample(size, 1.0, generator), part)[0])
        return torch.cat(parts).flatten(1)


def _plain(layer: Layer) -> Layer:
    """Noise of its own for each number: shaped noise looks at numbers that are not known."""
    if isinstance(layer, VariationalDequantize):
        return Dequantize(layer.levels).to(next(layer.parameters()))
    return layer
