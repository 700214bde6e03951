"""Dequantisation by noise that a flow of its own shapes to fit the event: Flow++'s."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from ..elementwise import Affine, Law
from ..errors import InputError
from ..nets import MLP, ConvNet
from ..nets.gated import GatedConv
from .coupling import Conditioner, Coupling
from .layer import Chain, Inverted, Layer, Shape, same_shape, sum_event
from .linear import LULinear
from .noisy import Noisy
from .reshape import OrderedSqueeze

__all__ = ["VariationalDequantize"]

_STEEPNESS = 1.702
"""Where the logistic function of a standard normal number is nearest to uniform."""

_MOST_LEVELS = 2**20
"""Of more, float32 has too few digits for v + u: the margins would take up the whole cell."""


class VariationalDequantize(Noisy):
    r"""Spread each integer over its cell by learned noise: :math:`x = (v + u) / L`.

    .. math:: \log P(v) \ge \mathbb{E}_{u \sim q(\cdot \mid v)} \left[
              \log p\!\left(\tfrac{v+u}{L}\right) - D \log L - \log q(u \mid v) \right],
              \qquad u = \sigma(1.702\, g(\epsilon;\; v)), \quad \epsilon \sim N(0, I)

    g is a flow of couplings that see v beside the part they keep. The bound is tight where q is the
    model's own density within the cell; uniform noise (``Dequantize``) is the case of constant q.
    Training learns q with the flow. At the start g is the identity and u nearly uniform.
    What is drawn from the flow is rounded down, so that sampling does not need q at all.

    An image of even sides is squeezed for g, and v enters as a map of features, made by three gated
    convolutions, that is put beside the kept channels; of other images g sees a checkerboard. A row
    enters as it is. A context of the flow is not seen by q, which only loosens the bound.

    Shapes: v ``(N, *shape)`` with integers 0 to L-1 (of any dtype), x ``(N, *shape)``.
    Source: Ho et al. 2019 (Flow++), section 3.1; Winkler et al. 2019.

    Args:
        shape: the event shape.
        levels: L, 2 to 1,048,576.
        couplings: of g.
        width: feature maps of what v is turned into.
        conditioner: of the couplings; a small ``ConvNet`` or ``MLP`` if None.
        law: makes the law of each coupling; ``Affine`` if None.
    """

    levels: int

    def __init__(
        self,
        shape: Shape,
        levels: int = 256,
        *,
        couplings: int = 4,
        width: int = 32,
        conditioner: Conditioner | None = None,
        law: Callable[[], Law] | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(levels, int) or not 2 <= levels <= _MOST_LEVELS:
            raise InputError(
                f"VariationalDequantize needs a whole number of 2 to {_MOST_LEVELS:,} levels; got "
                f"{levels}."
            )
        self.shape, self.levels = tuple(shape), levels
        inner, front, back, mask = _inside(self.shape)
        if len(shape) == 1:
            net: Conditioner = conditioner or partial(MLP, hidden=(64, 64))
            seen = inner[0]
            self.features: nn.Module = nn.Identity()
        else:
            net = partial(_Beside, conditioner or partial(ConvNet, width=width))
            seen = width
            first = nn.Conv2d(inner[0], width, 3, padding=1)
            self.features = nn.Sequential(first, *(GatedConv(width) for _ in range(3)))
        steps: list[Layer] = []
        for index in range(couplings):
            flip = index % 2 == 1 and math.prod(inner) > 1
            steps += [LULinear(inner[0], seed=None)] if inner[0] > 1 else []
            steps.append(Coupling(inner, mask, net, (law or Affine)(), flip=flip, context=seen))
        self.squeeze = Chain(front)
        self.noise_flow = Chain([*front, *steps, *back])

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Integers to reals in (0, 1)."""
        v = x.to(self.dtype)
        noise = self.normal(x)
        y, log_det = self.noise_flow(noise, self._seen(v))
        y = _STEEPNESS * y
        # v + u must round to neither end of the cell, or it would not be v that is restored.
        margin = 2 * self.levels * torch.finfo(self.dtype).eps
        u = margin + (1 - 2 * margin) * torch.sigmoid(y)
        log_slope = logsigmoid(y) + logsigmoid(-y) + math.log(_STEEPNESS * (1 - 2 * margin))
        log_normal = -0.5 * (noise.square() + math.log(2 * math.pi))
        log_q = log_normal - log_slope
        log_det = log_det - sum_event(log_q) - math.log(self.levels) * math.prod(self.shape)
        return (v + u) / self.levels, log_det

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Reals to the integers whose cells they lie in; log_det as of uniform noise."""
        kind = torch.uint8 if self.levels <= 256 else torch.int32
        v = (z * self.levels).floor().clamp(0, self.levels - 1).to(kind)
        log_det = z.new_full((len(z),), math.log(self.levels) * math.prod(self.shape))
        return v, log_det

    def _seen(self, v: Tensor) -> Tensor:
        """What the couplings see of v: numbers of a row, or a map of an image's features."""
        seen: Tensor = self.features(self.squeeze(v / self.levels - 0.5)[0])
        return seen

    def output_shape(self, shape: Shape) -> Shape:
        """Unchanged; anything but the shape it was built for is an error."""
        return same_shape(self, self.shape, shape)

    def extra_repr(self) -> str:
        """Show shape and levels."""
        return f"shape={self.shape}, levels={self.levels}"


def _inside(shape: Shape) -> tuple[Shape, list[Layer], list[Layer], str]:
    """The shape in which the noise flow couples, the layers there and back, and its mask."""
    if len(shape) == 1 or shape[1:] == (1, 1):
        return shape, [], [], "half"
    channels, height, width = shape
    if height % 2 or width % 2:
        return shape, [], [], "checkerboard"
    squeezed = (4 * channels, height // 2, width // 2)
    # Its two halves of the channels are the two colours of the checkerboard, without the zeros.
    return squeezed, [OrderedSqueeze()], [Inverted(OrderedSqueeze(), shape)], "half"


class _Beside(nn.Module):
    """A conditioner whose context is a map of features, put beside the kept channels."""

    def __init__(self, net: Conditioner, in_shape: Shape, out_shape: Shape, features: int) -> None:
        super().__init__()
        self.net = net((in_shape[0] + features, *in_shape[1:]), out_shape, 0)

    def forward(self, kept: Tensor, features: Tensor) -> Tensor:
        """Compute the parameters."""
        result: Tensor = self.net(torch.cat((kept, features), dim=1))
        return result
