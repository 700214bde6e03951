"""What a training run measured on its way."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import write_text, writing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Run", "best_of", "loss_label", "loss_window", "read_metrics"]

Record = dict[str, float]


@dataclass
class Run:
    """The record of a training run, as ``fit`` returns it.

    Attributes:
        unit: of every loss here: ``bits/dim``, or ``nats`` per event.
        records: one dictionary per validation: step, epoch, seconds, train (mean since the last
            one), validation, lr, items_per_second; of a classifier also error; of a GAN, in place
            of train, discriminator (its loss in nats).
        best: the record whose weights the flow holds now.
        steps: how many were taken, which may be more than the last record tells.
        stopped: why training ended: ``interrupted`` and ``terminated`` are for signals.
        settings: what ``fit`` was asked and what it chose.
        events: what happened on the way, a sentence each.
        folder: where the run is written; None if it was not.
    """

    unit: str
    records: list[Record] = field(default_factory=list)
    best: Record = field(default_factory=dict)
    stopped: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    folder: str | None = None
    steps: int = 0

    def is_best(self, loss: float) -> bool:
        """Whether these are the weights to keep; the latest, while no loss has been finite."""
        before = self.best.get("validation", math.inf)
        return loss < before or loss == before == math.inf

    @property
    def waited(self) -> int:
        """Validations since the best one."""
        return sum(record["step"] > self.best["step"] for record in self.records)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the records as JSON lines."""
        plain = [{key: _for_json(value) for key, value in r.items()} for r in self.records]
        write_text(path, "".join(json.dumps(record) + "\n" for record in plain))

    def plot(self, path: str | os.PathLike[str] | None = None) -> Axes:
        """Draw training and validation loss over steps; write a picture if ``path`` is given.

        The heights of the first steps are left outside where they would flatten all the rest.
        """
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        axes = figure.add_subplot()
        steps = [record["step"] for record in self.records]
        train = [record.get("train", math.nan) for record in self.records]
        style: dict[str, Any] = {"marker": "o", "markersize": 4} if len(steps) < 3 else {}
        if any(math.isfinite(loss) for loss in train):
            axes.plot(steps, train, label="training", color="0.6", **style)
        validation = [record["validation"] for record in self.records]
        axes.plot(steps, validation, label="validation", color="C0", **style)
        if self.best:
            label = f"best, {self.best['validation']:.3f}"
            axes.plot(self.best["step"], self.best["validation"], "o", color="C3", label=label)
        window = loss_window(self.records)
        if window is not None:
            axes.set_ylim(*window)
        axes.set(xlabel="step", ylabel=loss_label(self.unit))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="0.92")
        axes.legend(frameon=False)
        if path is not None:
            with writing(path) as temporary:
                figure.savefig(temporary, dpi=120)
        return axes


def loss_label(unit: str) -> str:
    """What a loss in this unit is: ``negative log-likelihood (nats)``."""
    names = {"nats/label": "cross-entropy", "sliced Wasserstein": "distance of samples"}
    return f"{names.get(unit, 'negative log-likelihood')} ({unit})"


def read_metrics(path: str | os.PathLike[str]) -> list[Record]:
    """The records of a ``metrics.jsonl``, also while it is being written: none if it is not there.

    A step that comes twice, since the run went back to a checkpoint, counts as it was last.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    records: dict[float, Record] = {}
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:  # the last line of a run that was killed, or that is being written
            continue
        if not isinstance(record, dict) or not _number(record.get("step")):
            continue
        if _number(record.get("validation")):
            # What the run left behind when it went back is no part of it.
            records = {step: old for step, old in records.items() if step < record["step"]}
            records[record["step"]] = record
    return list(records.values())


def best_of(records: Sequence[Record]) -> Record:
    """The record of the lowest finite validation loss; empty if there is none."""
    finite = [record for record in records if math.isfinite(record["validation"])]
    return min(finite, key=lambda record: record["validation"], default={})


def loss_window(records: Sequence[Record]) -> tuple[float, float] | None:
    """The losses worth a look, with a margin: all but the heights of the first tenth of the steps.

    None if no loss is finite.
    """
    if not records:
        return None
    late = [r for r in records if r["step"] >= records[-1]["step"] / 10] or records
    shown = [r.get(key) for r in late for key in ("train", "validation")]
    finite = [value for value in shown if value is not None and math.isfinite(value)]
    if not finite:
        return None
    low, high = min(finite), max(finite)
    margin = 0.06 * (high - low) or max(0.05 * abs(high), 0.01)
    return low - margin, high + margin


def _for_json(value: float) -> float | None:
    """JSON knows no NaN and no infinity."""
    return value if math.isfinite(value) else None


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
