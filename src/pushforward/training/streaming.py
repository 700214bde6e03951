"""Training data that come one after the other, from anything that can be iterated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checks import check_context, check_events
from ..errors import InputError
from ..model import Model
from .lacking import with_something

__all__ = ["Stream", "is_stream"]


def is_stream(data: Any) -> bool:
    """Say whether data can only be read in their order: an iterator, a loader, or a function.

    Arrays, frames and sources with a length and positions are not streams.
    """
    if callable(data) and not hasattr(data, "__getitem__"):
        return True
    if isinstance(data, torch.utils.data.DataLoader | torch.utils.data.IterableDataset):
        return True
    known = isinstance(data, str | bytes | Tensor | np.ndarray | dict)
    return hasattr(data, "__iter__") and not hasattr(data, "__getitem__") and not known


class Stream:
    """Batches of a fixed size from an iterable of events or of batches, in its own order.

    An item is an event, a batch ``(n, *shape)``, or a pair of it and a label (left aside) or,
    for a conditional flow, its context. The first events are held out for validation. When
    the end is reached, an iterable (not an iterator) is read again, without those held out.

    Args:
        flow: what the items must fit.
        data: an iterable, an iterator, or a function without arguments that gives one.
        hold_out: how many events validation gets; of a stream that is shorter, a tenth.
    """

    def __init__(self, flow: Model, data: Any, hold_out: int | None = None) -> None:
        self.flow, self.data = flow, data
        self.wanted = hold_out or (500 if len(flow.shape) == 3 else 5_000)
        self.once = isinstance(data, Iterator)
        self._source = self._events()
        self._rest: tuple[Tensor, Tensor | None] | None = None
        self._position = 0
        x, context = self._take(self.wanted)
        if not len(x):
            raise InputError("the stream gave no event; there is nothing to train on.")
        if len(x) < self.wanted or self._ended():
            self.wanted = len(x) // 10
            rest = slice(self.wanted, None)
            self._rest = x[rest], None if context is None else context[rest]
        first = slice(0, self.wanted or 1)  # one event is trained and validated on
        self.held_out = x[first], None if context is None else context[first]

    def batch(self, start: int, n: int) -> tuple[Tensor, Tensor | None]:
        """The ``n`` events from number ``start`` on (those held out are not counted).

        Events before ``start`` that have not been read yet are read and left aside, which is how
        a run goes on in the middle of a stream. Fewer than n are given at the end of an iterator.
        """
        while self._position < start:
            skipped = len(self._take(min(start - self._position, 4096))[0])
            if not skipped:
                break
            self._position += skipped
        x, context = self._take(n)
        self._position += len(x)
        return x, context

    def _ended(self) -> bool:
        """Whether an iterator is empty now."""
        if self._rest is None:
            self._rest = next(self._source, None)
        return self._rest is None

    def _take(self, n: int) -> tuple[Tensor, Tensor | None]:
        parts: list[tuple[Tensor, Tensor | None]] = []
        missing = n
        while missing:
            if self._ended() or self._rest is None:
                break
            (x, context), self._rest = self._rest, None
            if len(x) > missing:
                self._rest = (x[missing:], None if context is None else context[missing:])
                x, context = x[:missing], None if context is None else context[:missing]
            parts.append((x, context))
            missing -= len(x)
        if not parts:
            return torch.empty(0, *self.flow.shape), None
        contexts = [context for _, context in parts if context is not None]
        return torch.cat([x for x, _ in parts]), torch.cat(contexts) if contexts else None

    def _events(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        first = True
        while True:
            # An IterableDataset is callable, too, in vain.
            iterable = hasattr(self.data, "__iter__")
            given: Iterable[Any] = self.data if iterable else self.data()
            held_out = 0 if first else self.wanted
            some = False
            for item in given:
                x, context = self._checked(item)
                if held_out:
                    skip = min(held_out, len(x))
                    held_out -= skip
                    x, context = x[skip:], None if context is None else context[skip:]
                if len(x):
                    some = True
                    yield x, context
            first = False
            if self.once or not some:
                return

    def _checked(self, item: Any) -> tuple[Tensor, Tensor | None]:
        flow, context = self.flow, None
        if isinstance(item, tuple | list) and len(item) in (1, 2) and hasattr(item[0], "__len__"):
            item, *beside = item  # as loaders give them
            context = beside[0] if beside and flow.context else None
        if tuple(np.shape(item)) == flow.shape:
            item = torch.as_tensor(np.asarray(item))[None]
            context = None if context is None else torch.as_tensor(np.asarray(context))[None]
        x = check_events(
            item,
            name=flow.name,
            shape=flow.shape,
            levels=flow.levels,
            missing=flow.takes_missing,
        )
        context = check_context(context, name=flow.name, size=flow.context, rows=len(x))
        return with_something(flow, x, context)
