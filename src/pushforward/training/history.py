"""What a training run measured on its way."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..files import write_text, writing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Run"]


@dataclass
class Run:
    """The record of a training run, as ``fit`` returns it.

    Attributes:
        unit: of every loss here: ``bits/dim``, or ``nats`` per event.
        records: one dictionary per validation: step, epoch, seconds, train (mean since the last
            one), validation, lr.
        best: the record whose weights the flow holds now.
        stopped: why training ended.
        settings: what ``fit`` was asked and what it chose.
    """

    unit: str
    records: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, float] = field(default_factory=dict)
    stopped: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the records as JSON lines."""
        write_text(path, "".join(json.dumps(record) + "\n" for record in self.records))

    def plot(self, path: str | os.PathLike[str] | None = None) -> Axes:
        """Draw training and validation loss over steps; write a picture if ``path`` is given."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        axes = figure.add_subplot()
        steps = [record["step"] for record in self.records]
        axes.plot(steps, [r["train"] for r in self.records], label="training", color="0.6")
        axes.plot(steps, [r["validation"] for r in self.records], label="validation", color="C0")
        if self.best:
            axes.plot(self.best["step"], self.best["validation"], "o", color="C3", label="best")
        axes.set(xlabel="step", ylabel=f"negative log-likelihood ({self.unit})")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        if path is not None:
            with writing(path) as temporary:
                figure.savefig(temporary, dpi=120)
        return axes
