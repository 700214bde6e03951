r"""The scalar equation behind the inverses of planar and Sylvester layers."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

__all__ = ["MARGIN", "above_minus_one", "tanh_root"]

MARGIN = 1e-3
"""How far above -1 the slopes k stay: at -1 itself a layer is no bijection any more."""

# From the starts below, 9 are enough for every c wherever k is at most 1,000, and 11 for 10,000.
_ITERATIONS = 11


def above_minus_one(a: Tensor) -> Tensor:
    r"""A smooth increasing map of any number to one that is strictly above -1.

    .. math:: m(a) = (1 - \delta)\,\bigl(\mathrm{softplus}(a + \log(e - 1)) - 1\bigr)

    Rezende and Mohamed print :math:`-1 + \log(1 + e^a)`. Here it is moved so that m(0) = 0: a
    layer with :math:`u = 0` is then the identity, and :math:`\hat u` stays finite as w goes to 0.
    The margin :math:`\delta` keeps it above -1 also where the softplus rounds to 0.
    """
    return (1 - MARGIN) * (softplus(a + math.log(math.e - 1)) - 1)


def tanh_root(c: Tensor, k: Tensor) -> Tensor:
    r"""The one t with :math:`t + k \tanh t = c`, for k > -1; any shapes that broadcast.

    Newton's method from a bound of the root. On t >= 0 the left side is concave for k > 0 and
    convex for k < 0, so from the lower bound in the one case and from the upper one in the other
    every step moves towards the root and none beyond it: no bracket is needed. The steps are of a
    fixed number, so that it can be compiled and a row does not depend on the rows beside it.

    Gradients, of any order, come from the implicit function theorem:

    .. math:: \frac{\partial t}{\partial c} = \frac{1}{1 + k\,(1 - \tanh^2 t)}, \qquad
              \frac{\partial t}{\partial k} = -\tanh t\, \frac{\partial t}{\partial c}
    """
    c, k = torch.broadcast_tensors(c, k)
    root: Tensor = _Root.apply(c, k)
    return root


class _Root(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(c: Tensor, k: Tensor) -> Tensor:
        size = c.abs()
        low = torch.maximum(size / (1 + k), size - k)
        high = torch.minimum(size / (1 + k), size - k)
        t = torch.where(k > 0, low, high)
        for _ in range(_ITERATIONS):
            h = torch.tanh(t)
            t = t - (t + k * h - size) / (1 + k * (1 - h * h))
        return t * torch.sign(c)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(output, inputs[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        t, k = ctx.saved_tensors
        h = torch.tanh(t)
        to_c = gradient / (1 + k * (1 - h * h))
        return to_c, -h * to_c
