"""The contract of every invertible layer, and the two ways to combine layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from ..errors import InputError

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
    """

    exact: bool = True
    reads_data: bool = False

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

    __call__: Callable[..., tuple[Tensor, Tensor]]


class Chain(Layer):
    r"""Layers one after the other: :math:`f = f_K \circ \dots \circ f_1`, log-dets added."""

    def __init__(self, layers: Iterable[Layer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Apply the layers first to last."""
        total: Tensor | None = None
        for layer in self.layers:
            x, log_det = layer(x, context)
            total = log_det if total is None else total + log_det
        return x, constant_log_det(x, 0.0) if total is None else total

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Apply the inverses last to first."""
        total: Tensor | None = None
        for layer in reversed(self.layers):
            z, log_det = layer.inverse(z, context)  # type: ignore[operator]
            total = log_det if total is None else total + log_det
        return z, constant_log_det(z, 0.0) if total is None else total

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
