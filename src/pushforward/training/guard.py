"""What a run does when its numbers go wrong: notice, find the culprit, say it in a sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from ..errors import NumericalError
from ..model import Model
from .feed import Batch

__all__ = ["Guard", "culprit", "given_up", "named", "times"]

_EXPLODED = 1000.0
"""A gradient so many times larger than usual is no gradient to follow, clipped or not."""

_ENOUGH = 50


class Guard:
    r"""Knows what gradient norms are usual, as a running mean of their logarithms.

    .. math:: m \leftarrow m + (\log g - m) / \min(t, 100)

    Attributes:
        mean: m, over the good steps so far.
        steps: t, how many there were.
    """

    def __init__(self) -> None:
        self.mean = 0.0
        self.steps = 0

    def fault(self, loss: float, norm: float) -> str | None:
        """What is wrong with a step's loss and gradient norm; None if nothing is."""
        if not math.isfinite(loss):
            return f"the loss was {'NaN' if math.isnan(loss) else 'infinite'}"
        if not math.isfinite(norm):
            return f"the gradient was {'NaN' if math.isnan(norm) else 'infinite'}"
        if self.steps >= _ENOUGH and norm > _EXPLODED * math.exp(self.mean):
            return f"the gradient's norm was {norm:.3g}, usual is {math.exp(self.mean):.3g}"
        self.steps += 1
        self.mean += (math.log(max(norm, 1e-30)) - self.mean) / min(self.steps, 100)
        return None


def culprit(flow: Model, batch: Batch) -> tuple[str, list[int]]:
    """Where numbers stop being finite: in words, and the events of the batch that do it.

    The batch goes through the flow once more, in evaluation mode. If all is finite there, the
    weight with the largest gradient is named instead.
    """
    events: list[int] = []
    where = None
    with torch.no_grad(), flow.evaluating():
        if len(batch):
            objective = flow.objective(batch.x, batch.context)
            bad = (~torch.isfinite(objective)).nonzero().flatten().tolist()
            events = bad if batch.index is None else batch.index[bad].tolist()
            where = flow.first_unsound_layer(batch.x, batch.context) if bad else None
    if where is not None:
        return f"{where} is the first layer to leave the finite numbers", events
    name, norm = "", -1.0
    for key, weight in flow.named_parameters():
        if weight.grad is None:
            continue
        size = float(weight.grad.norm())
        if not math.isfinite(size):
            name = key
            break
        if size > norm:
            name, norm = key, size
    return f"the largest gradient was that of {name}" if name else "no layer could be named", events


def named(events: Sequence[int], part: str = "training") -> str:
    """Events in words, ten at most: `` for training events 3, 17 and 4 more``."""
    if not events:
        return ""
    shown = ", ".join(str(event) for event in events[:10])
    more = f" and {len(events) - 10} more" if len(events) > 10 else ""
    return f" for {part} event{'s' if len(events) > 1 else ''} {shown}{more}"


def times(count: int) -> str:
    """``once``, ``twice``, ``3 times``."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def given_up(said: str, rewinds: int, any_best: bool, rate: float, clip: float) -> NumericalError:
    """The error that ends a run which has gone back too often; ``said`` is what went wrong."""
    kept = "the best weights so far are kept" if any_best else "no step was of use"
    return NumericalError(
        f"{said}. After going back {times(rewinds)}, {kept}. Try a lower lr (it was {rate:.3g}) or "
        f"a smaller clip (now {clip:.3g}), and look at the data for extreme values."
    )
