"""A Dataset that was opened once, read again: some of its columns, say."""

from __future__ import annotations

import numpy as np

from .dataset import Dataset
from .events import default_columns
from .found import Found, Part, Request
from .tables import choose

__all__ = ["from_dataset"]


def from_dataset(dataset: Dataset, request: Request) -> Found:
    """Its splits, as they are, of the columns that are asked for."""
    labels, columns = dataset.labels or {}, dataset.columns or ()
    found = Found(
        dataset.name,
        {name: Part(values, labels.get(name)) for name, values in dataset.splits().items()},
        levels=dataset.levels,
        splitting="fixed",
        laid_out=True,
        label_names=dataset.label_names,
        notes=list(dataset.notes),
    )
    mapped = isinstance(dataset.train, np.memmap)
    found.settled = mapped and request.columns in (None, dataset.columns) and not request.levels
    if found.settled:
        found.columns, found.missing = dataset.columns, dataset.missing
        found.schema = dataset.schema
        return found
    if columns == default_columns(len(columns)):  # images, or rows that came without names
        return found
    found.columns = choose(dict.fromkeys(columns, "number"), request, dataset.name).columns
    index = [columns.index(column) for column in found.columns]
    if dataset.schema is not None:
        found.schema = dataset.schema.take(found.columns)
    if dataset.missing is not None:
        found.missing = tuple(dataset.missing[i] for i in index)
    if found.columns != columns:
        for part in found.parts.values():
            part.values = part.values[:, index]
    return found
