"""From whatever ``fit`` is given to tensors for training and validation, checked once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..checks import check_context, check_events
from ..data import Dataset, open_data
from ..errors import InputError
from ..flow import Flow

__all__ = ["Events", "training_events"]


class Events:
    """Events in memory, with a context beside them or without."""

    def __init__(self, x: Tensor, context: Tensor | None) -> None:
        self.x, self.context = x, context

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: Tensor) -> tuple[Tensor, Tensor | None]:
        """The events at these positions."""
        return self.x[index], None if self.context is None else self.context[index]

    def all(self) -> tuple[Tensor, Tensor | None]:
        """Every event."""
        return self.x, self.context

    def some(self, n: int, seed: int = 0) -> Events:
        """At most n of them, drawn by the seed: files are often sorted by class."""
        if n >= len(self):
            return self
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        return Events(*self.take(order[:n].sort().values))


def training_events(flow: Flow, data: Any, context: Any) -> tuple[Events, Events]:
    """Training and validation events.

    Files bring or get a test part, which stays untouched; of an array a tenth is held out for
    validation. A set too small to hold anything out validates on its training events.

    Raises:
        InputError: the data are not what the flow is over.
    """
    if isinstance(data, Dataset):
        dataset = data
    else:
        is_file = isinstance(data, str) or hasattr(data, "__fspath__")
        fractions = (0.1, 0.1) if is_file else (0.1, 0.0)
        if context is not None or flow.context:
            return _conditional(flow, data, context)
        # An array may be integers in any clothing; a file knows its own levels.
        dataset = open_data(data, fractions=fractions, levels=None if is_file else flow.levels)
    if flow.context:
        raise InputError(
            f"{flow.name} is conditional: pass fit(flow, x, context=c) with arrays of equal length."
        )
    if dataset.shape != flow.shape:
        raise InputError(
            f"{flow.name} cannot learn {dataset.name}, whose events have shape {dataset.shape}; "
            f"build the flow for that shape."
        )
    if dataset.levels != flow.levels and dataset.levels is not None:
        raise InputError(
            f"{dataset.name} has integers of {dataset.levels} levels, but {flow.name} is built "
            f"{'for real numbers' if flow.levels is None else f'for {flow.levels}'}; build it with "
            f"levels={dataset.levels}."
        )
    if len(dataset.train) == 0:
        raise InputError(f"{dataset.name} has no training events.")
    train = _checked(flow, dataset.train, None)
    held_out = dataset.validation if len(dataset.validation) else dataset.train
    return train, _checked(flow, held_out, None)


def _conditional(flow: Flow, data: Any, context: Any) -> tuple[Events, Events]:
    both = _checked(flow, data, context)
    order = torch.randperm(len(both), generator=torch.Generator().manual_seed(0))
    held_out = max(1, len(both) // 10)
    if len(both) < 2:
        raise InputError(f"fit needs at least 2 events beside a context; got {len(both)}.")
    return Events(*both.take(order[held_out:])), Events(*both.take(order[:held_out]))


def _checked(flow: Flow, x: Any, context: Any) -> Events:
    x = check_events(x, name=flow.name, shape=flow.shape, levels=flow.levels)
    context = check_context(context, name=flow.name, size=flow.context, rows=len(x))
    return Events(x, context)
