"""The coupling layer: the heart of NICE and Real NVP."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from ..elementwise import Affine, Law
from ..errors import InputError
from ..nets.constant import Constant
from .layer import Layer, Shape, same_shape
from .masks import as_mask, split_by

__all__ = ["Conditioner", "Coupling"]

Conditioner = Callable[[Shape, Shape, int], nn.Module]
"""Builds the network of a coupling from (input shape, output shape, context size)."""


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

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Change ``x_b`` given ``x_a``."""
        kept, changed = self.split(x)
        changed, log_slope = self.law(changed, self.conditioner(kept, context))
        return self.split.join(kept, changed), self.split.total(log_slope)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Restore ``x_b`` given ``z_a = x_a``."""
        kept, changed = self.split(z)
        changed, log_slope = self.law.inverse(changed, self.conditioner(kept, context))
        return self.split.join(kept, changed), self.split.total(log_slope)

    def output_shape(self, shape: Shape) -> Shape:
        """Unchanged; anything but the shape it was built for is an error."""
        return same_shape(self, self.shape, shape)

    def extra_repr(self) -> str:
        """Show the event shape."""
        return f"shape={self.shape}"
