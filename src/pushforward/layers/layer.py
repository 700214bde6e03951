"""The contract of every invertible layer, and the two ways to combine layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from .fusion import fused
from .occasion import forked_random
from .reversible import Retraced, leaf
from .segments import check_memory, in_segments

__all__ = ["Chain", "Inverted", "Layer", "Shape", "constant_log_det", "same_shape", "sum_event"]

Shape = tuple[int, ...]


class Layer(nn.Module):
    r"""An invertible map between events, with the logarithm of its Jacobian determinant.

    .. math:: z = f(x;\; c), \qquad \log\left|\det \frac{\partial z}{\partial x}\right|

    ``forward`` maps data to latent and ``inverse`` maps latent to data. Both take
    ``(N, *shape)`` and an optional ``context`` ``(N, K)``, and return the mapped batch with a
    log-determinant of shape ``(N,)`` in nats: that of the map that was applied, so the two
    log-determinants of a round trip cancel. Layers without use for a context accept and ignore it.

    ``exact`` is False where ``log_det`` is one draw of a lower bound (dequantisation);
    ``reads_data`` is True where ``initialise`` sets something.

    ``wants_events`` says of how many events it would read that well; 0: any few will do.

    ``reversible`` says that ``inverse`` restores an input cheaply and to the last digits or so:
    with ``memory="constant"`` the input is then not kept for the way back. ``notes`` is True where
    ``track`` notes something, for which ``inverse`` has no use.

    ``takes_float64`` says that it is made for the digits of float64 whatever the flow's type.
    """

    exact: bool = True
    reads_data: bool = False
    wants_events: int = 0
    reversible: bool = True
    notes: bool = False
    takes_float64: bool = False

    def check(self, x: Tensor, name: str) -> None:
        """Look for values of data that it cannot take; most layers take any.

        Raises:
            InputError: there is one; says of ``name`` which value where, and the way out.
        """

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map data ``(N, *shape)`` to latent; return ``(z, log_det)``."""
        raise NotImplementedError

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map latent to data; return ``(x, log_det)``, the log-det of the inverse map."""
        raise NotImplementedError

    def output_shape(self, shape: Shape) -> Shape:
        """The event shape that ``forward`` makes of ``shape``; raises InputError if it cannot."""
        return shape

    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Set what is read off data before training (once); most layers have nothing to set."""

    # Backpropagation that restores x from z (reversible.py). Most layers need no more than this.

    def track(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Any]:
        """``forward``, and whatever small thing besides z ``retrace`` will want to know."""
        return *self(x, context), None

    def retrace(self, z: Tensor, context: Tensor | None, note: Any) -> Retraced:
        """Restore x from z, and build the graph of ``forward`` there; gradients are enabled."""
        with torch.no_grad(), forked_random(z.device):
            x, _ = self.inverse(z, context)
        x = leaf(x)
        return Retraced((x,), *self(x, context))

    def retrace_inverse(self, x: Tensor, context: Tensor | None) -> Retraced:
        """The same for ``inverse``: restore z from x."""
        with torch.no_grad(), forked_random(x.device):
            z, _ = self(x, context)
        z = leaf(z)
        return Retraced((z,), *self.inverse(z, context))

    __call__: Callable[..., tuple[Tensor, Tensor]]


class Chain(Layer):
    r"""Layers one after the other: :math:`f = f_K \circ \dots \circ f_1`, log-dets added.

    Attributes:
        memory: what a training step keeps for the way back (see ``Flow.memory``).
    """

    _memory: str = "store"
    _place: str = ""

    def __init__(self, layers: Iterable[Layer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    @property
    def memory(self) -> str:
        """``store``, ``checkpoint`` or ``constant``; setting it sets that of all chains within."""
        return self._memory

    @memory.setter
    def memory(self, memory: str) -> None:
        check_memory(memory)
        for name, part in self.named_modules():
            if isinstance(part, Chain):
                part._memory = memory
                # "layers.12.inner" -> "12.", by which messages name the layers within
                part._place = "".join(f"{word}." for word in name.split(".") if word.isdigit())

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Apply the layers first to last."""
        total: Tensor | None = None
        if self._memory != "store" and torch.is_grad_enabled():
            named, items = self._named(), fused(self.layers)
            x, total = in_segments(named, x, context, self._memory, items)
        else:
            for layer in fused(self.layers):
                x, log_det = layer(x, context)
                total = log_det if total is None else total + log_det
        return x, constant_log_det(x, 0.0) if total is None else total

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Apply the inverses last to first."""
        total: Tensor | None = None
        if self._memory != "store" and torch.is_grad_enabled():
            turned = [(name, Inverted(layer)) for name, layer in reversed(self._named())]
            z, total = in_segments(turned, z, context, self._memory)
        else:
            for layer in reversed(fused(self.layers)):
                z, log_det = layer.inverse(z, context)
                total = log_det if total is None else total + log_det
        return z, constant_log_det(z, 0.0) if total is None else total

    def _named(self) -> list[tuple[str, Layer]]:
        return [
            (f"layer {self._place}{index} ({type(layer).__name__})", layer)
            for index, layer in enumerate(self)
        ]

    def output_shape(self, shape: Shape) -> Shape:
        """Follow the shape through every layer; an error names the layer at which it stops."""
        for index, layer in enumerate(self):
            try:
                shape = layer.output_shape(shape)
            except InputError as error:
                raise InputError(f"layer {index} ({type(layer).__name__}): {error}") from None
        return shape

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Initialise each layer on what the layers before it make of ``x``."""
        waiting = [any(getattr(m, "reads_data", False) for m in la.modules()) for la in self]
        for index, layer in enumerate(self):
            if not any(waiting[index:]):
                return
            layer.initialise(x, context)
            x, _ = layer(x, context)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: int) -> Layer:
        return self.layers[index]  # type: ignore[return-value]


class Inverted(Layer):
    """A layer turned round: its ``forward`` is the other's ``inverse``.

    ``initialise`` leaves it as it is: what a layer reads off its input is defined for the way from
    data to latent only.
    """

    def __init__(self, layer: Layer, shape: Shape | None = None) -> None:
        super().__init__()
        self.layer = layer
        self.shape = shape if shape is None else tuple(shape)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Apply the wrapped layer's inverse."""
        return self.layer.inverse(x, context)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Apply the wrapped layer's forward."""
        return self.layer(z, context)

    @property
    def reversible(self) -> bool:  # type: ignore[override]
        """Whether the wrapped layer is, and its inverse needs no notes."""
        return self.layer.reversible and not self.layer.notes

    def retrace(self, z: Tensor, context: Tensor | None, note: Any) -> Retraced:
        """Restore the wrapped layer's z."""
        return self.layer.retrace_inverse(z, context)

    def retrace_inverse(self, x: Tensor, context: Tensor | None) -> Retraced:
        """Restore the wrapped layer's x."""
        return self.layer.retrace(x, context, None)

    def output_shape(self, shape: Shape) -> Shape:
        """The shape that the wrapped layer takes: ``self.shape``, or the same if None."""
        result = shape if self.shape is None else self.shape
        if self.layer.output_shape(result) != shape:
            raise InputError(
                f"Inverted({type(self.layer).__name__}) got events of shape {shape}, which that "
                f"layer does not make of {result}; give Inverted the shape that the layer takes."
            )
        return result


def sum_event(values: Tensor) -> Tensor:
    """Sum over everything but the batch: ``(N, *shape) -> (N,)``."""
    return values.sum(dim=tuple(range(1, values.ndim)))


def constant_log_det(x: Tensor, value: float | Tensor) -> Tensor:
    """A log-det that is the same for each of the N events of ``x``: ``(N,)``, at least float32."""
    if isinstance(value, Tensor):
        return value.expand(x.shape[0])
    dtype = torch.promote_types(x.dtype, torch.float32) if x.is_floating_point() else torch.float32
    return torch.full((x.shape[0],), value, dtype=dtype, device=x.device)


def same_shape(layer: Layer, built_for: Shape, shape: Shape) -> Shape:
    """The ``output_shape`` of a layer that keeps the one shape it was built for."""
    if shape != built_for:
        raise InputError(
            f"{type(layer).__name__} was built for events of shape {built_for}; got {shape}."
        )
    return shape
