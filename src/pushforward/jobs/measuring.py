"""How well a model does what it is for: a likelihood, or what stands in where there is none."""

from __future__ import annotations

import dataclasses
import math
import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checks import check_events, check_labels
from ..data import Dataset
from ..distances import sliced_wasserstein
from ..errors import InputError
from ..model import Model
from ..scoring import label_scores
from .evaluation import Evaluation, evaluate

__all__ = ["Classification", "SampleDistance", "SampleRuler", "held_out", "measure"]

_MOST = 10_000
"""Events that a distance between samples and data is measured on, at most."""

_HALVINGS = 8
"""Of the events, to know the distance of a perfect model."""

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True)
class Classification:
    r"""How well a classifier knows the labels of events. It prints as a few lines.

    Attributes:
        flow: the model's name.
        events: N.
        loss: the cross-entropy :math:`-\frac{1}{N}\sum_i \log p(y_i \mid x_i)`, nats per label.
        loss_error: its standard error; None for one event.
        error: the share of events whose most probable label is wrong.
        error_error: its standard error, :math:`\sqrt{e (1 - e) / N}`.
        unit: of the loss.
    """

    flow: str
    events: int
    loss: float
    loss_error: float | None
    error: float
    error_error: float
    unit: str = "nats/label"

    @property
    def sentences(self) -> str:
        """What the numbers mean."""
        return "Guessing among K classes at random costs log K nats per label."

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        plus = "" if self.loss_error is None else f" ± {self.loss_error:.4f}"
        rows = [
            ("events", f"{self.events:,}"),
            ("cross-entropy", f"{self.loss:.4f}{plus} nats per label"),
            ("error rate", f"{100 * self.error:.2f} ± {100 * self.error_error:.2f} %"),
        ]
        return _lines(self.flow, rows, self.sentences)


@dataclass(frozen=True, kw_only=True)
class SampleDistance:
    """How far samples of a model are from events, where it has no density. It prints as lines.

    Attributes:
        flow: the model's name.
        events: N, as many samples as events.
        loss: the sliced Wasserstein distance between them.
        floor: what two halves of the events have, scaled to N: the distance of a perfect model.
        loss_error: None: one draw of samples with a fixed seed.
        unit: of both.
    """

    flow: str
    events: int
    loss: float
    floor: float | None
    loss_error: float | None = None
    unit: str = "sliced Wasserstein"

    @property
    def sentences(self) -> str:
        """What the numbers mean."""
        return (
            "The model has no density, so this is no likelihood: a distance between samples and "
            "events along random directions, in shares of the range of integers or standard "
            "deviations of columns. Samples learned by heart would please it as well."
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        rows = [("events", f"{self.events:,}"), (self.unit, f"{self.loss:.4f}")]
        if self.floor is not None:
            rows.append(("of a perfect model", f"about {self.floor:.4f}"))
        return _lines(self.flow, rows, self.sentences)


def held_out(dataset: Dataset) -> tuple[str, Array]:
    """The part that says most about a model, of those that hold anything."""
    splits = dataset.splits()
    name = next((name for name in ("test", "validation") if len(splits[name])), "train")
    return name, splits[name]


class SampleRuler:
    r"""How far samples are from events, on a scale of the events, so the same for any model.

    Integers are measured in shares of their range, and real numbers in standard deviations of the
    events' columns; the distance is ``sliced_wasserstein``.

    Args:
        events: ``(N, *shape)``.
        levels: of integers; None for real numbers.

    Attributes:
        events: N, which is how many samples it takes.
        floor: what random halves of the events have, scaled to N: the distance of a perfect model,
            about; None for a single event.
    """

    def __init__(self, events: Array, levels: int | None) -> None:
        real = torch.as_tensor(np.asarray(events)).double()
        self.events = len(real)
        spread = real.std(0, correction=0) if levels is None else real.new_tensor(levels - 1.0)
        self._spread = torch.where(spread > 0, spread, 1.0)
        self._centre = real.mean(0)  # large numbers of small spread would lose it otherwise
        self._real = self._scaled(real)
        generator, half, found = torch.Generator().manual_seed(0), len(real) // 2, []
        for _ in range(_HALVINGS if half else 0):
            order = torch.randperm(len(real), generator=generator)
            first, second = self._real[order[:half]], self._real[order[half : 2 * half]]
            found.append(sliced_wasserstein(first, second, directions=64) / math.sqrt(2))
        self.floor = sum(found) / len(found) if found else None

    def __call__(self, samples: Tensor) -> float:
        """The distance of as many samples as there are events; infinite if one is not finite."""
        made = self._scaled(samples.cpu().double())
        if not bool(torch.isfinite(made).all()):
            return math.inf
        return sliced_wasserstein(made, self._real)

    def _scaled(self, x: Tensor) -> Tensor:
        return (x - self._centre) / self._spread


def measure(
    model: Model,
    x: Any,
    context: Any = None,
    *,
    samples: int = 1,
    batch_size: int | None = None,
) -> Evaluation | Classification | SampleDistance:
    """Measure a model on events: ``evaluate`` where it has a density, else what there is.

    A classifier takes its labels ``(N,)`` as ``context`` and is measured by cross-entropy and error
    rate; a GAN by a distance between samples and at most 10,000 of the events, drawn evenly.

    Raises:
        InputError: no events, or events or labels that do not fit the model.
        NumericalError: a log-probability is NaN.
    """
    if model.labels:
        return _classification(model, x, context, batch_size)
    if model.judged_by == "distance":
        return _sample_distance(model, x)
    return evaluate(model, x, context, samples=samples, batch_size=batch_size)  # type: ignore[arg-type]


def _classification(model: Model, x: Any, labels: Any, batch_size: int | None) -> Classification:
    labels = check_labels(labels, name=model.name, classes=model.labels, rows=len(x))
    if not len(x):
        raise InputError(f"measuring {model.name} takes events; there are none.")
    scores, missed = label_scores(model, x, labels.cpu(), batch_size=batch_size)
    count, error = len(scores), float(missed.mean())
    return Classification(
        flow=model.name,
        events=count,
        loss=-float(scores.mean()),
        loss_error=float(scores.std(ddof=1) / math.sqrt(count)) if count > 1 else None,
        error=error,
        error_error=math.sqrt(error * (1 - error) / count),
        unit=model.unit,
    )


def _sample_distance(model: Any, x: Any) -> SampleDistance:
    if not len(x):
        raise InputError(f"measuring {model.name} takes events; there are none.")
    # Evenly from all of them: sources are often sorted.
    index = np.linspace(0, len(x) - 1, min(len(x), _MOST)).astype(np.int64)
    events = check_events(x[index], name=model.name, shape=model.shape, levels=model.levels)
    half, floor = len(events) // 2, None
    if half:
        order = torch.randperm(len(events), generator=torch.Generator().manual_seed(0))
        first, second = events[order[:half]], events[order[half : 2 * half]]
        floor = model.distance_between(first, second) / math.sqrt(2)
    loss = model.distance(events)
    return SampleDistance(
        flow=model.name, events=len(events), loss=loss, floor=floor, unit=model.unit
    )


def _lines(name: str, rows: list[tuple[str, str]], said: str) -> str:
    width = max(17, *(len(label) for label, _ in rows))
    lines = [f"  {label:<{width}} {value}" for label, value in rows]
    return "\n".join([name, *lines, textwrap.fill(said, 80)])
