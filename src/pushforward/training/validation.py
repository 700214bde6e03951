"""The validation loss: of the flow as it would be kept, over all events, shared by the ranks."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import numpy as np
from torch import Tensor

from ..errors import NumericalError
from ..flow import Flow
from ..layers import conditioners_in, has_batch_norms, recalibrate
from ..moments import RunningMoments
from ..scoring import batch_for, in_unit, score
from .average import WeightAverage
from .events import Events
from .guard import named
from .ranks import Ranks

__all__ = ["Validation"]


class Validation:
    """Held-out events to measure by, and training events to read batch-norm statistics off."""

    def __init__(self, flow: Flow, events: Events, sample: Events, ranks: Ranks) -> None:
        self.flow, self.events, self.ranks = flow, events, ranks
        self.sample = sample.some(500 if len(flow.shape) == 3 else 10_000)

    @contextlib.contextmanager
    def as_kept(self, average: WeightAverage | None) -> Iterator[float]:
        """The flow as it would be kept: averaged weights, float32, exact batch-norm statistics.

        Gives the largest factor by which the running statistics were off; 0 without batch norms.
        """
        own: list[tuple[Tensor, Tensor]] = []
        drift = 0.0
        with contextlib.ExitStack() as stack:
            if average is not None:
                stack.enter_context(average.applied())
            stack.enter_context(conditioners_in(self.flow, None))
            if has_batch_norms(self.flow):
                moments = [m for m in self.flow.modules() if isinstance(m, RunningMoments)]
                own = [(buffer, buffer.clone()) for m in moments for buffer in m.buffers()]
                drift = max([1.0, *recalibrate(self.flow, [self.sample.all()]).values()])
            try:
                yield drift
            finally:
                for buffer, value in own:
                    buffer.copy_(value)

    def loss(self) -> tuple[float, str]:
        """The mean over all events, in the flow's unit; each rank scores a share.

        Returns:
            the loss, NaN if an event cannot be scored, and what is wrong if it is not finite.
        """
        events, share = self.events, self.ranks.part(len(self.events))
        context = None if events.context is None else events.context[share]
        scores, said = np.empty(0), ""
        try:
            scores = score(self.flow, events.x[share], context, batch_size=batch_for(self.flow))
        except NumericalError as error:  # maybe on this rank alone: the others must hear of it
            said = str(error)
        shares = self.ranks.gather((scores, said))
        said = next((words for _, words in shares if words), "")
        if said:
            return math.nan, f"the validation loss was NaN; {said.rstrip('.')}"
        scores = np.concatenate([part for part, _ in shares])
        infinite = np.flatnonzero(np.isinf(scores)).tolist()
        if infinite:
            said = f"the validation loss was infinite{named(infinite, 'validation')}"
        return in_unit(self.flow, float(np.mean(scores))), said
