r"""Layers over rows with their gradients written out: what a ``RowStack`` is made of.

A step works on a batch ``x`` ``(N, D)`` that belongs to the stack:

* without a tape it may change ``x`` in place, and nothing is kept;
* with a tape it leaves ``x`` as it is and puts on the tape what its gradient needs. ``backward``
  takes it off again, last step first.

``log_det`` ``(N,)`` is added to in place. The layers themselves are the reference: each step
computes what its layer does, in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..elementwise import Affine, SoftClamp
from ..nets import MLP
from ..nets.by_hand import MLPByHand
from .coupling import Coupling
from .linear import Flip, Permutation
from .masks import SliceSplit
from .norm import ActNorm

__all__ = ["Gradients", "Step", "Tape", "Weights", "step_for"]

Weights = Sequence[Tensor]
Tape = list[Tensor]
Context = Tensor | None
Found = Sequence[Tensor | None]


@dataclass
class Gradients:
    """What flows back through the steps.

    Attributes:
        x: by the batch, ``(N, D)``; it belongs to the stack and is changed in place.
        log_det: by the log-det, ``(N, 1)``; the same at every step.
        context: by the context ``(N, K)``, or None where nobody asks for it.
        wanted: whether those of the weights are asked for.
    """

    x: Tensor
    log_det: Tensor
    context: Context
    wanted: bool


class Step:
    """One layer, as the stack applies it.

    Attributes:
        slots: where its weights are read, at each pass.
        size: of the rows that it takes; 0 for any.
        widest: the width of its widest activation.
    """

    slots: Sequence[tuple[dict[str, Any], str]] = ()
    size: int = 0
    widest: int = 0

    def ready(self, context: Context) -> bool:
        """Whether the layer is in a state that this step covers."""
        return True

    def forward(
        self, x: Tensor, log_det: Tensor, context: Context, weights: Weights, tape: Tape | None
    ) -> Tensor:
        """What the layer's ``forward`` does."""
        raise NotImplementedError

    def inverse(
        self, z: Tensor, log_det: Tensor, context: Context, weights: Weights, tape: Tape | None
    ) -> Tensor:
        """What the layer's ``inverse`` does."""
        raise NotImplementedError

    def backward(self, g: Gradients, weights: Weights, tape: Tape, inverse: bool) -> Found:
        """Carry ``g`` back through the map that was applied; return the gradients by weights."""
        raise NotImplementedError


class PermutationStep(Step):
    """``Permutation``."""

    def __init__(self, layer: Permutation) -> None:
        self.layer = layer

    def forward(
        self, x: Tensor, log_det: Tensor, context: Context, weights: Weights, tape: Tape | None
    ) -> Tensor:
        """Reorder."""
        return self._reorder(x, tape, turned=False)

    def inverse(
        self, z: Tensor, log_det: Tensor, context: Context, weights: Weights, tape: Tape | None
    ) -> Tensor:
        """Restore the order."""
        return self._reorder(z, tape, turned=True)

    def backward(self, g: Gradients, weights: Weights, tape: Tape, inverse: bool) -> Found:
        """The other way round."""
        g.x = g.x.index_select(1, torch.argsort(tape.pop()))
        return ()

    def _reorder(self, x: Tensor, tape: Tape | None, *, turned: bool) -> Tensor:
        order = torch.argsort(self.layer.order) if turned else self.layer.order
        if tape is not None:
            tape.append(order)
        return x.index_select(1, order)


class FlipStep(Step):
    """``Flip``, which is its own inverse."""

    def forward(
        self, x: Tensor, log_det: Tensor, context: Context, weights: Weights, tape: Tape | None
    ) -> Tensor:
        """Reverse."""
        return x.flip(1)

    inverse = forward  # type: ignore[assignment]  # z takes the place of x

    def backward(self, g: Gradients, weights: Weights, tape: Tape, inverse: bool) -> Found:
        """Reverse back."""
        g.x = g.x.flip(1)
        return ()


class ActNormStep(Step):
    r"""``ActNorm``: :math:`z = (x + b) e^s`.

    .. math:: \bar x = \bar z e^s, \quad \bar b = \textstyle\sum_n \bar x, \quad
              \bar s = \textstyle\sum_n \bar x (x + b) + \bar\ell

    and of the inverse :math:`x = z e^{-s} - b`:

    .. math:: \bar z = \bar x e^{-s}, \quad \bar b = -\textstyle\sum_n \bar x, \quad
              \bar s = -\textstyle\sum_n \bar z z - \bar\ell
    """

    def __init__(self, layer: ActNorm) -> None:
        self.layer = layer
        self.slots = [(layer._parameters, "bias"), (layer._parameters, "log_scale")]

    def ready(self, context: Context) -> bool:
        """Not before it has seen its first batch."""
        return self.layer._settled or not self.layer.training

    def forward(
        self, x: Tensor, log_det: Tensor, context: Context, weights: Weights, tape: Tape | None
    ) -> Tensor:
        """Shift, then scale."""
        bias, log_scale = weights
        log_det += log_scale.sum()
        if tape is None:
            return x.add_(bias).mul_(log_scale.exp())
        tape.append(x)
        return (x + bias).mul_(log_scale.exp())

    def inverse(
        self, z: Tensor, log_det: Tensor, context: Context, weights: Weights, tape: Tape | None
    ) -> Tensor:
        """Unscale, then unshift."""
        bias, log_scale = weights
        log_det -= log_scale.sum()
        if tape is None:
            return z.mul_(log_scale.neg().exp_()).sub_(bias)
        tape.append(z)
        return (z * log_scale.neg().exp_()).sub_(bias)

    def backward(self, g: Gradients, weights: Weights, tape: Tape, inverse: bool) -> Found:
        """By the formulas above."""
        bias, log_scale = weights
        x = tape.pop()
        if inverse:
            of_bias = -g.x.sum(0)
            g.x.mul_(log_scale.neg().exp_())
            return of_bias, -((g.x * x).sum(0) + g.log_det.sum())
        g.x.mul_(log_scale.exp())
        return g.x.sum(0), (x + bias).mul_(g.x).sum(0).add_(g.log_det.sum())


class CouplingStep(Step):
    r"""``Coupling`` of two slices, with an MLP and an affine law with a soft clamp.

    With :math:`(t, h)` from the network, :math:`q = h / w`, :math:`s = w \arctan q`:

    .. math:: z = x e^s + t, \qquad \bar x = \bar z e^s, \quad \bar t = \bar z, \quad
              \bar h = \frac{\bar x x + \bar\ell}{1 + q^2}

    and of the inverse :math:`x = (z - t) e^{-s}`:

    .. math:: \bar z = \bar x e^{-s}, \quad \bar t = -\bar z, \quad
              \bar h = -\frac{\bar z (z - t) + \bar\ell}{1 + q^2}
    """

    def __init__(self, layer: Coupling) -> None:
        net, split, bound = layer.conditioner, layer.split, layer.law.bound
        assert isinstance(net, MLP)
        assert isinstance(split, SliceSplit)
        assert isinstance(bound, SoftClamp)
        self.layer, self.net, self.bound = layer, MLPByHand(net), bound
        self.kept, self.changed, self.seen = split.kept, split.changed, split.kept_shape[0]
        self.context, self.slots = net.context, self.net.slots
        self.size, self.widest = layer.shape[0], self.net.widest

    @staticmethod
    def possible(layer: Coupling) -> bool:
        """Whether split, law and conditioner are of the kinds that are written here."""
        return (
            len(layer.shape) == 1
            and type(layer.split) is SliceSplit
            and type(layer.law) is Affine
            and type(layer.law.bound) is SoftClamp
            and MLPByHand.possible(layer.conditioner)
        )

    def ready(self, context: Context) -> bool:
        """No dropout, no lower precision, and a context where one is seen."""
        return (
            self.layer.precision is None
            and not self.net.drops()
            and (not self.context or (context is not None and context.shape[1] == self.context))
        )

    def forward(
        self, x: Tensor, log_det: Tensor, context: Context, weights: Weights, tape: Tape | None
    ) -> Tensor:
        """Scale and shift the changed part."""
        parameters, shift, s = self._parameters(x, context, weights, tape)
        log_det += s.sum(1)
        scale = s.exp_()
        z = x if tape is None else x.clone()
        z[:, self.changed].mul_(scale).add_(shift)
        if tape is not None:
            tape += (x[:, self.changed], parameters, scale)
        return z

    def inverse(
        self, z: Tensor, log_det: Tensor, context: Context, weights: Weights, tape: Tape | None
    ) -> Tensor:
        """Unshift and unscale the changed part."""
        parameters, shift, s = self._parameters(z, context, weights, tape)
        log_det -= s.sum(1)
        scale = s.neg_().exp_()
        x = z if tape is None else z.clone()
        changed = x[:, self.changed].sub_(shift)
        if tape is not None:
            tape += (changed.clone(), parameters, scale)
        changed.mul_(scale)
        return x

    def _parameters(
        self, x: Tensor, context: Context, weights: Weights, tape: Tape | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """``(t, q)`` in one tensor, then t and s: ``(N, 2M)``, ``(N, M)``, ``(N, M)``."""
        seen = x[:, self.kept]
        if self.context and context is not None:
            seen = torch.cat((seen, context), dim=1)
        parameters = self.net.forward(seen, weights, tape)
        shift, h = parameters.chunk(2, dim=1)
        width = 2 * self.bound.limit / math.pi
        return parameters, shift, h.div_(width).atan().mul_(width)

    def backward(self, g: Gradients, weights: Weights, tape: Tape, inverse: bool) -> Found:
        """By the formulas above; the two directions differ by a sign."""
        scale, parameters, x = tape.pop(), tape.pop(), tape.pop()
        q = parameters.chunk(2, dim=1)[1]
        of_parameters = torch.empty_like(parameters)
        of_shift, of_h = of_parameters.chunk(2, dim=1)
        of_x = g.x[:, self.changed]
        if inverse:
            of_shift.copy_(of_x.mul_(scale))
        else:
            of_shift.copy_(of_x)
            of_x.mul_(scale)
        torch.addcmul(g.log_det, of_x, x, out=of_h).div_(q.square().add_(1))
        if inverse:
            of_parameters.neg_()
        of_seen, found = self.net.backward(of_parameters, weights, tape, g.wanted)
        g.x[:, self.kept].add_(of_seen[:, : self.seen])
        if self.context and g.context is not None:
            g.context.add_(of_seen[:, self.seen :])
        return found


def step_for(layer: nn.Module) -> Step | None:
    """The step of a layer, or None where it has none: subclasses, for one, are left alone."""
    if type(layer) is Coupling:
        return CouplingStep(layer) if CouplingStep.possible(layer) else None
    if type(layer) is ActNorm:
        return ActNormStep(layer) if len(layer.shape) == 1 else None
    if type(layer) is Permutation:
        return PermutationStep(layer)
    return FlipStep() if type(layer) is Flip else None
