"""Maps of single columns: what bounded, heavy-tailed and discrete columns have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..errors import InputError
from .layer import Layer, Shape, same_shape

__all__ = ["Columnwise", "OnColumns", "in_float64", "observed"]

M = TypeVar("M", bound=nn.Module)


class Columnwise(Layer):
    r"""An increasing map of each column by itself.

    .. math:: z_j = f_j(x_j), \qquad \log|\det| = \sum_j \log f_j'(x_j)

    over the columns that are not missing: NaN stays NaN and adds nothing. Computed in float64,
    whose digits it keeps where it is given them; log_det has the flow's type.

    Shapes: x, z ``(N, D)``; log_det ``(N,)`` in nats.
    """

    reversible = False  # it comes first, and has no gradient to give
    takes_float64 = True
    anchor: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("anchor", torch.zeros(()), persistent=False)

    def bend(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z and the logarithm of the slope, each ``(N, D)`` float64."""
        raise NotImplementedError

    def unbend(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """x, and the logarithm of the slope of ``bend`` there."""
        raise NotImplementedError

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Bend each column."""
        z, log_slope = self.bend(x.double())
        return z.to(self._kind(x)), self._total(log_slope, x)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Bend it back."""
        x, log_slope = self.unbend(z.double())
        return x.to(self._kind(z)), -self._total(log_slope, z)

    def _kind(self, x: Tensor) -> torch.dtype:
        return torch.promote_types(x.dtype, self.anchor.dtype)

    def _total(self, log_slope: Tensor, x: Tensor) -> Tensor:
        return torch.where(torch.isnan(x), 0.0, log_slope).sum(1).to(self.anchor.dtype)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Columnwise:
        """Go to another device, but not to another type."""
        names = [name for name, b in self._buffers.items() if b is not None and name != "anchor"]
        return in_float64(self, super()._apply, fn, recurse, names)

    def output_shape(self, shape: Shape) -> Shape:
        """Unchanged; anything but the columns it was built for is an error."""
        return same_shape(self, (self.size,), shape)

    def check_columns(self, x: Tensor, name: str, places: Sequence[int]) -> None:
        """Look for values that a column cannot hold; most maps take any.

        Raises:
            InputError: there is one; names the column by its number among ``places``.
        """

    def extra_repr(self) -> str:
        """Show the number of columns."""
        return f"{self.size}"


class OnColumns(Layer):
    """Some columns through one layer, some through another, the rest as they are.

    Args:
        shape: ``(D,)``.
        parts: places and the layer that takes them; no place twice.

    Shapes: x, z ``(N, D)``; log_det ``(N,)`` in nats.
    """

    reversible = False
    takes_float64 = True
    taken: Tensor
    order: Tensor

    def __init__(self, shape: Shape, parts: Sequence[tuple[Sequence[int], Columnwise]]) -> None:
        super().__init__()
        self.shape = tuple(shape)
        taken = [place for places, _ in parts for place in places]
        if len(set(taken)) < len(taken) or not set(taken) <= set(range(self.shape[0])):
            raise InputError(
                f"OnColumns wants each of its {self.shape[0]} columns at most once; got {taken}."
            )
        self.places = [list(places) for places, _ in parts]
        self.rest = [place for place in range(self.shape[0]) if place not in set(taken)]
        self.layers = nn.ModuleList(layer for _, layer in parts)
        order = torch.tensor([*taken, *self.rest], dtype=torch.int64)
        self.register_buffer("taken", order, persistent=False)
        self.register_buffer("order", torch.argsort(order), persistent=False)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Apply each layer to its columns."""
        return self._apart(x, "forward")

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Apply their inverses."""
        return self._apart(z, "inverse")

    def _apart(self, x: Tensor, way: str) -> tuple[Tensor, Tensor]:
        sizes = [*map(len, self.places), len(self.rest)]
        *groups, rest = x.index_select(1, self.taken).split(sizes, dim=1)
        done = [
            getattr(layer, way)(group) for group, layer in zip(groups, self.layers, strict=True)
        ]
        ends = torch.cat([*(z for z, _ in done), rest], dim=1)
        log_det = torch.stack([log_det for _, log_det in done]).sum(0)
        return ends.index_select(1, self.order), log_det

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Let each layer look at its columns."""
        for places, layer in zip(self.places, self.layers, strict=True):
            layer.initialise(x[:, places])  # type: ignore[operator]

    def check(self, x: Tensor, name: str) -> None:
        """Look for values that a column cannot hold.

        Raises:
            InputError: there is one; names the column, the value, and the way out.
        """
        for places, layer in zip(self.places, self.layers, strict=True):
            layer.check_columns(x[:, places], name, places)  # type: ignore[operator]

    def output_shape(self, shape: Shape) -> Shape:
        """Unchanged; anything but the shape it was built for is an error."""
        return same_shape(self, self.shape, shape)

    def extra_repr(self) -> str:
        """Show which columns go where."""
        return f"{self.places}"


def observed(x: Tensor) -> Tensor:
    """``x`` with one and the same number in place of every NaN, of which there are many kinds."""
    return torch.where(torch.isnan(x), -7.0e77, x)


def in_float64(
    module: M,
    apply: Callable[[Callable[[Tensor], Tensor], bool], Any],
    fn: Callable[[Tensor], Tensor],
    recurse: bool,
    names: Sequence[str],
) -> M:
    """What ``_apply`` does, but for the type of these buffers: they go to the device only."""
    kept = {name: getattr(module, name) for name in names}
    apply(fn, recurse)
    for name, value in kept.items():
        setattr(module, name, value.to(getattr(module, name).device))
    return module
