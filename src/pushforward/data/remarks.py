"""What the user should know about the columns of rows before a density is put on them."""

from __future__ import annotations

import numpy as np

from .found import Found, Part, listed

__all__ = ["note_columns"]

_FEW, _ENOUGH = 20, 100


def note_columns(found: Found, parts: dict[str, Part]) -> None:
    """Note the columns that are constant in train, and those that hold few distinct integers.

    On both a density of real numbers can grow without bound.
    """
    names = found.columns or ()
    constant = [
        name
        for name, column in zip(names, parts["train"].values.T, strict=True)
        if len(column) > 1 and column.min() == column.max()
    ]
    if constant:
        _add(found, f"Columns with one and the same value in all of train: {listed(constant)}.")
    if found.levels is not None:  # a probability of integers is at most 1
        return
    values = np.concatenate([part.values for part in parts.values()])
    few = [
        name
        for name, column in zip(names, values.T, strict=True)
        if name not in constant and _few_integers(column)
    ]
    if few:
        who = f"Columns {listed(few)} hold" if len(few) > 1 else f"Column {few[0]} holds"
        _add(
            found,
            f"{who} few distinct values: a density over real numbers can grow without bound "
            "there, so the loss is not comparable.",
        )


def _few_integers(column: np.ndarray) -> bool:
    if len(column) < _ENOUGH or len(np.unique(column[:1000])) > _FEW:
        return False
    return bool((column == np.floor(column)).all()) and len(np.unique(column)) <= _FEW


def _add(found: Found, note: str) -> None:
    if note not in found.notes:  # a Dataset that is opened again brings its notes
        found.notes.append(note)
