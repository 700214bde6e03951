"""Regions of the data space in words, found by a small tree and measured on other rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..tables.mixed_table import MixedTable, one_hot
from .groups import percent
from .means import interval

__all__ = ["Region", "rare_regions", "unlikely_regions"]

Array = np.ndarray[Any, np.dtype[Any]]

_LEAVES = 8
_FEWEST = 40
"""Rows below which no region is looked for."""


@dataclass(frozen=True, kw_only=True)
class Region:
    """Rows that satisfy a condition, such as ``age > 61 and sex = f``.

    Attributes:
        name: the condition.
        rows, share: how many, and of all.
        expected: their share in the reference rows; None without.
        log_prob: the mean in nats of rows that the tree did not learn from, with its 95 % interval
            ``low`` to ``high`` (all regions together); None where nothing is scored.
        p_value: of a share as far from that of the reference rows, adjusted; None without.
    """

    name: str
    rows: int
    share: float
    expected: float | None = None
    log_prob: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None

    def __str__(self) -> str:
        mean = "" if self.log_prob is None else f", mean log p {self.log_prob:.3g}"
        wanted = "" if self.expected is None else f" (reference {percent(self.expected)})"
        return f"{self.name}: {percent(self.share)} of rows{wanted}{mean}"


def unlikely_regions(
    table: MixedTable, values: Array, log_prob: Array, reference: Array | None, seed: int
) -> list[Region]:
    """Where the model finds rows unlikely or likely, the least likely region first.

    A tree of at most eight leaves learns the rank of the log_prob (a mean would chase a few extreme
    rows) from half of the scored rows; the other half is what the means are of, so that the
    intervals hold though the regions were searched for (Athey and Imbens 2016, honest trees).
    """
    from sklearn.tree import DecisionTreeRegressor

    scored = np.flatnonzero(np.isfinite(log_prob))
    if len(scored) < _FEWEST or np.ptp(log_prob[scored]) == 0:
        return []
    order = np.random.default_rng(seed).permutation(scored)
    learn, judge = order[::2], order[1::2]
    features = _Features(table, values)
    ranks = np.argsort(np.argsort(log_prob[learn])) / len(learn)
    tree = DecisionTreeRegressor(
        max_leaf_nodes=_LEAVES, min_samples_leaf=max(10, len(learn) // 150), random_state=seed
    ).fit(features(values[learn]), ranks)
    leaves, judged = tree.apply(features(values)), tree.apply(features(values[judge]))
    others = None if reference is None else tree.apply(features(reference))
    names = features.conditions(tree)
    regions = []
    for leaf, name in names.items():
        mine = log_prob[judge[judged == leaf]]
        rows = int((leaves == leaf).sum())
        means = interval(mine, len(names)) if len(mine) > 1 else {}
        expected = None if others is None else float((others == leaf).mean())
        share = rows / len(values)
        regions.append(Region(name=name, rows=rows, share=share, expected=expected, **means))
    return sorted(regions, key=lambda r: np.inf if r.log_prob is None else r.log_prob)


def rare_regions(table: MixedTable, values: Array, reference: Array, seed: int) -> list[Region]:
    """Where the reference has a larger share of its rows, the largest ratio first.

    The tree learns to tell the two tables apart from half of each; counts and p-values (Fisher's
    exact test) are of the other halves.
    """
    from scipy import stats
    from sklearn.tree import DecisionTreeClassifier

    from .means import adjusted

    n = min(len(values), len(reference))
    if n < _FEWEST:
        return []
    generator = np.random.default_rng(seed)
    halves = []
    for rows in (values, reference):
        order = generator.permutation(len(rows))
        halves.append((rows[order[::2]], rows[order[1::2]]))
    features = _Features(table, values)
    learn = features(np.concatenate((halves[0][0], halves[1][0])))
    which = np.repeat([0, 1], [len(halves[0][0]), len(halves[1][0])])
    tree = DecisionTreeClassifier(
        max_leaf_nodes=_LEAVES,
        min_samples_leaf=max(10, len(which) // 150),
        class_weight="balanced",
        random_state=seed,
    ).fit(learn, which)
    at_mine, at_theirs = (tree.apply(features(half[1])) for half in halves)
    found = []
    for leaf, name in features.conditions(tree).items():
        here, there = int((at_mine == leaf).sum()), int((at_theirs == leaf).sum())
        counts = [[here, len(at_mine) - here], [there, len(at_theirs) - there]]
        p_value = float(stats.fisher_exact(counts)[1])
        found.append((name, here, here / len(at_mine), there / len(at_theirs), p_value))
    sure = adjusted([item[-1] for item in found])
    regions = [
        Region(name=name, rows=here, share=share, expected=expected, p_value=p)
        for (name, here, share, expected, _), p in zip(found, sure, strict=True)
        if p < 0.05 and share < expected
    ]
    return sorted(regions, key=lambda r: r.share / (r.expected or 1.0))


class _Features:
    """Rows as a tree takes them: numbers, and a column for each category."""

    def __init__(self, table: MixedTable, values: Array) -> None:
        self.table = table
        self.lacking = np.asarray(np.isnan(values).any(axis=0))
        self.meaning: list[tuple[int, int | None]] = []
        for i, column in enumerate(table.columns):
            if column.kind == "number":
                self.meaning.append((i, None))
            else:
                self.meaning += [(i, level) for level in range(len(column.levels))]

    def __call__(self, values: Array) -> Array:
        parts = []
        for i, column in enumerate(self.table.columns):
            if column.kind == "number":
                parts.append(values[:, i : i + 1])
            else:
                parts.append(one_hot(values[:, i], len(column.levels))[:, :-1])
        return np.concatenate(parts, axis=1).astype(np.float32)

    def conditions(self, tree: Any) -> dict[int, str]:
        """Leaf -> the way to it, in words."""
        nodes, result = tree.tree_, {}
        goes_left = getattr(nodes, "missing_go_to_left", None)

        def walk(node: int, bounds: dict[int, list[Any]]) -> None:
            left, right = nodes.children_left[node], nodes.children_right[node]
            if left == right:
                result[node] = self._said(bounds) or "all rows"
                return
            feature, at = int(nodes.feature[node]), float(nodes.threshold[node])
            lacking_left = goes_left is not None and bool(goes_left[node])
            for child, side in ((left, 1), (right, 0)):
                low, high, lacking = bounds.get(feature, [-np.inf, np.inf, True])
                new = [low, min(high, at)] if side else [max(low, at), high]
                stays = lacking and (lacking_left == bool(side))
                walk(child, {**bounds, feature: [*new, stays]})

        walk(0, {})
        return result

    def _said(self, bounds: dict[int, list[Any]]) -> str:
        said = []
        ruled_out: dict[int, list[str]] = {}
        for feature, (low, high, lacking) in bounds.items():
            column, level = self.meaning[feature]
            name = self.table.columns[column].name
            if level is not None:
                word = self.table.columns[column].levels[level]
                if low > -np.inf:
                    ruled_out.pop(column, None)
                    said.append(f"{name} = {word}")
                elif not any(s.startswith(f"{name} = ") for s in said):
                    ruled_out.setdefault(column, []).append(word)
                continue
            also = " or missing" if lacking and self.lacking[column] else ""
            said.append(self._range(column, low, high) + also)
        for column, words in ruled_out.items():
            said.append(f"{self.table.columns[column].name} is not {' or '.join(words)}")
        return " and ".join(said)

    def _range(self, column: int, low: float, high: float) -> str:
        about = self.table.columns[column]
        if about.integer:  # the threshold lies between two integers
            low, high = np.floor(low), np.floor(high)
            if high == low + 1:
                return f"{about.name} = {self.table.text(column, high)}"
        first, last = (self.table.text(column, v) if np.isfinite(v) else "" for v in (low, high))
        if first and last:
            return f"{first} < {about.name} <= {last}"
        return f"{about.name} > {first}" if first else f"{about.name} <= {last}"
