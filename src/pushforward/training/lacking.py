"""Events of which nothing is known teach nothing: they are left out of training."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor

from ..model import Model

__all__ = ["with_something"]

Beside = TypeVar("Beside", Tensor, Tensor | None)


def with_something(flow: Model, x: Tensor, beside: Beside) -> tuple[Tensor, Beside]:
    """Those events of which some number is known, and what lies beside them."""
    if not flow.takes_missing or not x.is_floating_point():
        return x, beside
    empty = torch.isnan(x.flatten(1)).all(dim=1)
    if not bool(empty.any()):
        return x, beside
    return x[~empty], None if beside is None else beside[~empty]
