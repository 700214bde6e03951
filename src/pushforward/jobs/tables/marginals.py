"""How far two tables of numbers and categories are apart, one column or two at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from .mixed_table import MixedTable, one_hot

__all__ = ["associations", "column_distances", "distance_of"]

Array = np.ndarray[Any, np.dtype[Any]]

_MOST = 200
"""Columns whose associations are taken: their number grows with its square."""


def column_distances(table: MixedTable, a: Array, b: Array) -> Array:
    r"""The distance of each column's distribution between two tables ``(N, D)``: ``(D,)``, 0 to 1.

    Of numbers the Kolmogorov-Smirnov distance, of categories the total variation

    .. math:: \sup_t |F_a(t) - F_b(t)|, \qquad \tfrac12 \sum_c |p_a(c) - p_b(c)|

    of the values that are present; where the shares of missing cells are further apart than that,
    it is their difference.
    """
    return np.array(
        [
            distance_of(a[:, i], b[:, i], len(column.levels))
            for i, column in enumerate(table.columns)
        ]
    )


def distance_of(a: Array, b: Array, levels: int = 0) -> float:
    """Of one column, ``(N,)`` and ``(M,)``; with ``levels`` it is of codes."""
    lacking = abs(float(np.isnan(a).mean() - np.isnan(b).mean()))
    a, b = a[~np.isnan(a)], b[~np.isnan(b)]
    if not len(a) or not len(b):
        return lacking
    if levels:
        p, q = (np.bincount(x.astype(int), minlength=levels) / len(x) for x in (a, b))
        return max(lacking, float(abs(p - q).sum() / 2))
    at = np.concatenate((a, b))
    below = [np.searchsorted(np.sort(x), at, side="right") / len(x) for x in (a, b)]
    return max(lacking, float(abs(below[0] - below[1]).max()))


def associations(table: MixedTable, values: Array) -> Array:
    r"""How columns go together, ``(D, D)``, of the first 200 columns.

    Of two numbers Pearson's correlation, -1 to 1; of a number and a category the correlation ratio
    :math:`\eta`, the share of the standard deviation that the category's means have, 0 to 1; of two
    categories Cramér's V, 0 to 1. Rows that lack one of the two do not count. 0 where a column is
    constant.
    """
    columns = table.columns[:_MOST]
    values = values[:, : len(columns)]
    numbers = [i for i, c in enumerate(columns) if c.kind == "number"]
    groups = [i for i, c in enumerate(columns) if c.kind == "category"]
    result = np.zeros((len(columns), len(columns)))
    if numbers:
        result[np.ix_(numbers, numbers)] = _correlations(values[:, numbers])
    # Missing cells have a row of zeros, so that they add to nothing.
    hot = {i: one_hot(values[:, i], len(columns[i].levels))[:, :-1] for i in groups}
    for place, i in enumerate(groups):
        if numbers:
            ratios = _correlation_ratios(hot[i], values[:, numbers])
            result[i, numbers] = result[numbers, i] = ratios
        for j in groups[place + 1 :]:
            result[i, j] = result[j, i] = _cramer(hot[i].T @ hot[j])
    np.fill_diagonal(result, 1.0)
    return result


def _correlations(x: Array) -> Array:
    """Pearson's, of the rows that have both, ``(D, D)``."""
    seen = (~np.isnan(x)).astype(float)
    present = [column[~np.isnan(column)] for column in x.T]
    means, spread = (
        np.array([what(column) if len(column) else 0.0 for column in present])
        for what in (np.mean, np.std)
    )
    scale = np.where(spread > 1e-12 * abs(means), spread, np.inf)
    z = np.where(seen > 0, (x - means) / scale, 0.0)
    count = np.maximum(seen.T @ seen, 1)
    first = (z.T @ seen) / count  # the mean of column i over the rows that have j too
    second = ((z**2).T @ seen) / count
    covariance = (z.T @ z) / count - first * first.T
    variance = np.maximum(second - first**2, 0)
    product = np.sqrt(variance * variance.T)
    return np.divide(covariance, product, out=np.zeros_like(product), where=product > 1e-9)


def _correlation_ratios(hot: Array, x: Array) -> Array:
    """Eta of each number given the category, ``(D,)``."""
    ratios = np.zeros(x.shape[1])
    for k, column in enumerate(x.T):
        seen = ~np.isnan(column) & (hot.sum(axis=1) > 0)
        if not seen.any():
            continue
        column, groups = column[seen], hot[seen]
        total = column.var()
        if total <= 1e-24 * column.mean() ** 2:
            continue
        counts = groups.sum(axis=0)
        means = (groups.T @ column) / np.maximum(counts, 1)
        between = (counts * (means - column.mean()) ** 2).sum() / len(column)
        ratios[k] = np.sqrt(min(1.0, between / total))
    return ratios


def _cramer(counts: Array) -> float:
    """Cramér's V of a contingency table."""
    counts = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    if min(counts.shape) < 2:
        return 0.0
    total = counts.sum()
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / total
    squares = ((counts - expected) ** 2 / expected).sum()
    return float(np.sqrt(min(1.0, squares / total / (min(counts.shape) - 1))))
