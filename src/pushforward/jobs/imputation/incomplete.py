"""What ``impute`` asks of its input."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...checks import check_events
from ...errors import InputError
from ...flow import Flow

__all__ = ["incomplete"]


def incomplete(flow: Flow, x: Any, missing: Any) -> tuple[Tensor, Tensor]:
    """The events, float64 and NaN where missing, and where that is: ``(N, *shape)`` each.

    Raises:
        InputError: they are not what the flow is over; says what, where, what instead.
    """
    values = _numbers(x)
    if missing is None:
        gaps = values.isnan()
    else:
        gaps = torch.as_tensor(np.asarray(missing) if not isinstance(missing, Tensor) else missing)
        if gaps.dtype != torch.bool:
            raise InputError(f"missing is Boolean (True = missing); got dtype {gaps.dtype}.")
        if tuple(gaps.shape) not in (flow.shape, tuple(values.shape)):
            raise InputError(
                f"missing for {len(values)} events of shape {flow.shape} is of that shape or "
                f"{(len(values), *flow.shape)}; got {tuple(gaps.shape)}."
            )
        gaps = gaps.cpu().expand(values.shape)
    name = f"impute by {flow.name}"
    # What stands in for the missing ones is any value that may be: the least of the column.
    check_events(
        torch.where(gaps, 0, values)
        if flow.levels is not None
        else torch.where(gaps, torch.nan, values),
        name=name,
        shape=flow.shape,
        levels=flow.levels,
        missing=True,
    )
    if bool((values.isnan() & ~gaps).any()):
        raise InputError(f"{name} got NaN where missing= says that values are observed.")
    _check_columns(flow, values, gaps, name)
    return torch.where(gaps, torch.nan, values.double()), gaps


def _numbers(x: Any) -> Tensor:
    if isinstance(x, Tensor):
        values = x.detach().cpu()
    else:
        try:
            values = torch.from_numpy(np.array(x, dtype=np.float64))
        except (TypeError, ValueError):
            raise InputError(
                f"impute takes an array of numbers, NaN where missing; got {type(x).__name__}. "
                f"Turn other columns into numbers by Schema.encode, or use pushforward impute."
            ) from None
    return values if values.is_floating_point() else values.double()


def _check_columns(flow: Flow, values: Tensor, gaps: Tensor, name: str) -> None:
    for layer in flow.chain:
        layer.check(torch.where(gaps, torch.nan, values.double()), name)
