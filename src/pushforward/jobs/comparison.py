"""Models side by side on the same data: how well, how large, how fast, at what cost."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Comparison", "Entry"]

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What was measured of one model. None: it has no such thing, or it is not known.

    Attributes:
        name: of the model, as ``create`` knows it.
        folder: of its run.
        density: what its loss is: ``exact``, ``lower bound`` on the log-likelihood, or ``none``.
        loss: on held-out events, in ``unit``: bits/dim, or negative log-density in nats.
        error: its standard error.
        unit: of ``loss``.
        distance: of samples to held-out events, see ``SampleRuler``; what all share that sample.
        parameters: trained numbers.
        seconds: of training, validation included.
        steps: of training.
        samples_per_second: events drawn, in batches.
        scores_per_second: events scored, in batches.
        memory: the most bytes that the training process held.
        records: its validations, as in ``metrics.jsonl``.
        samples: some draws, ``(n, *shape)``; None if it draws none.
        failed: why there is no result; empty if there is one.
    """

    name: str
    folder: Path
    density: str = "none"
    loss: float | None = None
    error: float | None = None
    unit: str = ""
    distance: float | None = None
    parameters: int | None = None
    seconds: float | None = None
    steps: int | None = None
    samples_per_second: float | None = None
    scores_per_second: float | None = None
    memory: int | None = None
    records: Sequence[dict[str, float]] = field(default_factory=tuple, repr=False)
    samples: Array | None = field(default=None, repr=False)
    failed: str = ""

    def to_dict(self) -> dict[str, Any]:
        """All but draws and records, ready for JSON."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        del values["records"], values["samples"]
        values["folder"] = self.folder.name
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in values.items()
        }


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Several models on the same held-out events, the best density first.

    Attributes:
        data: name of the data.
        shape: of an event.
        levels: of integer data; None for real numbers.
        split: the part that was measured on.
        events: how many that are.
        drawn: samples that each ``distance`` is of, with as many of the events.
        floor: the distance of a perfect model, about; None for a single event.
        threads: CPU threads with which rates were measured.
        entries: one for each model.
    """

    data: str
    shape: tuple[int, ...]
    levels: int | None
    split: str
    events: int
    threads: int
    drawn: int = 0
    floor: float | None = None
    entries: tuple[Entry, ...]

    @property
    def unit(self) -> str:
        """Of the losses that can be compared."""
        return "nats" if self.levels is None else "bits/dim"

    @property
    def header(self) -> tuple[str, ...]:
        """The columns of ``rows``."""
        return (
            "model",
            f"{self.split} {self.unit}",
            "density",
            "distance",
            "parameters",
            "training",
            "samples/s",
            "scores/s",
            "MiB",
        )

    def rows(self) -> list[tuple[str, ...]]:
        """The table, as texts."""
        return [
            (
                entry.name,
                _loss(entry, self.unit),
                "failed" if entry.failed else entry.density,
                "-" if entry.distance is None else f"{entry.distance:.3g}",
                "-" if entry.parameters is None else f"{entry.parameters:,}",
                "-" if entry.seconds is None else _duration(entry.seconds),
                _rate(entry.samples_per_second),
                _rate(entry.scores_per_second),
                "-" if entry.memory is None else f"{entry.memory / 2**20:,.0f}",
            )
            for entry in self.entries
        ]

    @property
    def sentences(self) -> list[str]:
        """How to read the table."""
        said = []
        if self.unit == "bits/dim":
            said.append(
                "Bits per number that lossless coding by the model needs: fewer is better. "
                "A lower bound on the log-likelihood is an upper bound on these bits: of "
                "dequantisation noise for flows, of the latent variable too for a VAE."
            )
        else:
            said.append(
                "Negative log-density in nats per event, in the units of the data: lower is "
                "better, and below 0 is fine."
            )
        if any(entry.distance is not None for entry in self.entries):
            said.append(self._about_distances)
        if any(entry.density == "none" and not entry.failed for entry in self.entries):
            said.append("A model without a density has no likelihood: compare distance and looks.")
        for entry in self.entries:
            if entry.failed:
                why = entry.failed.removeprefix("failed: ").rstrip(".")
                said.append(f"{entry.name} failed: {why}.")
        said.append("MiB: the most memory that the training process held, libraries included.")
        return said

    @property
    def _about_distances(self) -> str:
        unit = "standard deviations" if self.levels is None else "shares of the range"
        floor = "" if self.floor is None else f"; a perfect model has about {self.floor:.2g}"
        return (
            f"Distance: how far {self.drawn:,} samples are from as many {self.split} events, "
            f"along random directions (sliced Wasserstein), in {unit}{floor}. It is no "
            f"likelihood: samples learned by heart would please it as well."
        )

    def markdown(self) -> str:
        """The table as a page."""
        lines = [f"# Models of {self.data}", "", _row(self.header), "|---" * len(self.header) + "|"]
        lines += [_row(row) for row in self.rows()]
        lines += ["", f"{self.events:,} {self.split} events. " + " ".join(self.sentences), ""]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Everything but draws and records, ready for JSON."""
        return {
            "data": self.data,
            "shape": list(self.shape),
            "levels": self.levels,
            "split": self.split,
            "events": self.events,
            "unit": self.unit,
            "threads": self.threads,
            "distance": {"unit": "sliced Wasserstein", "events": self.drawn, "floor": self.floor},
            "models": [entry.to_dict() for entry in self.entries],
        }


def _loss(entry: Entry, unit: str) -> str:
    if entry.loss is None:
        return "-"
    if entry.unit != unit:
        return f"{entry.loss:,.3f} {entry.unit}"
    error = "" if entry.error is None else f" ± {entry.error:.2g}"
    return f"{entry.loss:,.3f}{error}"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _rate(value: float | None) -> str:
    if value is None:
        return "-"
    if value >= 10_000:
        return f"{value / 1e6:,.1f}M" if value >= 1e6 else f"{value / 1e3:.0f}k"
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _duration(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds < 120 else f"{seconds / 60:,.1f} min"
