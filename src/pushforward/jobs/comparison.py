"""Models side by side on the same data: how well, how large, how fast, at what cost."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..data import Dataset
from ..errors import InputError, NumericalError
from ..model import Model
from ..models import load
from ..scoring import batch_for, score
from ..training.history import read_metrics
from .evaluation import evaluate

__all__ = ["Comparison", "Entry", "compare_runs", "held_out"]

_SECOND = 1.0
"""How long a rate is measured."""

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
        threads: CPU threads with which rates were measured.
        entries: one for each model.
    """

    data: str
    shape: tuple[int, ...]
    levels: int | None
    split: str
    events: int
    threads: int
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
                entry.failed or entry.density,
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
        if any(entry.density == "none" and not entry.failed for entry in self.entries):
            said.append("A model without a density has no likelihood to compare: look at samples.")
        said.append("MiB: the most memory that the training process held, libraries included.")
        return said

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
            "models": [entry.to_dict() for entry in self.entries],
        }


def compare_runs(
    runs: Mapping[str, str | os.PathLike[str]],
    dataset: Dataset,
    *,
    failed: Mapping[str, str] | None = None,
    most: int = 10_000,
    draws: int | None = None,
) -> Comparison:
    """Measure trained models on the same held-out events.

    Args:
        runs: name -> folder of a run, or of a saved model.
        dataset: the data that they learned; its test part is measured on (or validation, train).
        failed: name -> why there is no model, for runs that ended without one.
        most: held-out events at most; the first of them, the same for all.
        draws: samples kept of each; 36 images or 2,000 rows if None.

    Raises:
        InputError: no runs, a folder without a model, or models of other data.
    """
    if not runs:
        raise InputError("there are no models to compare; name at least one.")
    split, events = held_out(dataset)
    events = events[:most]
    failed = failed or {}
    draws = draws or (36 if dataset.kind == "images" else 2000)
    entries = []
    for name, folder in runs.items():
        if name in failed:
            entries.append(Entry(name=name, folder=Path(folder), failed=failed[name]))
            continue
        model = load(folder)
        if model.shape != dataset.shape:
            raise InputError(
                f"{folder} holds a model of events of shape {model.shape}; {dataset.name} has "
                f"{dataset.shape}. Compare models of the same data."
            )
        entries.append(_measured(name, Path(folder), model, events, draws))
    return Comparison(
        data=dataset.name,
        shape=dataset.shape,
        levels=dataset.levels,
        split=split,
        events=len(events),
        threads=torch.get_num_threads(),
        entries=tuple(sorted(entries, key=_order)),
    )


def held_out(dataset: Dataset) -> tuple[str, Array]:
    """The part that says most about a model, of those that hold anything."""
    splits = dataset.splits()
    name = next((name for name in ("test", "validation") if len(splits[name])), "train")
    return name, splits[name]


def _measured(name: str, folder: Path, model: Model, events: Array, draws: int) -> Entry:
    known: dict[str, Any] = {}
    try:
        if model.density != "none":
            result = evaluate(model, events)  # type: ignore[arg-type]
            bits = result.bits_per_dim is not None
            known["loss"] = result.loss
            known["error"] = result.bits_per_dim_error if bits else result.log_prob_error
            known["unit"] = result.unit
            size = min(len(events), batch_for(model))
            known["scores_per_second"] = _per_second(size, lambda: score(model, events[:size]))
        if "sample" not in model.refuses:
            known["samples"] = model.sample(draws, seed=0).cpu().numpy()
            size = min(1000, batch_for(model))
            known["samples_per_second"] = _per_second(size, lambda: model.sample(size, seed=0))
    except (InputError, NumericalError) as error:
        known["failed"] = str(error)
    metrics = model.facts.get("metrics", {})
    return Entry(
        name=name,
        folder=folder,
        density=model.density,
        parameters=sum(p.numel() for p in model.parameters()),
        seconds=metrics.get("seconds"),
        steps=metrics.get("steps"),
        memory=metrics.get("peak_memory"),
        records=tuple(read_metrics(folder / "metrics.jsonl")),
        **known,
    )


def _per_second(size: int, work: Callable[[], object]) -> float:
    """How many events a second, by the fastest of the calls that fit into a second."""
    fastest, start = math.inf, time.perf_counter()
    while True:
        before = time.perf_counter()
        work()
        after = time.perf_counter()
        fastest = min(fastest, after - before)
        if after - start > _SECOND:
            return size / max(fastest, 1e-9)


def _order(entry: Entry) -> tuple[bool, bool, float]:
    """Densities first, the best of them before the others; what failed last."""
    loss = entry.loss if entry.loss is not None and not math.isnan(entry.loss) else math.inf
    return bool(entry.failed), entry.loss is None, loss


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
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _duration(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds < 120 else f"{seconds / 60:,.1f} min"
