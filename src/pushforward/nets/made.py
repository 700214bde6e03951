"""The masked MLP of autoregressive layers: each output sees the earlier numbers of a row only."""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ..errors import InputError
from .activations import activation as make_activation

__all__ = ["MADE", "Order", "as_order"]

_Apply = Callable[["_Masked", int, Tensor], Tensor]

Order = str | Sequence[int] | Tensor
"""``natural``, ``reversed``, or the position of each number: a permutation of 0 .. D-1."""


def as_order(order: Order, size: int) -> Tensor:
    """The position of each of ``size`` numbers, from a word or from a permutation.

    Raises:
        InputError: neither of them.
    """
    if isinstance(order, str):
        if order not in ("natural", "reversed"):
            raise InputError(
                f"an order is 'natural', 'reversed' or the position of each number; got {order!r}."
            )
        positions = torch.arange(size)
        return positions if order == "natural" else positions.flip(0)
    positions = torch.as_tensor(order, dtype=torch.long)
    if positions.ndim != 1 or sorted(positions.tolist()) != list(range(size)):
        raise InputError(
            f"the order of {size} numbers is each of 0 to {size - 1} once; got "
            f"{positions.tolist()}."
        )
    return positions


class MADE(nn.Module):
    r"""An MLP whose output for the number at position d depends on earlier positions only.

    .. math:: h_1 = \phi\left((W_1 \odot M_1)\, x + C c + b_1\right), \quad \dots, \quad
              \theta = (W_L \odot M_L)\, h_{L-1} + b_L

    Every unit has a degree, how many positions it sees: it listens to units of its own degree or a
    lower one, and the parameters of position d to units of degree d or lower (counted from 0).
    Degrees are spread evenly. The context enters the first layer, free of masks; some units of
    degree 0 hand it to the first position. With ``residual=True`` the hidden layers after the
    first are blocks :math:`h + W' \phi(W \phi(h))`. The last layer starts at zero.

    Shapes: x ``(N, D)`` and context ``(N, context)`` -> ``(N, count * D)``, parameter by parameter
    as element-wise laws take them.

    It computes in its own precision under autocast too: an inverse restores a row number by
    number, and would feed bfloat16's roundings back to itself D times.

    Source: Germain et al. 2015 (MADE), section 4; residual blocks as in Durkan et al. 2019.

    Args:
        size: D.
        count: parameters of each number.
        context: size of the context.
        hidden: widths of the hidden layers; with ``residual`` one width, of the first layer and of
            the blocks after it.
        order: see ``Order``.
        residual: blocks instead of plain layers.
        activation: a name in ``ACTIVATIONS``.
        dropout: probability, after each activation.

    Raises:
        InputError: an order that is none; in use, a context that is missing.
    """

    position: Tensor

    def __init__(
        self,
        size: int,
        count: int = 1,
        context: int = 0,
        *,
        hidden: Sequence[int] = (128, 128),
        order: Order = "natural",
        residual: bool = False,
        activation: str = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        hidden = tuple(hidden)
        if not hidden or (residual and len(set(hidden)) > 1):
            raise ValueError(
                f"MADE needs hidden layers, with residual=True all of one width; got {hidden}."
            )
        self.size, self.count = size, count
        self.register_buffer("position", as_order(order, size))
        # Degrees rise from unit to unit; those of numbers follow from their positions.
        widths = [hidden[0], *(w for w in hidden[1:] for _ in range(2 if residual else 1))]
        self.degrees = [_spread(width, size, context > 0) for width in widths]
        # The units of each degree, layer by layer.
        self.units = [
            [slice(bisect_left(row, d), bisect_right(row, d)) for d in range(size)]
            for row in self.degrees
        ]
        self.layers = nn.ModuleList(_Masked(a, b) for a, b in itertools.pairwise([size, *widths]))
        self.context = nn.Linear(context, widths[0], bias=False) if context else None
        self.last = _Masked(widths[-1], count * size)
        self._mask()
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.residual = residual
        self.activation = make_activation(activation)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """All parameters in one pass: ``(N, D) -> (N, count * D)``."""
        with torch.autocast(x.device.type, enabled=False):
            return self._network(x, self._seen(context), lambda layer, _, h: layer(h))

    def _mask(self) -> None:
        """Who listens to whom."""
        first, *others = self._masked()
        degrees = [torch.tensor(row) for row in self.degrees]
        position = self.position.cpu()
        first.listen(position + 1, degrees[0])
        for layer, (before, after) in zip(others, itertools.pairwise(degrees), strict=True):
            layer.listen(before, after)
        self.last.listen(degrees[-1], position.repeat(self.count))

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._mask()  # by the order that was loaded

    def _masked(self) -> list[_Masked]:
        return cast("list[_Masked]", list(self.layers))

    def _seen(self, context: Tensor | None) -> Tensor | None:
        if self.context is None:
            return None
        if context is None:
            raise InputError("this MADE takes a context, one row per event, and got none.")
        with torch.autocast(context.device.type, enabled=False):
            seen: Tensor = self.context(context.to(self.context.weight.dtype))
        return seen

    def in_turn(self, n: int, context: Tensor | None = None) -> InTurn:
        """The parameters position by position, for rows that are not yet known."""
        return InTurn(self, n, context)

    def _network(self, x: Tensor, seen: Tensor | None, apply: _Apply) -> Tensor:
        """The whole network; ``apply(layer, index, h)`` is what a masked layer does to h."""
        first, *layers = self._masked()
        h = apply(first, 0, x)
        if seen is not None:
            h = h + seen
        if self.residual:
            for index in range(0, len(layers), 2):
                inner = apply(layers[index], index + 1, self.activation(h))
                inner = self.dropout(self.activation(inner))
                h = h + apply(layers[index + 1], index + 2, inner)
        else:
            for index, layer in enumerate(layers, 1):
                h = apply(layer, index, self.dropout(self.activation(h)))
        return apply(self.last, len(self.layers), self.dropout(self.activation(h)))


class InTurn:
    """A MADE at work on rows that become known one number at a time, in the order of positions.

    Once a number is known, the units that it completes are computed and kept: all D turns together
    multiply as often as one pass over the whole rows does.
    """

    def __init__(self, made: MADE, n: int, context: Tensor | None) -> None:
        self.made, self.position = made, 0
        order = torch.argsort(made.position)
        first, *others = [layer.weight for layer in made._masked()]
        self.weights = [first.index_select(1, order), *others]  # columns by position
        # (count * D, H) by number -> (D, count, H) by position
        last, bias = (
            part.unflatten(0, (made.count, made.size)).index_select(1, order).transpose(0, 1)
            for part in (made.last.weight, made.last.bias)
        )
        self.last, self.bias = last, bias
        self.seen = made._seen(context)
        self.known = [last.new_empty(n, 0) for _ in range(len(self.weights) + 1)]

    def next(self, column: Tensor | None) -> Tensor:
        """The parameters of the next position, ``(N, count)``.

        Args:
            column: the number at the position before, ``(N, 1)``; None at the first.
        """
        with torch.autocast(self.last.device.type, enabled=False):
            seen = None if self.seen is None else self.seen[:, self._complete(0)]
            new = self.known[0] if column is None else column.to(self.last.dtype)
            theta = self.made._network(new, seen, self._apply)
        self.position += 1
        return theta

    def _apply(self, layer: _Masked, index: int, h: Tensor) -> Tensor:
        """The units of a layer whose inputs are known by now, and were not before."""
        known = self.known[index] = torch.cat((self.known[index], h), dim=1)
        if layer is self.made.last:
            weight, bias = self.last[self.position], self.bias[self.position]
        else:
            rows = self._complete(index)
            weight, bias = self.weights[index][rows], layer.bias[rows]
        return linear(known, weight[:, : known.shape[1]], bias)

    def _complete(self, index: int) -> slice:
        return self.made.units[index][self.position]


class _Masked(nn.Linear):
    """A linear layer in which a unit listens to inputs of its own degree or a lower one."""

    mask: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.register_buffer("mask", torch.ones_like(self.weight), persistent=False)

    def listen(self, inputs: Tensor, outputs: Tensor) -> None:
        """Set the mask by the degrees of inputs and outputs."""
        self.mask.copy_(outputs[:, None] >= inputs)
        if not self.mask.any() and "weight" in self._parameters:
            # Rows of one number: there is nobody to listen to, and no weight to learn.
            del self.weight
            self.register_buffer("weight", torch.zeros_like(self.mask), persistent=False)

    def forward(self, h: Tensor) -> Tensor:
        """``(N, I) -> (N, O)``."""
        return linear(h, self.weight * self.mask, self.bias)


def _spread(width: int, size: int, context: bool) -> list[int]:
    """Rising degrees, evenly spread; those who see no position are of use with a context only."""
    low = 0 if context or size == 1 else 1
    degrees = [size - 1 - (width - 1 - unit) * (size - low) // width for unit in range(width)]
    return [low, *degrees[1:]] if width > 1 else degrees
