"""What a search for anomalies reads: the events, and usual events to compare them with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from ...flow import Flow
from ..learned_data import read_as_learned

__all__ = ["events_for", "own_held_out"]

Array = np.ndarray[Any, np.dtype[Any]]


def events_for(flow: Flow, source: Any) -> Array:
    """All events of a source as the flow takes them, in order: ``(N, *shape)``.

    Columns are found by name; missing values stay NaN.

    Raises:
        InputError: the source cannot be read, does not fit the flow, or holds no events.
    """
    x = source
    if not isinstance(x, np.ndarray) or x.shape[1:] != flow.shape or x.dtype == object:
        x = read_as_learned(flow, source, missing="keep")
    if not len(x):
        raise InputError("there are no events to look at; give at least one.")
    if x.dtype.kind == "f" and np.isinf(x).any():
        row = int(np.flatnonzero(np.isinf(x.reshape(len(x), -1)).any(axis=1))[0])
        raise InputError(f"event {row:,} (the first is 0) holds an infinite number; leave it out.")
    return x


def own_held_out(flow: Flow, source: Any) -> Array | None:
    """What training set aside of a source, validation and test together; None if it is another one.

    It is the source of training if its name is, and its splits by the same seed are as large.
    """
    facts = flow.facts.get("data")
    counts = facts.get("counts") if isinstance(facts, Mapping) else None
    if not isinstance(source, str | os.PathLike) or not isinstance(counts, Mapping):
        return None
    path, name = Path(source), str(facts.get("name"))  # type: ignore[union-attr]
    if name not in (str(source).lower().replace("_", "-"), path.name, path.stem):
        return None
    parts = []
    for split in ("validation", "test"):
        if not counts.get(split):
            continue
        try:
            part = read_as_learned(flow, source, split=split)
        except InputError:
            return None
        if len(part) != counts[split]:
            return None
        parts.append(part)
    return np.concatenate(parts) if parts else None
