"""Measuring trained models on the same events: what a comparison is made of."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
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
from .comparison import Comparison, Entry
from .evaluation import evaluate
from .measuring import SampleRuler, held_out

__all__ = ["compare_runs"]

_SECOND = 1.0
"""How long a rate is measured."""
_DRAWN = 2_000
"""Samples that are held against as many events: more cost autoregressive flows minutes."""

Array = np.ndarray[Any, np.dtype[Any]]


def compare_runs(
    runs: Mapping[str, str | os.PathLike[str]],
    dataset: Dataset,
    *,
    failed: Mapping[str, str] | None = None,
    most: int = 10_000,
    draws: int | None = None,
    device: str = "cpu",
) -> Comparison:
    """Measure trained models on the same held-out events.

    Args:
        runs: name -> folder of a run, or of a saved model.
        dataset: the data that they learned; its test part is measured on (or validation, train).
        failed: name -> why there is no model, for runs that ended without one.
        most: held-out events at most; the first of them, the same for all.
        draws: samples kept of each; 36 images or 2,000 rows if None.
        device: where they are measured.

    Raises:
        InputError: no runs, a folder without a model, or models of other data.
    """
    if not runs:
        raise InputError("there are no models to compare; name at least one.")
    split, events = held_out(dataset)
    events = events[:most]
    failed = failed or {}
    draws = draws or (36 if dataset.kind == "images" else 2000)
    # Evenly from all of them: sources are often sorted.
    some = np.linspace(0, len(events) - 1, min(len(events), _DRAWN)).astype(np.int64)
    ruler = SampleRuler(events[some], dataset.levels)
    entries = []
    for name, folder in runs.items():
        if name in failed:
            entries.append(Entry(name=name, folder=Path(folder), failed=failed[name]))
            continue
        model = load(folder, device=device)
        if model.shape != dataset.shape:
            raise InputError(
                f"{folder} holds a model of events of shape {model.shape}; {dataset.name} has "
                f"{dataset.shape}. Compare models of the same data."
            )
        entries.append(_measured(name, Path(folder), model, events, ruler, draws))
    return Comparison(
        data=dataset.name,
        shape=dataset.shape,
        levels=dataset.levels,
        split=split,
        events=len(events),
        threads=torch.get_num_threads(),
        drawn=ruler.events,
        floor=ruler.floor,
        entries=tuple(sorted(entries, key=_order)),
    )


def _measured(
    name: str, folder: Path, model: Model, events: Array, ruler: SampleRuler, draws: int
) -> Entry:
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
            samples = model.sample(max(draws, ruler.events), seed=0)
            known["samples"] = samples[:draws].cpu().numpy()
            known["distance"] = ruler(samples[: ruler.events])
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
