"""How many CPU threads to use: more are not always faster.

Small steps take one thread: below half a billion multiplications the threads' meeting costs more
than they gain (digits of 8x8 train more than twice as fast on one as on two), and on a machine
that others use as well, a second thread that has to wait for its turn can cost tenfold.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from .model import Model

__all__ = ["few_threads", "training_threads"]

_WORTH_SHARING = 5e8


@contextlib.contextmanager
def few_threads(flow: Model, events: int) -> Iterator[None]:
    """One thread for a while if batches of so many events are small work."""
    before = torch.get_num_threads()
    if _work(flow, events) < _WORTH_SHARING:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def training_threads(
    flow: Model, x: Tensor, context: Tensor | None, wanted: int | None, *, timed: bool = True
) -> Iterator[int]:
    """Set the number of threads that trains a batch ``x`` fastest for a while, and give it.

    Large work is ``timed`` both ways, for it depends on the machine and on who else uses it; or
    it gets all threads, so that the number, on which rounding depends, is the same every time.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(wanted or _choose(flow, x, context, before, timed))
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


def _work(flow: Model, events: int) -> float:
    """Multiplications of one pass, roughly."""
    parameters = sum(p.numel() for p in flow.parameters())
    # Convolutions run over the pixels of squeezed scales: about a sixteenth of all, on average.
    return parameters * max(1.0, math.prod(flow.shape[1:]) / 16) * events


def _choose(flow: Model, x: Tensor, context: Tensor | None, available: int, timed: bool) -> int:
    if available == 1 or flow.device.type != "cpu":
        return available
    if _work(flow, len(x)) < _WORTH_SHARING:
        return 1
    if not timed:
        return available
    best = {1: math.inf, available: math.inf}
    with flow.evaluating():  # nothing is initialised or counted by these trial steps
        for trial in range(3):
            for count in best:
                torch.set_num_threads(count)
                start = time.perf_counter()
                flow.objective(x, context).mean().backward()
                elapsed = time.perf_counter() - start
                if trial or elapsed > 1:  # long steps need no warming up
                    best[count] = min(best[count], elapsed)
            if max(best.values()) < math.inf and min(best.values()) > 1:
                break
    flow.zero_grad(set_to_none=True)
    return 1 if best[1] < 1.1 * best[available] else available
