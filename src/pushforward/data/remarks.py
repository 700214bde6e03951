"""What the user should know about the columns of rows before a density is put on them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import numpy as np

from .found import Found, Part, listed
from .schema import Column

__all__ = ["note_columns"]

_FEW, _ENOUGH = 20, 100


def note_columns(found: Found, parts: dict[str, Part]) -> None:
    """Note the columns that are constant in train, and those that hold few distinct integers.

    On both a density of real numbers can grow without bound.
    """
    names = found.columns or ()
    train = parts["train"].values
    # Codes are not far out, and what lies on a grid is dequantised.
    plain = [Column(name=name, kind="number") for name in names]
    columns = plain if found.schema is None else found.schema.columns
    constant = [name for i, name in enumerate(names) if len(train) > 1 and _constant(train[:, i])]
    if constant:
        _add(found, f"Columns with one and the same value in all of train: {listed(constant)}.")
    if found.levels is not None:  # a probability of integers is at most 1
        return
    farthest = [
        (name, _far(train[: 1 << 20, i]))
        for i, name in enumerate(names)
        if columns[i].kind in ("number", "integer")
    ]
    far = [f"{name} (up to {top:.3g})" for name, top in farthest if top is not None]
    if far:
        _add(
            found,
            f"{_hold(far)} values millions of times farther out than most: a mistake in the data "
            "or a code for missing? They would spoil the scaling of all others.",
        )
    few = [
        name
        for i, name in enumerate(names)
        if name not in constant
        and columns[i].step is None
        and _few_integers([part.values[:, i] for part in parts.values()])
    ]
    if few:
        _add(
            found,
            f"{_hold(few)} few distinct values: a density over real numbers can grow without bound "
            "there, so the loss is not comparable.",
        )


def _hold(names: list[str]) -> str:
    return f"Columns {listed(names)} hold" if len(names) > 1 else f"Column {names[0]} holds"


def _far(column: np.ndarray) -> float | None:
    """The value farthest out, if it is absurdly far out by the spread of the middle half.

    Of a large table the first million rows are looked at: a column is a pass over the file.
    """
    first = column[: 1 << 16]
    first = first[~np.isnan(first)]
    if len(first) < _ENOUGH:
        return None
    low, middle, high = np.quantile(first, [0.25, 0.5, 0.75])
    far, size = 0.0, float(middle)
    for block in _blocks(column):
        distances = np.nan_to_num(np.abs(block.astype(np.float64) - middle))
        worst = int(distances.argmax())
        if distances[worst] > far:
            far, size = float(distances[worst]), float(block[worst])
    return size if high > low and far > 1e6 * (high - low) else None


def _blocks(column: np.ndarray) -> Iterator[np.ndarray]:
    """Small blocks first: most columns show after a few values that they are not of the kind."""
    start, step = 0, 1 << 10
    while start < len(column):
        yield column[start : start + step]
        start, step = start + step, min(8 * step, 1 << 20)


def _constant(column: np.ndarray) -> bool:
    """Whether all numbers that are there are the same."""
    low, high = np.nan, np.nan
    for block in _blocks(column):
        low, high = np.fmin(low, np.fmin.reduce(block)), np.fmax(high, np.fmax.reduce(block))
        if low < high:
            return False
    return bool(low == high)


def _few_integers(columns: list[np.ndarray]) -> bool:
    if sum(map(len, columns)) < _ENOUGH:
        return False
    seen = np.empty(0)
    for block in chain.from_iterable(map(_blocks, columns)):
        seen = np.union1d(seen, block[~np.isnan(block)])
        if len(seen) > _FEW or (seen != np.floor(seen)).any():
            return False
    return True


def _add(found: Found, note: str) -> None:
    if note not in found.notes:  # a Dataset that is opened again brings its notes
        found.notes.append(note)
