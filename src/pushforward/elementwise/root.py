"""The inverse of an increasing function by bracketed Newton steps, and its gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["implicit_root", "increasing_root"]

Family = Callable[[Tensor, tuple[Tensor, ...]], tuple[Tensor, Tensor]]
"""f(x; theta), increasing in x, and the logarithm of its slope, each of the shape of x."""

_MOST = 100  # steps at most: halving alone would need some 60 in float64
_COMPILED = 32  # a compiled graph cannot look whether it is done, and repeats them all


@torch.no_grad()
def increasing_root(
    function: Callable[[Tensor], tuple[Tensor, Tensor]],
    low: Tensor,
    high: Tensor,
    noise: Tensor | float = 0.0,
) -> Tensor:
    r"""Where an increasing function is 0, to the last digits; no gradient passes.

    .. math:: x_{k+1} = x_k - \frac{f(x_k)}{f'(x_k)}

    as long as that stays within the bracket and at least halves the step before last; otherwise
    the bracket is halved. An element is done when its step or its value is but rounding; the scale
    of its bracket says nothing of how finely f is made.

    Args:
        function: gives f and its derivative at x, each of the shape of x.
        low, high: a bracket: :math:`f(low) \le 0 \le f(high)`.
        noise: a value that rounding alone may give at the root.

    Source: Press et al., Numerical Recipes, section 9.4 (rtsafe).
    """
    eps = torch.finfo(low.dtype).eps
    x = 0.5 * (low + high)
    before = last = high - low
    # Compiled it takes a fixed number of steps, otherwise as many as the slowest element needs.
    for _ in range(_COMPILED if torch.compiler.is_compiling() else _MOST):
        value, slope = function(x)
        low, high = torch.where(value <= 0, x, low), torch.where(value >= 0, x, high)
        step = -value / slope
        good = (x + step >= low) & (x + step <= high) & (step.abs() <= 0.5 * before.abs())
        # Where the value is but rounding, half of a wide bracket is no better place.
        good |= step.abs() <= 32 * eps * x.abs()
        off = value.abs() > noise  # not where it is NaN
        searching = off & (step.abs() > 4 * eps * x.abs())
        step = torch.where(good, step, 0.5 * (low + high) - x).where(off, 0.0)
        before, last = last, step
        x = x + step
        if not torch.compiler.is_compiling() and not bool(searching.any()):
            break
    return x


def implicit_root(
    function: Family, y: Tensor, parameters: tuple[Tensor, ...], low: Tensor, high: Tensor
) -> Tensor:
    r"""The x with :math:`f(x; \theta) = y`, as a function of y and of theta.

    .. math:: \frac{\partial x}{\partial y} = \frac{1}{f'(x; \theta)}, \qquad
              \frac{\partial x}{\partial \theta} = -\frac{1}{f'(x; \theta)}\,
              \frac{\partial f(x; \theta)}{\partial \theta}

    by the implicit function theorem, gradients of any order; compiled, of first order.

    Args:
        function: f and its log-slope at x, by whose own gradients that of the root is found.
        y: what f is to be, any shape.
        parameters: theta.
        low, high: a bracket of x; no gradient passes.
    """
    if not torch.compiler.is_compiling():
        root: Tensor = _Implicit.apply(function, y, low.detach(), high.detach(), *parameters)
        return root
    x = _search(function, y, parameters, low, high)
    if torch.is_grad_enabled():
        # Compilers cannot differentiate within a backward pass: the theorem as one more step, whose
        # value is rounding. Second derivatives, which it has not, they refuse.
        value, log_slope = function(x, parameters)
        x = x - (value - y) * torch.exp(-log_slope.detach())
    return x


def _search(
    function: Family, y: Tensor, parameters: tuple[Tensor, ...], low: Tensor, high: Tensor
) -> Tensor:
    given = tuple(parameter.detach() for parameter in parameters)
    target = y.detach()

    def gap(x: Tensor) -> tuple[Tensor, Tensor]:
        value, log_slope = function(x, given)
        return value - target, log_slope.exp()

    return increasing_root(gap, low, high, 4 * torch.finfo(y.dtype).eps * (1 + target.abs()))


class _Implicit(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, function: Family, y: Tensor, low: Tensor, high: Tensor, *parameters: Tensor
    ) -> Tensor:
        x = _search(function, y, parameters, low, high)
        ctx.function = function
        ctx.save_for_backward(x, *parameters)
        return x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        further = torch.is_grad_enabled()  # gradients of these gradients will be asked for
        x, *parameters = ctx.saved_tensors
        if not further:
            x, parameters = x.detach(), [p.detach() for p in parameters]
        with torch.enable_grad():
            # Names of their own: x depends on the parameters too, and is to be held.
            held = tuple(
                p.view_as(p) if p.requires_grad else p.detach().requires_grad_() for p in parameters
            )
            value, log_slope = ctx.function(x, held)
            to_y = gradient * torch.exp(-log_slope)
            to_parameters = torch.autograd.grad(value, held, -to_y, create_graph=further)
        return None, to_y if further else to_y.detach(), None, None, *to_parameters
