"""Can a classifier tell two tables apart? The two-sample test that needs no density."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Separation", "auc_of", "separate"]

Array = np.ndarray[Any, np.dtype[Any]]

_REPEATS, _PROBED = 3, 500


@dataclass(frozen=True)
class Separation:
    r"""How well a classifier tells rows of b from rows of a that it has not seen.

    Attributes:
        auc: the probability that a row of b gets a higher score than one of a: 0.5, no difference.
        low, high: its 95 % interval (DeLong).
        p_value: of the null hypothesis that both are draws of one distribution (Mann-Whitney test
            on rows that the classifier has not seen, so it holds whatever was learned; one-sided,
            as an AUC below 0.5 tells of rows that are in both tables, not of a difference).
        rows: of each table that were taken, half of them to learn from.
        importance: how much AUC is lost where a column is shuffled, ``(D,)``; None if not asked.
    """

    auc: float
    low: float
    high: float
    p_value: float
    rows: int
    importance: Array | None = None


def separate(
    a: Array,
    b: Array,
    categories: Array,
    *,
    seed: int = 0,
    most: int = 5_000,
    importance: bool = False,
) -> Separation:
    """Train gradient-boosted trees on half of the rows of both, and test them on the other half.

    As many rows of a as of b are taken, at most ``most`` of each; trees take NaN as a value.

    Shapes: a ``(N, D)``, b ``(M, D)``, categories ``(D,)`` bool. With fewer than 8 rows in one of
    them nothing can be learned, and the result is AUC 0.5, p 1.
    Source: Lopez-Paz and Oquab 2017, Revisiting classifier two-sample tests; DeLong et al. 1988.
    """
    generator = np.random.default_rng(seed)
    n = min(len(a), len(b), most)
    if n < 8:
        return Separation(0.5, 0.0, 1.0, 1.0, n, np.zeros(a.shape[1]) if importance else None)
    a, b = (x[generator.permutation(len(x))[:n]] for x in (a, b))
    half = n // 2
    learn, test = np.concatenate((a[:half], b[:half])), np.concatenate((a[half:], b[half:]))
    truth = np.repeat([0, 1], [n - half, n - half])
    # More trees would only learn few rows by heart.
    model = trees(categories, seed=seed, steps=100 if n >= 1000 else 30)
    model.fit(learn, np.repeat([0, 1], half))
    scores = model.decision_function(test)
    auc, error, both_sides = auc_of(scores[truth == 0], scores[truth == 1])
    p_value = both_sides / 2 if auc > 0.5 else 1 - both_sides / 2
    lost = None
    if importance:
        lost = _importance(model, test, truth, auc, generator)
    low, high = max(0.0, auc - 1.96 * error), min(1.0, auc + 1.96 * error)
    return Separation(auc, low, high, p_value, n, lost)


def trees(categories: Array, *, seed: int, regression: bool = False, steps: int = 100) -> Any:
    """Gradient-boosted trees of scikit-learn that know which columns are codes."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier
    return kind(
        max_iter=steps,
        max_leaf_nodes=15,
        min_samples_leaf=5,
        categorical_features=categories,
        early_stopping=False,
        random_state=seed,
    )


def auc_of(a: Array, b: Array) -> tuple[float, float, float]:
    r"""The area under the ROC curve of scores of a and b, its standard error and p-value.

    .. math:: \mathrm{AUC} = P(s_b > s_a) + \tfrac12 P(s_b = s_a)

    The error is DeLong's, of the placements of each score among the other's; the p-value is the
    two-sided one of Mann and Whitney, corrected for ties.
    """
    order = np.sort(a), np.sort(b)

    def placed(x: Array, among: Array) -> Array:
        below = np.searchsorted(among, x, "left")
        return (below + np.searchsorted(among, x, "right")) / (2 * len(among))

    of_b, of_a = placed(b, order[0]), 1 - placed(a, order[1])
    auc = float(of_b.mean())
    variance = sum(x.var(ddof=1) / len(x) if len(x) > 1 else 0.25 for x in (of_a, of_b))
    n, m = len(a), len(b)
    _, ties = np.unique(np.concatenate((a, b)), return_counts=True)
    total = n + m
    scale = total + 1 - (ties**3 - ties).sum() / max(1, total * (total - 1))
    null = math.sqrt(max(0.0, scale / (12 * n * m)))
    p_value = math.erfc(abs(auc - 0.5) / null / math.sqrt(2)) if null > 0 else 1.0
    return auc, math.sqrt(variance), p_value


def _importance(
    model: Any, test: Array, truth: Array, auc: float, generator: np.random.Generator
) -> Array:
    """AUC lost where a column is shuffled, ``(D,)``."""
    lost = np.zeros(test.shape[1])
    probe = test[generator.permutation(len(test))[:_PROBED]]
    before = model.decision_function(probe)
    for column in range(test.shape[1]):
        turned = probe.copy()
        turned[:, column] = generator.permutation(turned[:, column])
        if (model.decision_function(turned) == before).all():
            continue  # of many columns trees use few
        for _ in range(_REPEATS):
            shuffled = test.copy()
            shuffled[:, column] = generator.permutation(shuffled[:, column])
            scores = model.decision_function(shuffled)
            lost[column] += (auc - auc_of(scores[truth == 0], scores[truth == 1])[0]) / _REPEATS
    return lost
