"""How many CPU threads to train with: more are not always faster."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from ..flow import Flow

__all__ = ["cpu_threads"]


@contextlib.contextmanager
def cpu_threads(flow: Flow, x: Tensor, context: Tensor | None, wanted: int | None) -> Iterator[int]:
    """Set the number of threads for a while and give it.

    Small steps take one thread: below half a billion multiplications the threads' meeting costs
    more than they gain (digits of 8x8 train more than twice as fast on one as on two). Larger ones
    are timed on the batch ``x``, since on a shared machine a second thread can cost tenfold.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(wanted or _choose(flow, x, context, before))
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


def _choose(flow: Flow, x: Tensor, context: Tensor | None, available: int) -> int:
    parameters = sum(p.numel() for p in flow.parameters())
    # Convolutions run over the pixels of squeezed scales: about a sixteenth of all, on average.
    work = parameters * max(1.0, math.prod(flow.shape[1:]) / 16) * len(x)
    if available == 1 or work < 5e8 or flow.device.type != "cpu":
        return 1 if flow.device.type == "cpu" else available
    best = {1: math.inf, available: math.inf}
    with flow.evaluating():  # nothing is initialised or counted by these trial steps
        for trial in range(3):
            for count in best:
                torch.set_num_threads(count)
                start = time.perf_counter()
                flow.log_prob(x, context, check=False).mean().backward()
                if trial:
                    best[count] = min(best[count], time.perf_counter() - start)
    flow.zero_grad(set_to_none=True)
    return 1 if best[1] < 1.1 * best[available] else available
