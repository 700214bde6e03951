"""The coupling layer: the heart of NICE and Real NVP."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..elementwise import Affine, Law
from ..errors import InputError
from ..nets.constant import Constant
from .layer import Layer, Shape, same_shape
from .masks import as_mask, split_by
from .reversible import Retraced, leaf

__all__ = ["Conditioner", "Coupling", "conditioners_in"]

Conditioner = Callable[[Shape, Shape, int], nn.Module]
"""Builds the network of a coupling from (input shape, output shape, context size)."""

_Retrace = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


class Coupling(Layer):
    r"""Change one part of x by an element-wise map whose parameters the other part decides.

    .. math:: z_a = x_a, \qquad z_b = \tau(x_b;\; c(x_a)), \qquad
              \log|\det| = \sum_{i \in b} \log \tau'(x_i)

    Shapes: x, z ``(N, *shape)``; log_det ``(N,)`` in nats.
    Source: Dinh et al. 2014 (NICE), section 3.2; Dinh et al. 2017 (Real NVP), equations 4 to 8.

    Args:
        shape: the event shape, ``(D,)`` or ``(C, H, W)``.
        mask: a name (``half``, ``alternating``, ``checkerboard``, ``channels``) or any Boolean
            tensor of ``shape``; True is kept. Masks along the first dimension cost a slice.
        conditioner: called with (input shape, output shape, context size), it builds the network;
            its output has ``law.count`` numbers for each changed element. A partial
            application such as ``partial(MLP, hidden=(64, 64))`` is the usual form.
        law: the element-wise map; ``Affine()`` by default.
        flip: exchange the kept and the changed part.
        context: how many numbers of context the conditioner sees beside the kept part.

    Attributes:
        precision: the type that the conditioner computes in, None for its own; the law computes
            in that of ``x`` (see ``conditioners_in``).

    Raises:
        InputError: the mask is unknown, of another shape, or changes nothing.
    """

    def __init__(
        self,
        shape: Shape,
        mask: Tensor | str,
        conditioner: Conditioner,
        law: Law | None = None,
        *,
        flip: bool = False,
        context: int = 0,
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        boolean = as_mask(mask, self.shape, flip)
        if bool(boolean.all()):
            raise InputError(
                f"Coupling on events of shape {self.shape} would change nothing: its mask keeps "
                f"every element. Flip the mask or choose another one."
            )
        self.split = split_by(boolean)
        self.law = Affine() if law is None else law
        channels, *rest = self.split.changed_shape
        out_shape = (self.law.count * channels, *rest)
        nothing_to_see = not boolean.any() and context == 0
        self.conditioner = (Constant if nothing_to_see else conditioner)(
            self.split.kept_shape, out_shape, context
        )
        self.precision: torch.dtype | None = None

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Change ``x_b`` given ``x_a``."""
        kept, changed = self.split(x)
        changed, log_slope = self.law(changed, self._parameters_for(kept, context))
        return self.split.join(kept, changed), self.split.total(log_slope)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Restore ``x_b`` given ``z_a = x_a``."""
        kept, changed = self.split(z)
        changed, log_slope = self.law.inverse(changed, self._parameters_for(kept, context))
        return self.split.join(kept, changed), self.split.total(log_slope)

    def retrace(self, z: Tensor, context: Tensor | None, note: Any) -> Retraced:
        """Restore x with one evaluation of the conditioner, which sees the same in x and in z."""
        return self._retrace(z, context, self.law.retrace)

    def retrace_inverse(self, x: Tensor, context: Tensor | None) -> Retraced:
        """Restore z in the same way."""
        return self._retrace(x, context, self.law.retrace_inverse)

    def _retrace(self, end: Tensor, context: Tensor | None, retrace: _Retrace) -> Retraced:
        kept, changed = self.split(end)
        kept = leaf(kept)
        start, changed, log_slope = retrace(changed, self._parameters_for(kept, context))
        end, log_det = self.split.join(kept, changed), self.split.total(log_slope)
        return Retraced((kept, start), end, log_det, self.split.join)

    def _parameters_for(self, kept: Tensor, context: Tensor | None) -> Tensor:
        if self.precision is None:
            return self.conditioner(kept, context)
        with torch.autocast(kept.device.type, dtype=self.precision):
            parameters: Tensor = self.conditioner(kept, context)
        return parameters.to(kept.dtype)

    def output_shape(self, shape: Shape) -> Shape:
        """Unchanged; anything but the shape it was built for is an error."""
        return same_shape(self, self.shape, shape)

    def extra_repr(self) -> str:
        """Show the event shape."""
        return f"shape={self.shape}"


@contextlib.contextmanager
def conditioners_in(flow: nn.Module, precision: torch.dtype | None) -> Iterator[None]:
    """Within it, the conditioner of every coupling computes in a lower precision (autocast).

    Weights, laws, log-dets and the statistics of batch norms stay float32; a float64 flow stays
    float64 altogether. Each coupling inverts as accurately as before, from the same kept part. But
    a kept part that has itself been restored to seven digits may round to another bfloat16, so
    through many couplings the way back is rougher: meant for training, not for encoding.

    Args:
        flow: a ``Flow`` or any module; what its couplings had before is restored afterwards.
        precision: ``torch.bfloat16``, ``torch.float16``, or None for the flow's own.

    Raises:
        InputError: another type.
    """
    if precision not in (None, torch.bfloat16, torch.float16):
        raise InputError(
            f"conditioners_in got {precision}; conditioners can run in torch.bfloat16 or "
            f"torch.float16, or in the flow's own type (None)."
        )
    before = [(m, m.precision) for m in flow.modules() if isinstance(m, Coupling)]
    try:
        for coupling, _ in before:
            coupling.precision = precision
        yield
    finally:
        for coupling, old in before:
            coupling.precision = old
