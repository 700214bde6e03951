"""Have the data changed? Two tests between two sets of rows, and the columns behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..tables.marginals import distance_of
from ..tables.mixed_table import MixedTable
from ..tables.two_sample import separate
from .groups import percent
from .means import adjusted

__all__ = ["ColumnDrift", "Drift", "drift_between"]

Array = np.ndarray[Any, np.dtype[Any]]

_PERMUTATIONS = 1_999
_MOST = 5_000


@dataclass(frozen=True, kw_only=True)
class ColumnDrift:
    """How one column differs between the data and the other set.

    Attributes:
        name: of the column.
        distance: Kolmogorov-Smirnov of numbers, total variation of categories.
        p_value: of equal distributions, adjusted for the number of columns (Holm).
        importance: the AUC that the classifier loses without it.
        said: the change in words, ``median 41 -> 55``.
    """

    name: str
    distance: float
    p_value: float
    importance: float
    said: str


@dataclass(frozen=True, kw_only=True)
class Drift:
    """Two sets of events beside each other.

    Attributes:
        rows, other_rows: events of each that were taken.
        log_prob, other_log_prob: the means under the model, nats; None where nothing is scored.
        p_likelihood: that these means are equal, by permutation; None where nothing is scored.
        auc, low, high: of a classifier that tells them apart, with its 95 % interval (DeLong).
        p_classifier: that they cannot be told apart.
        columns: most distant first.
    """

    rows: int
    other_rows: int
    log_prob: float | None
    other_log_prob: float | None
    p_likelihood: float | None
    auc: float
    low: float
    high: float
    p_classifier: float
    columns: tuple[ColumnDrift, ...]

    @property
    def p_value(self) -> float:
        """Of no drift at all: the smallest of likelihood, classifier and columns (Bonferroni)."""
        of_columns = min((column.p_value for column in self.columns), default=None)
        tests = [p for p in (self.p_likelihood, self.p_classifier, of_columns) if p is not None]
        return min(1.0, len(tests) * min(tests))

    @property
    def found(self) -> bool:
        """Whether the two differ, at the 5 % level."""
        return self.p_value < 0.05

    @property
    def sentence(self) -> str:
        """The verdict."""
        p = f"p = {self.p_value:.2g}" if self.p_value >= 0.001 else "p < 0.001"
        if not self.found:
            return f"No drift found between the two sets ({p}); the AUC is {self.auc:.3f}."
        drivers = [c for c in self.columns if c.p_value < 0.05][:3]
        why = "; most in " + ", ".join(f"{c.name} ({c.said})" for c in drivers) if drivers else ""
        return f"The two sets differ ({p}; AUC of a classifier {self.auc:.3f}){why}."


def drift_between(
    table: MixedTable,
    values: Array,
    other: Array,
    log_prob: Array,
    other_log_prob: Array,
    *,
    seed: int = 0,
    more: tuple[Array, Array] | None = None,
) -> Drift:
    """Compare two sets of events by likelihood and by classifier.

    The likelihood test permutes which set an event belongs to, and asks how often the means of
    log_prob are as far apart; it is exact as long as the model learned from neither. ``more`` are
    further numbers ``(N, K)`` and ``(M, K)`` for the classifier alone: pixels, say.
    """
    generator = np.random.default_rng(seed)
    mine, theirs = (x[np.isfinite(x)] for x in (log_prob, other_log_prob))
    p_likelihood = None
    if len(mine) > 1 and len(theirs) > 1:
        p_likelihood = _permuted(_some(mine, generator), _some(theirs, generator), generator)
    features, others, categories = values, other, table.categories
    if more is not None:
        features, others = np.hstack((values, more[0])), np.hstack((other, more[1]))
        categories = np.concatenate((categories, np.zeros(more[0].shape[1], bool)))
    told = separate(features, others, categories, seed=seed, importance=True)
    assert told.importance is not None
    return Drift(
        rows=len(values),
        other_rows=len(other),
        log_prob=float(mine.mean()) if p_likelihood is not None else None,
        other_log_prob=float(theirs.mean()) if p_likelihood is not None else None,
        p_likelihood=p_likelihood,
        auc=told.auc,
        low=told.low,
        high=told.high,
        p_classifier=told.p_value,
        columns=_columns(table, values, other, told.importance),
    )


def _permuted(a: Array, b: Array, generator: np.random.Generator) -> float:
    """The p-value of the difference of two means."""
    both = np.concatenate((a, b))
    both -= both.mean()
    wanted = abs(a.mean() - b.mean()) * (1 - 1e-9)
    hits, total = 0, both.sum()
    for _ in range(_PERMUTATIONS):
        first = generator.permutation(both)[: len(a)].sum()
        hits += abs(first / len(a) - (total - first) / len(b)) >= wanted
    return (1 + hits) / (1 + _PERMUTATIONS)


def _some(x: Array, generator: np.random.Generator) -> Array:
    return x if len(x) <= _MOST else generator.choice(x, _MOST, replace=False)


def _columns(
    table: MixedTable, values: Array, other: Array, importance: Array
) -> tuple[ColumnDrift, ...]:
    found = []
    for i, column in enumerate(table.columns):
        a, b, levels = values[:, i], other[:, i], len(column.levels)
        found.append((distance_of(a, b, levels), _p_value(a, b, levels), _said(table, i, a, b)))
    sure = adjusted([p for _, p, _ in found])
    columns = [
        ColumnDrift(name=name, distance=d, p_value=p, importance=max(0.0, float(lost)), said=said)
        for name, (d, _, said), p, lost in zip(
            table.names, found, sure, importance[: len(found)], strict=True
        )
    ]
    return tuple(sorted(columns, key=lambda c: (c.p_value, -c.distance)))


def _p_value(a: Array, b: Array, levels: int) -> float:
    """Kolmogorov-Smirnov of numbers, chi-square of categories, and Fisher's of missing cells."""
    from scipy import stats

    lacking = [np.isnan(x) for x in (a, b)]
    p_values = []
    if any(x.any() for x in lacking):
        counts = [[int(x.sum()), int((~x).sum())] for x in lacking]
        p_values.append(float(stats.fisher_exact(counts)[1]))
    a, b = a[~lacking[0]], b[~lacking[1]]
    if len(a) and len(b):
        if levels:
            counts_of = np.array([np.bincount(x.astype(int), minlength=levels) for x in (a, b)])
            counts_of = counts_of[:, counts_of.sum(axis=0) > 0]
            p = stats.chi2_contingency(counts_of)[1] if counts_of.shape[1] > 1 else 1.0
        else:
            p = stats.ks_2samp(a, b, method="asymp").pvalue
        p_values.append(float(p))
    return min(1.0, len(p_values) * min(p_values)) if p_values else 1.0


def _said(table: MixedTable, column: int, a: Array, b: Array) -> str:
    """The change of a column in words."""
    lacking = [float(np.isnan(x).mean()) for x in (a, b)]
    a, b = a[~np.isnan(a)], b[~np.isnan(b)]
    if abs(lacking[0] - lacking[1]) > 0.05 or not len(a) or not len(b):
        return f"missing {percent(lacking[0])} -> {percent(lacking[1])}"
    levels = len(table.columns[column].levels)
    if levels:
        p, q = (np.bincount(x.astype(int), minlength=levels) / len(x) for x in (a, b))
        most = int(abs(p - q).argmax())
        return f"{table.text(column, most)} {percent(p[most])} -> {percent(q[most])}"
    middle = [float(np.median(x)) for x in (a, b)]
    spread = [float(np.subtract(*np.quantile(x, [0.75, 0.25]))) for x in (a, b)]
    if abs(middle[0] - middle[1]) >= abs(spread[0] - spread[1]):
        return f"median {table.text(column, middle[0])} -> {table.text(column, middle[1])}"
    return f"middle half {_width(spread[0])} -> {_width(spread[1])} wide"


def _width(value: float) -> str:
    return f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"
