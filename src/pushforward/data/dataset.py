"""What every source becomes: arrays in three splits, with a kind, a shape and a name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .given import Given
from .mapped import release
from .schema import Schema

__all__ = ["Dataset", "Kind", "Source", "describe"]

Source = Any
"""A path, a built-in name, a NumPy array, a torch tensor, a pandas data frame, or a `Dataset`."""

Kind = Literal["images", "rows"]


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Images or rows in three splits.

    Attributes:
        name: the built-in name, or the stem of the file or folder.
        kind: ``"images"`` or ``"rows"``.
        shape: the event shape, ``(C, H, W)`` or ``(D,)``.
        levels: how many integer levels a value can take, 0 to levels - 1 (256 for 8-bit images);
            None for continuous rows.
        train, validation, test: ``(N, *shape)``. Images are uint8 (uint16 above 256 levels); rows
            are float32, or float64 where the source is float64 or holds integers beyond 2**24.
            Validation and test may be empty. A source larger than memory comes as read-only maps of
            files (`numpy.memmap`), which the system reads when they are used.
        columns: the names of the D columns of rows, None for images.
        labels: split name -> labels ``(N,)``, where the source has them. They are never modelled.
        notes: what the user should know about the reading, one sentence each.
        missing: for rows, how many values each column lacked before incomplete rows were dropped.
        label_names: what the integers in ``labels`` stand for, where the source says so.
        schema: what the columns of a table hold, where that was asked for; it turns the numbers
            back into cells.
        given: the columns, or the labels, that a model is to be conditioned on, where that was
            asked for; they are not among ``columns``.
        context: split name -> what they are as numbers, ``(N, K)`` float32.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]
    levels: int | None
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    columns: tuple[str, ...] | None = None
    labels: dict[str, np.ndarray] | None = None
    notes: tuple[str, ...] = ()
    missing: tuple[int, ...] | None = None
    label_names: tuple[str, ...] | None = None
    schema: Schema | None = None
    given: Given | None = None
    context: dict[str, np.ndarray] | None = None

    def splits(self) -> dict[str, np.ndarray]:
        """Return ``{"train": ..., "validation": ..., "test": ...}``, in this order."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def everything(self) -> np.ndarray:
        """All events ``(N, *shape)``: train, then validation, then test. A copy at every call."""
        return np.concatenate(list(self.splits().values()))

    def __len__(self) -> int:
        return sum(len(values) for values in self.splits().values())

    def __repr__(self) -> str:
        levels = "" if self.levels is None else f", {self.levels} levels"
        counts = ", ".join(f"{len(values):,} {split}" for split, values in self.splits().items())
        return f"Dataset({self.name!r}, {self.kind} {self.shape}{levels}: {counts})"


def describe(dataset: Dataset) -> dict[str, Any]:
    """Summarise a data set in plain Python values, ready for ``json.dumps``.

    Returns:
        ``name``, ``kind``, ``shape``, ``levels``, ``dtype``, ``counts`` (per split and ``total``),
        ``min`` and ``max``, ``labels`` (the number of distinct labels, or None) and ``notes``. For
        rows also ``columns``: a list with ``name``, ``mean``, ``std`` (of the population),
        ``min``, ``max`` and ``missing`` (values lacking in the source) of each column, and, where
        there is a schema, its ``kind`` and what it is ``about``.
    """
    filled = [values for values in dataset.splits().values() if values.size]
    summary: dict[str, Any] = {
        "name": dataset.name,
        "kind": dataset.kind,
        "shape": list(dataset.shape),
        "levels": dataset.levels,
        "dtype": str(dataset.train.dtype),
        "counts": {
            **{split: len(values) for split, values in dataset.splits().items()},
            "total": len(dataset),
        },
        "min": np.fmin.reduce(
            [_end(np.fmin, b) for values in filled for b in _blocks(values)]
        ).item(),
        "max": np.fmax.reduce(
            [_end(np.fmax, b) for values in filled for b in _blocks(values)]
        ).item(),
        "labels": _distinct_labels(dataset),
        "notes": list(dataset.notes),
    }
    if dataset.kind == "rows":
        summary["columns"] = _describe_columns(dataset)
    return summary


def _end(smaller: np.ufunc, block: np.ndarray) -> Any:
    """The smallest or largest value that is there."""
    return smaller.reduce(block, axis=None).item()


def _distinct_labels(dataset: Dataset) -> int | None:
    if not dataset.labels:
        return None
    seen = [np.unique(block) for labels in dataset.labels.values() for block in _blocks(labels)]
    return len(np.unique(np.concatenate(seen))) if seen else 0


def _blocks(values: np.ndarray) -> Iterator[np.ndarray]:
    """Parts of an array that fit into memory, wherever the array lies."""
    step = max(1, (1 << 22) // max(1, values[:1].nbytes))
    for start in range(0, len(values), step):
        yield values[start : start + step]
        release(values)


def _describe_columns(dataset: Dataset) -> list[dict[str, Any]]:
    names = dataset.columns or tuple(f"x{i}" for i in range(dataset.shape[0]))
    missing = dataset.missing or (0,) * len(names)
    kinds = [{}] * len(names) if dataset.schema is None else dataset.schema.describe()
    count, mean = np.zeros(len(names)), np.zeros(len(names))
    squares = np.zeros(len(names))  # of the differences from the mean
    low, high = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    for block in (block for values in dataset.splits().values() for block in _blocks(values)):
        # Chan, Golub, LeVeque 1979: the moments of two sets joined
        n = (~np.isnan(block)).sum(axis=0)
        centre = np.nansum(block, axis=0, dtype=np.float64) / np.maximum(n, 1)
        apart, both = centre - mean, np.maximum(count + n, 1)
        squares += np.nansum((block - centre) ** 2, axis=0) + apart**2 * count * n / both
        mean += apart * n / both
        count += n
        low = np.fmin(low, np.fmin.reduce(block, axis=0))
        high = np.fmax(high, np.fmax.reduce(block, axis=0))
    std = np.sqrt(squares / np.maximum(count, 1))
    return [
        {
            "name": name,
            "mean": float(mean[i]),
            "std": float(std[i]),
            "min": float(low[i]),
            "max": float(high[i]),
            "missing": lacking,
            **{key: kinds[i][key] for key in ("kind", "about") if kinds[i]},
        }
        for i, (name, lacking) in enumerate(zip(names, missing, strict=True))
    ]
