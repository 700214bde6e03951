"""Score many events in batches: evaluation mode, no gradients, memory that does not grow."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np
import torch

from .checks import check_context
from .data.mapped import release
from .model import Model

__all__ = ["batch_for", "in_unit", "label_scores", "score"]

Number = TypeVar("Number", float, torch.Tensor, np.ma.MaskedArray[Any, Any])


def batch_for(flow: Model) -> int:
    """How many events to take at a time."""
    return min(4096, max(32, 2**19 // flow.dims))


def score(
    flow: Model,
    x: Any,
    context: Any = None,
    *,
    batch_size: int | None = None,
    samples: int = 1,
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The log_prob of each event of an array or tensor, in nats, as float64 ``(N,)``.

    Of a memory-mapped array no more than a few batches are in memory at a time.

    Where the density is a lower bound, ``samples`` draws of noise make it tighter.

    Raises:
        InputError: an event cannot be scored.
        NumericalError: a result is NaN.
    """
    size = batch_size or batch_for(flow)
    context = check_context(context, name=flow.name, size=flow.context, rows=len(x))
    parts = [np.empty(0)]
    with torch.no_grad(), flow.evaluating():
        for start in range(0, len(x), size):
            part = x[start : start + size]
            given = None if context is None else context[start : start + size]
            nats = flow.log_prob(part, given, samples=samples)
            parts.append(nats.double().cpu().numpy())
            if isinstance(x, np.ndarray):
                release(x)
    return np.concatenate(parts)


def label_scores(
    model: Model, x: Any, labels: torch.Tensor, *, batch_size: int | None = None
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Of a classifier: the log-probability of each label in nats, and 1 where it missed: (2, N).

    Raises:
        NumericalError: a result is NaN.
    """
    size = batch_size or batch_for(model)
    parts = [np.empty((2, 0))]
    with torch.no_grad(), model.evaluating():
        for start in range(0, len(x), size):
            chosen = labels[start : start + size, None]
            log_p = model.classify(x[start : start + size]).double().cpu()  # type: ignore[operator]
            missed = log_p.argmax(1, keepdim=True) != chosen
            parts.append(torch.cat((log_p.gather(1, chosen), missed.double()), 1).T.numpy())
            if isinstance(x, np.ndarray):
                release(x)
    return np.concatenate(parts, axis=1)


def in_unit(flow: Model, log_prob: Number) -> Number:
    """A log_prob in nats as a loss in the flow's unit: bits/dim, or negative log-density."""
    return -log_prob / (flow.dims * math.log(2)) if flow.unit == "bits/dim" else -log_prob
