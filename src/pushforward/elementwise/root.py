"""The inverse of an increasing function by bracketed Newton steps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["increasing_root"]

_MOST = 100  # steps at most: halving alone would need some 60 in float64
_COMPILED = 32  # a compiled graph cannot look whether it is done, and repeats them all


@torch.no_grad()
def increasing_root(
    function: Callable[[Tensor], tuple[Tensor, Tensor]], low: Tensor, high: Tensor
) -> Tensor:
    r"""Where an increasing function is 0, to the last digits; no gradient passes.

    .. math:: x_{k+1} = x_k - \frac{f(x_k)}{f'(x_k)}

    as long as that stays within the bracket and at least halves the step before last; otherwise
    the bracket is halved. An element is done when its step is down to rounding, on the scale of
    the bracket it began with.

    Args:
        function: gives f and its derivative at x, each of the shape of x.
        low, high: a bracket: :math:`f(low) \le 0 \le f(high)`.

    Source: Press et al., Numerical Recipes, section 9.4 (rtsafe).
    """
    scale = torch.maximum(low.abs(), high.abs())
    enough = 4 * torch.finfo(scale.dtype).eps * scale
    x = 0.5 * (low + high)
    before = last = high - low
    # Compiled it takes a fixed number of steps, otherwise as many as the slowest element needs.
    for _ in range(_COMPILED if torch.compiler.is_compiling() else _MOST):
        value, slope = function(x)
        low, high = torch.where(value <= 0, x, low), torch.where(value >= 0, x, high)
        step = -value / slope
        good = (x + step >= low) & (x + step <= high) & (step.abs() <= 0.5 * before.abs())
        # Where the value is but rounding, half of a wide bracket is no better place.
        good |= step.abs() <= enough
        step = torch.where(good, step, 0.5 * (low + high) - x)
        before, last = last, step
        x = x + step
        if not torch.compiler.is_compiling() and bool((step.abs() <= enough).all()):
            break
    return x
