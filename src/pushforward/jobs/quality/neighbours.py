"""How near rows lie to those that a model learned from, and rows made by interpolation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..tables.mixed_table import MixedTable

__all__ = ["Nearness", "nearest", "nearness", "smote"]

Array = np.ndarray[Any, np.dtype[Any]]

_SAME = 1e-6
"""Rows nearer than this, in standard deviations, are the same row."""


@dataclass(frozen=True)
class Nearness:
    r"""How near rows are to training rows, beside held-out real rows.

    Attributes:
        nearer: the share of pairs of a synthetic and a held-out row in which the synthetic one is
            nearer to its nearest training row, ties counting half: 0.5 as new rows have it, 1 where
            rows were learned by heart.
        close: the share of rows that are nearer than all but 5 % of the held-out rows: 0.05 is
            what new rows have. Copies count on neither side.
        copies: the share that equals a training row.
        held_out_copies: the same of the held-out rows.
    """

    nearer: float
    close: float
    copies: float
    held_out_copies: float
    rows: int
    held_out_rows: int

    @property
    def memorised(self) -> bool:
        """Whether far more rows are close, or copies, than chance explains (5 sigma)."""
        smallest = min(self.rows, self.held_out_rows)
        error = np.sqrt(0.05 * 0.95 / max(1, smallest))
        base = self.held_out_copies
        copied = self.copies - base > 0.01 + 5 * np.sqrt((base + 0.01) * (1 - base) / smallest)
        return bool(copied or self.close > 0.1 + 5 * error)


def nearness(distances: Array, held_out: Array) -> Nearness:
    """Compare distances of synthetic rows ``(N,)`` and of held-out real rows ``(M,)``."""
    order = np.sort(held_out)
    above = len(order) - np.searchsorted(order, distances, "right")
    level = len(order) - np.searchsorted(order, distances, "left")
    # Where rows have few possible values, copies are common among real rows too: they count apart.
    apart, unseen = distances[distances >= _SAME], held_out[held_out >= _SAME]
    limit = np.quantile(unseen, 0.05) if len(unseen) else 0.0
    return Nearness(
        nearer=float(((above + level) / (2 * len(order))).mean()),
        close=float((apart < limit).mean()) if len(apart) else 0.0,
        copies=float((distances < _SAME).mean()),
        held_out_copies=float((held_out < _SAME).mean()),
        rows=len(distances),
        held_out_rows=len(held_out),
    )


def nearest(points: Array, train: Array, *, itself: bool = False) -> Array:
    """The distance of each point ``(N, E)`` to the nearest of ``train`` ``(M, E)``: ``(N,)``.

    With ``itself`` the points are those of ``train``, each compared with all the others.
    """
    from sklearn.neighbors import NearestNeighbors

    finder = NearestNeighbors(n_neighbors=min(len(train), 2 if itself else 1)).fit(train)
    distances = finder.kneighbors(points)[0]
    return distances[:, -1].astype(float)


def smote(
    table: MixedTable, train: Array, n: int, *, target: int | None, seed: int, neighbours: int = 5
) -> Array:
    r"""Rows between neighbours ``(n, D)``: the reference that any model of rows has to beat.

    .. math:: x' = x_i + \lambda (x_j - x_i), \qquad \lambda \sim U(0, 1)

    with i a random row and j one of its nearest ``neighbours``, of the same class where ``target``
    is a column of categories. Categories are those of the most neighbours, integers are rounded,
    and where one of the two rows lacks a number, the other's is taken.

    Source: Chawla et al. 2002, SMOTE and SMOTE-NC.
    """
    from sklearn.neighbors import NearestNeighbors

    generator = np.random.default_rng(seed)
    points = table.embedded(train, train)
    chosen = generator.integers(0, len(train), n)
    classes = np.zeros(len(train))
    if target is not None and table.columns[target].kind == "category":
        classes = np.nan_to_num(train[:, target], nan=-1)
    result = train[chosen].copy()
    for label in np.unique(classes):
        members, mine = np.flatnonzero(classes == label), np.flatnonzero(classes[chosen] == label)
        if len(members) < 2 or not len(mine):
            continue
        finder = NearestNeighbors(n_neighbors=min(neighbours + 1, len(members)))
        finder.fit(points[members])
        # The first neighbour of a row is itself.
        near = members[finder.kneighbors(points[chosen[mine]])[1][:, 1:]]
        j = near[np.arange(len(mine)), generator.integers(0, near.shape[1], len(mine))]
        share = generator.random(len(mine))[:, None]
        x, other = train[chosen[mine]], train[j]
        made = x + share * (other - x)
        made = np.where(np.isnan(x), other, np.where(np.isnan(other), x, made))
        for column, about in enumerate(table.columns):
            if about.kind == "category" and column != target:
                made[:, column] = _majority(train[near, column], len(about.levels))
            elif about.kind == "category":
                made[:, column] = x[:, column]
            elif about.integer:
                made[:, column] = np.round(made[:, column])
        result[mine] = made
    return result


def _majority(codes: Array, levels: int) -> Array:
    """The commonest code of each row, ``(N, k) -> (N,)``; missing counts as one."""
    places = np.where(np.isnan(codes), levels, codes).astype(int)
    votes = np.zeros((len(codes), levels + 1))
    np.add.at(votes, (np.arange(len(codes))[:, None], places), 1)
    best = votes.argmax(axis=1).astype(float)
    return np.where(best == levels, np.nan, best)
