"""Train on one table, test on another: what rows are worth to somebody who learns from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import InputError
from ..tables.mixed_table import MixedTable
from ..tables.two_sample import trees

__all__ = ["Task", "task_of"]

Array = np.ndarray[Any, np.dtype[Any]]

_CLASSES = 10
"""Integers of at most so many different values are classes."""


@dataclass(frozen=True)
class Task:
    """A column that trees predict from all the others.

    Attributes:
        name: of the column.
        column: its place.
        classes: its values; None for a number, which is a regression.
        measure: ``macro F1`` of classes, ``R²`` of numbers; 1 is best for both.
    """

    name: str
    column: int
    classes: Array | None
    categories: Array

    @property
    def measure(self) -> str:
        """What ``score`` returns."""
        return "R²" if self.classes is None else "macro F1"

    def score(self, train: Array, test: Array, seed: int = 0) -> float:
        """Trees learned from ``train``, measured on ``test``; both ``(N, D)``."""
        x, y = self._split(train)
        x_test, y_test = self._split(test)
        if not len(y) or not len(y_test):
            return float("nan")
        if self.classes is None:
            model = trees(self.categories, seed=seed, regression=True).fit(x, y)
            rest = ((y_test - model.predict(x_test)) ** 2).sum()
            total = ((y_test - y_test.mean()) ** 2).sum()
            return float(1 - rest / total) if total > 0 else float("nan")
        if len(np.unique(y)) < 2:
            guess = np.full(len(y_test), y[0])
        else:
            steps = 100 if len(self.classes) <= 4 else 40
            guess = trees(self.categories, seed=seed, steps=steps).fit(x, y).predict(x_test)
        return _macro_f1(y_test, guess)

    def _split(self, values: Array) -> tuple[Array, Array]:
        values = values[~np.isnan(values[:, self.column])]
        y = values[:, self.column]
        if self.classes is not None:
            # A model of numbers may draw 0.98 for class 1.
            y = self.classes[abs(y[:, None] - self.classes).argmin(axis=1)]
        return np.delete(values, self.column, axis=1), y


def task_of(table: MixedTable, target: str, train: Array) -> Task:
    """How to predict a column: classes for categories and few integers, else a number.

    Raises:
        InputError: there is no such column, or none beside it.
    """
    if target not in table.names:
        raise InputError(
            f"there is no column {target!r} to predict; there are {', '.join(table.names[:20])}."
        )
    if len(table.columns) < 2:
        raise InputError(f"{target!r} is the only column; there is nothing to predict it from.")
    column = table.names.index(target)
    about = table.columns[column]
    seen = np.unique(train[~np.isnan(train[:, column]), column])
    is_class = about.kind == "category" or (about.integer and len(seen) <= _CLASSES)
    categories = np.delete(table.categories, column)
    return Task(target, column, seen if is_class else None, categories)


def _macro_f1(truth: Array, guess: Array) -> float:
    """The mean over classes of the F1, of the classes that the truth has."""
    scores = []
    for label in np.unique(truth):
        right = float(((truth == label) & (guess == label)).sum())
        scores.append(2 * right / ((truth == label).sum() + (guess == label).sum()))
    return float(np.mean(scores))
