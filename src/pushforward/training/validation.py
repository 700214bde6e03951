"""The validation loss: of the model as it would be kept, over all events, shared by the ranks."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import NumericalError
from ..layers import conditioners_in, has_batch_norms
from ..model import Model
from ..moments import RunningMoments
from ..scoring import batch_for, in_unit, label_scores, score
from .average import WeightAverage
from .events import Events
from .guard import named
from .ranks import Ranks

__all__ = ["Validation"]

Array = np.ndarray[Any, np.dtype[np.float64]]


class Validation:
    """Held-out events to measure by, and training events to read batch-norm statistics off."""

    def __init__(self, flow: Model, events: Events, sample: Events, ranks: Ranks) -> None:
        self.flow, self.events, self.ranks = flow, events, ranks
        self.sample = sample.some(500 if len(flow.shape) == 3 else 10_000)

    @contextlib.contextmanager
    def as_kept(self, average: WeightAverage | None) -> Iterator[float]:
        """The model as it would be kept: averaged weights, float32, exact batch-norm statistics.

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
                drift = self.flow.settle(*self.sample.all())
            try:
                yield drift
            finally:
                for buffer, value in own:
                    buffer.copy_(value)

    def loss(self) -> tuple[float, str, dict[str, float]]:
        """The mean over all events, in the model's unit; each rank scores a share.

        Returns:
            the loss, NaN if an event cannot be scored; what is wrong if it is not finite; and what
            else was measured, by name.
        """
        if self.flow.judged_by == "distance":
            return self._distance()
        events, share = self.events, self.ranks.part(len(self.events))
        context = None if events.context is None else events.context[share]
        scores, said = np.empty((2, 0)), ""
        try:
            scores = self._scores(events.x[share], context)
        except NumericalError as error:  # maybe on this rank alone: the others must hear of it
            said = str(error)
        shares = self.ranks.gather((scores, said))
        said = next((words for _, words in shares if words), "")
        if said:
            return math.nan, f"the validation loss was NaN; {said.rstrip('.')}", {}
        scores, wrong = np.concatenate([part for part, _ in shares], axis=1)
        more = {"error": float(np.mean(wrong))} if self.flow.labels else {}
        infinite = np.flatnonzero(np.isinf(scores)).tolist()
        if infinite:
            said = f"the validation loss was infinite{named(infinite, 'validation')}"
        return in_unit(self.flow, float(np.mean(scores))), said, more

    def _scores(self, x: Any, context: Tensor | None) -> Array:
        """The log_prob or objective of each event, in nats, and whether its label was missed."""
        size = batch_for(self.flow)
        if self.flow.judged_by == "log_prob":
            scores = score(self.flow, x, context, batch_size=size)
            return np.stack((scores, np.zeros_like(scores)))
        assert context is not None
        return label_scores(self.flow, x, context, batch_size=size)

    def _distance(self) -> tuple[float, str, dict[str, float]]:
        with torch.no_grad():
            distance: float = self.flow.distance(self.events.all()[0])  # type: ignore[operator]
        if not math.isfinite(distance):
            return math.nan, "samples of the model were not finite", {}
        return distance, "", {}
