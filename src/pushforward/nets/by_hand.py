"""An MLP whose gradients are written out, for nodes that hold more than one network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from .mlp import MLP
from .products import input_gradient, linear, weight_gradient

__all__ = ["MLPByHand"]

_Slope = Callable[[Tensor, Tensor, Tensor], Tensor]

_SLOPES: dict[type[nn.Module], _Slope] = {
    # (gradient, before, after) -> gradient; the same kernels that autograd calls
    nn.ReLU: lambda g, before, after: torch.ops.aten.threshold_backward.grad_input(
        g, after, 0, grad_input=g
    ),
    nn.Tanh: lambda g, before, after: torch.ops.aten.tanh_backward.default(g, after),
    nn.SiLU: lambda g, before, after: torch.ops.aten.silu_backward.default(g, before),
}


class MLPByHand:
    r"""``MLP`` and its gradients without autograd.

    .. math:: h_0 = x, \quad a_i = W_i h_{i-1} + b_i, \quad h_i = \phi(a_i); \qquad
              \bar W_i = \bar a_i^{\top} h_{i-1}, \quad \bar h_{i-1} = \bar a_i W_i, \quad
              \bar a_i = \bar h_i\, \phi'(a_i)

    Whoever calls it makes sure that ``possible(net)`` held, and that no dropout is active. Weights
    are those of the net, in its order: :math:`W_1, b_1, W_2, b_2, \dots`.
    """

    def __init__(self, net: MLP) -> None:
        self.activation, self.dropout = net.activation, net.dropout
        self.is_relu = type(net.activation) is nn.ReLU
        self.needs_before = type(net.activation) is nn.SiLU
        self.slope = _SLOPES[type(net.activation)]
        self.slots = [(p._parameters, n) for p in _linears(net) for n in ("weight", "bias")]
        self.widest = max(part.out_features for part in _linears(net))

    @staticmethod
    def possible(net: nn.Module) -> bool:
        """Whether a conditioner is an MLP of a kind whose gradients are written here."""
        return (
            type(net) is MLP
            and not net.residual
            and type(net.activation) in _SLOPES
            and type(net.dropout) in (nn.Identity, nn.Dropout)
            and all(type(p) is nn.Linear and p.bias is not None for p in _linears(net))
        )

    def drops(self) -> bool:
        """Whether dropout is active, which has no place here."""
        return type(self.dropout) is nn.Dropout and self.dropout.training

    def forward(self, h: Tensor, weights: Sequence[Tensor], tape: list[Tensor] | None) -> Tensor:
        """``(N, I) -> (N, O)``; what ``backward`` needs is put on the tape."""
        for i in range(0, len(weights) - 2, 2):
            before = linear(h, weights[i], weights[i + 1], relu=self.is_relu)
            after = before if self.is_relu else self.activation(before)
            if tape is not None:
                tape += (h, before) if self.needs_before else (h,)
            h = after
        if tape is not None:
            tape.append(h)
        return linear(h, weights[-2], weights[-1])

    def backward(
        self, g: Tensor, weights: Sequence[Tensor], tape: list[Tensor], wanted: bool
    ) -> tuple[Tensor, list[Tensor | None]]:
        """The gradients by the input and, where wanted, by the weights; takes from the tape."""
        found: list[Tensor | None] = []
        for i in range(len(weights) - 2, -1, -2):
            h = tape.pop()
            found += (g.sum(0), weight_gradient(g, h)) if wanted else (None, None)
            g = input_gradient(g, weights[i])
            if i:
                g = self.slope(g, tape.pop() if self.needs_before else h, h)
        return g, found[::-1]


def _linears(net: MLP) -> list[nn.Linear]:
    return [*net.hidden, net.last]
