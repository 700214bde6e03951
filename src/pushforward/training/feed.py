"""The batch of a step: taken, augmented, on the flow's device; read ahead where disks are slow."""

from __future__ import annotations

import math
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from .augment import augment
from .events import Events
from .order import Order, Window, seed_of
from .settings import FitConfig
from .streaming import Stream

__all__ = ["Batch", "Feed"]


@dataclass(frozen=True)
class Batch:
    """The events of a step, all ranks' together; ``index`` says which, where that is known."""

    x: Tensor
    context: Tensor | None
    index: Tensor | None

    def __len__(self) -> int:
        return len(self.x)

    def part(self, which: slice) -> Batch:
        """Some of it."""
        return Batch(
            self.x[which],
            None if self.context is None else self.context[which],
            None if self.index is None else self.index[which],
        )


class Feed:
    """Gives the batch of any step; what it gives depends on data, settings and step alone.

    Attributes:
        batch_size: events in a batch.
        per_epoch: steps in an epoch; None for a stream.
    """

    def __init__(self, events: Events | Stream, config: FitConfig, device: torch.device) -> None:
        self.events, self.config, self.device = events, config, device
        self.order: Order | None = None
        self.per_epoch: int | None = None
        if isinstance(events, Events):
            images = events.x.ndim == 4
            default = (32 if len(events) >= 10_000 else 64) if images else 512
            self.batch_size = min(config.batch_size or default, len(events))
            size = math.prod(events.x.shape[1:]) * events.x.dtype.itemsize
            # Events on disk are read in runs of 32 KiB, and a thousand of them mixed in memory.
            block = min(len(events), max(1, 2**15 // size)) if events.on_disk else 1
            self.order = Order(len(events), self.batch_size, config.seed, block=block)
            self.per_epoch = self.order.per_epoch
        else:
            default = 32 if len(events.flow.shape) == 3 else 512
            self.batch_size = config.batch_size or default
        self._windows: list[tuple[Window, Tensor]] = []
        self._last: tuple[int, Batch] | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._ahead: tuple[int, Future[Batch]] | None = None
        if isinstance(events, Events) and (events.on_disk or device.type != "cpu"):
            self._pool = ThreadPoolExecutor(1, "feed")

    def epoch(self, step: int) -> float:
        """How many passes over the data so many steps are; 0 for a stream."""
        return step / self.per_epoch if self.per_epoch else 0.0

    def batch(self, step: int) -> Batch:
        """The events of a step; empty at the end of a stream."""
        if self._last is not None and self._last[0] == step:
            return self._last[1]
        batch = self._next(step)
        self._last = step, batch
        return batch

    def _next(self, step: int) -> Batch:
        if self._pool is None:
            return self._load(step)
        ahead, self._ahead = self._ahead, None
        batch = ahead[1].result() if ahead and ahead[0] == step else self._load(step)
        self._ahead = step + 1, self._pool.submit(self._load, step + 1)
        return batch

    def close(self) -> None:
        """End reading ahead."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _load(self, step: int) -> Batch:
        index = None
        if isinstance(self.events, Stream):
            x, context = self.events.batch(step * self.batch_size, self.batch_size)
        else:
            index, x, context = self._take(step)
        config = self.config
        if len(x) and (config.shift or config.flip or config.crop):
            generator = torch.Generator().manual_seed(seed_of(config.seed, step, 1))
            x = augment(x, config.shift, config.flip, generator, config.crop)
        if self.device.type == "cuda":
            x = x.pin_memory().to(self.device, non_blocking=True)
        return Batch(x, context, index)

    def _take(self, step: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """The positions of a step's events, the events, and what lies beside them."""
        assert self.order is not None
        assert isinstance(self.events, Events)
        pieces = self.order.pieces(step)
        index = _joined([window.events[window.mix[which]] for window, which in pieces])
        if not self.events.on_disk:
            return index, *self.events.take(index)
        parts = []  # from disk by whole windows, of which a batch or many are made
        for window, which in pieces:
            held = next((x for known, x in self._windows if known is window), None)
            if held is None:
                held = self.events.read(window.events)
                self._windows = [*self._windows[-1:], (window, held)]
            parts.append(held[window.mix[which]])
        beside = self.events.context
        return index, _joined(parts), None if beside is None else beside[index]


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
