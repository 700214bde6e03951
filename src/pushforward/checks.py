"""What a flow asks of its input, said in one sentence where it is not met."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .errors import InputError

__all__ = ["check_context", "check_events", "check_labels", "usable_device"]


def check_events(
    x: Any, *, name: str, shape: tuple[int, ...], levels: int | None, missing: bool = False
) -> Tensor:
    """Return ``x`` as a tensor ``(N, *shape)`` of numbers that a flow can score.

    Arrays are taken as they are. For a discrete flow (``levels``) every value must be one of the
    integers 0 to levels-1, in whatever dtype. With ``missing``, NaN stands for a missing value.

    Raises:
        InputError: wrong type, dtype or shape, NaN, infinite, or not among the levels.
    """
    x = _as_tensor(x, name)
    if tuple(x.shape[1:]) != shape or x.ndim != len(shape) + 1:
        raise InputError(_shape_message(name, shape, tuple(x.shape)))
    if x.is_complex():
        raise InputError(f"{name} scores real numbers; got dtype {x.dtype}.")
    if torch.compiler.is_compiling() or x.numel() == 0:
        return x
    if x.is_floating_point():
        _check_finite(x, name, missing=missing, rows=len(shape) == 1 and levels is None)
    if levels is not None:
        _check_levels(x, name, levels)
    return x


def check_context(context: Any, *, name: str, size: int, rows: int | None) -> Tensor | None:
    """Return the context as a tensor ``(rows, size)``, or None for an unconditional flow.

    One vector ``(size,)`` is repeated for every row.

    Raises:
        InputError: missing, unwanted, of another shape, NaN or infinite.
    """
    if size == 0:
        if context is not None:
            raise InputError(
                f"{name} was built without context, but got one. Build it with context=K to "
                f"condition on K numbers, or leave the context out."
            )
        return None
    if context is None:
        raise InputError(
            f"{name} is conditional: pass context= of shape (N, {size}), one row per event."
        )
    context = _as_tensor(context, f"the context of {name}")
    if context.ndim == 1 and rows is not None and context.shape[0] == size:
        context = context.expand(rows, size)
    if context.ndim != 2 or context.shape[1] != size or rows not in (None, context.shape[0]):
        wanted = f"({'N' if rows is None else rows}, {size})"
        raise InputError(
            f"{name} wants a context of shape {wanted}; got {tuple(context.shape)}. Give one row "
            f"of {size} numbers per event."
        )
    if not torch.compiler.is_compiling() and context.is_floating_point():
        _check_finite(context, f"the context of {name}")
    return context


def check_labels(labels: Any, *, name: str, classes: int, rows: int) -> Tensor:
    """Return labels as a tensor of integers ``(rows,)``, each from 0 to ``classes`` - 1.

    Raises:
        InputError: missing, of another shape or kind, or of other classes.
    """
    if labels is None:
        raise InputError(
            f"{name} learns labels: pass them as context=, one integer from 0 to {classes - 1} "
            f"per event."
        )
    labels = _as_tensor(labels, f"the labels of {name}")
    if tuple(labels.shape) != (rows,):
        raise InputError(
            f"{name} wants one label per event, ({rows},); got shape {tuple(labels.shape)}."
        )
    if labels.is_floating_point() or labels.is_complex():
        raise InputError(f"the labels of {name} are integers; got {labels.dtype}.")
    labels = labels.long()
    if not rows or torch.compiler.is_compiling():
        return labels
    low, high = int(labels.min()), int(labels.max())
    if low < 0:
        raise InputError(
            f"{name} got labels below 0, which stand for events without a class; leave those out."
        )
    if high >= classes:
        raise InputError(
            f"{name} tells {classes} classes apart, but the labels go up to {high}; build it with "
            f"labels={high + 1}."
        )
    return labels


def usable_device(name: str) -> torch.device:
    """The device of this name.

    Raises:
        InputError: it is not one, or not here.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        there = "cpu or cuda" if torch.cuda.is_available() else "cpu"
        raise InputError(f"there is no usable device {name!r} here; use {there}.") from None
    return device


def _as_tensor(x: Any, name: str) -> Tensor:
    if not isinstance(x, Tensor):
        try:
            array = np.asarray(x)
            # torch takes no foreign byte order, no negative strides and no read-only memory
            x = torch.from_numpy(np.require(array, array.dtype.newbyteorder("="), ["C", "W"]))
        except (TypeError, ValueError, RuntimeError):
            raise InputError(
                f"{name} takes a tensor or an array of numbers; got {type(x).__name__}."
            ) from None
    # torch knows these types but computes little on them
    return x.long() if x.dtype in (torch.uint16, torch.uint32, torch.uint64) else x


def _shape_message(name: str, shape: tuple[int, ...], given: tuple[int, ...]) -> str:
    if given == shape:
        return (
            f"{name} takes a batch (N, {', '.join(map(str, shape))}); got one event of shape "
            f"{given}. Add a batch dimension: x[None]."
        )
    if len(shape) == 1:
        way = f"build the model for rows of {given[-1]}." if len(given) == 2 else "pass a table."
        what = f"rows of {shape[0]} numbers, (N, {shape[0]})"
        if len(given) == 2 and given[1] > shape[0]:
            way = f"drop a column, or {way}"
    else:
        what = f"images (N, {', '.join(map(str, shape))})"
        way = "resize or rearrange the images to (N, C, H, W), or build the model for that shape."
    return f"{name} scores {what}; got shape {given}. {way[0].upper()}{way[1:]}"


def _check_finite(x: Tensor, name: str, *, missing: bool = False, rows: bool = False) -> None:
    finite = ~torch.isinf(x) if missing else torch.isfinite(x)
    if bool(finite.all()):
        return
    bad = (~finite).nonzero()
    count = len(bad[:, 0].unique())
    value = x[tuple(bad[0])].item()
    kind = "missing values (NaN)" if math.isnan(value) else "infinite values"
    where = ", ".join(str(int(i)) for i in bad[0][1:])
    way = "Drop or fill them in first."
    if rows and math.isnan(value):
        way = (
            "Drop those rows, or build the model with missing=True, such as "
            f"RealNVP(({x.shape[1]},), missing=True), which learns from them as they are."
        )
    raise InputError(
        f"{name} got {kind}: {count} of {len(x)} rows, the first at row {int(bad[0][0])}, "
        f"position {where}. {way}"
    )


def _check_levels(x: Tensor, name: str, levels: int) -> None:
    low, high = x.amin().item(), x.amax().item()
    if x.is_floating_point() and bool((x != x.floor()).any()):
        way = "Round them, or build it without levels."
        if low >= 0 and high <= 1:
            way = f"They look scaled to [0, 1]: pass the integers (x * {levels - 1}).round()."
        first = x[x != x.floor()][0].item()
        raise InputError(
            f"{name} models integers 0 to {levels - 1}; got fractions, the first {first:.4g}. {way}"
        )
    if low < 0 or high > levels - 1:
        way = "Shift or rescale"
        if low >= 0:
            way = f"Build it with levels={int(high) + 1}, or rescale"
        raise InputError(
            f"{name} models integers 0 to {levels - 1}; got values from {low:g} to {high:g}. "
            f"{way} the data."
        )
