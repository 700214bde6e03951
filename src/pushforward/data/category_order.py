"""Put categories in an order in which neighbours are alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .schema import Column, Schema

__all__ = ["needs_order", "ordered"]


def needs_order(schema: Schema) -> bool:
    """Whether there are categories without an order of their own, and numbers to order them by."""
    return any(map(_free, schema.columns)) and any(map(_is_number, schema.columns))


def ordered(schema: Schema, values: np.ndarray) -> Schema:
    """Sort categories by the mean of the first principal component of the numbers beside them.

    A network sees codes as numbers: where neighbours are alike, what depends on them is smooth.
    Numbers enter by their ranks, in which no outlier weighs; what is missing is in the middle.

    Args:
        schema: by which the values were read.
        values: some rows of the table, ``(n, D)``.
    """
    numbers = [i for i, column in enumerate(schema.columns) if _is_number(column)]
    if len(values) < 2:
        return schema
    ranks = np.stack([_ranks(values[:, i]) for i in numbers], axis=1)  # (n, numbers)
    _, axes = np.linalg.eigh(ranks.T @ ranks)
    axis = axes[:, -1]
    score = ranks @ (axis * np.sign(axis[np.abs(axis).argmax()]))
    columns = list(schema.columns)
    for i, column in enumerate(columns):
        if _free(column):
            columns[i] = _sorted(column, values[:, i], score)
    return Schema(tuple(columns))


def _is_number(column: Column) -> bool:
    return column.kind in ("number", "integer", "date")


def _free(column: Column) -> bool:
    """Whether the order of its categories says nothing: text, of three or more."""
    known = column.categories or ()
    return column.kind == "category" and len(known) > 2 and column.dtype in ("str", "object")


def _ranks(numbers: np.ndarray) -> np.ndarray:
    """Ranks brought to mean 0 and standard deviation 1; ties share theirs."""
    given = ~np.isnan(numbers)
    ranks = np.zeros(len(numbers))
    if given.any():
        _, places, counts = np.unique(numbers[given], return_inverse=True, return_counts=True)
        middle = np.cumsum(counts) - counts / 2
        own = middle[places] - middle[places].mean()
        ranks[given] = own / (own.std() or 1.0)
    return ranks


def _sorted(column: Column, codes: np.ndarray, score: np.ndarray) -> Column:
    words = column.categories or ()
    given = ~np.isnan(codes)
    places = codes[given].astype(np.int64)
    counts = np.bincount(places, minlength=len(words))
    sums = np.bincount(places, weights=score[given], minlength=len(words))
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)  # unseen ones go last
    order = np.argsort(means, kind="stable")
    return replace(column, categories=tuple(words[i] for i in order))
