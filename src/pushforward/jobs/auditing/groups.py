"""Groups of rows: how many there are, and how likely a model finds them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import InputError
from ..tables.mixed_table import MixedTable
from .means import adjusted, equal_means, interval, memberships

__all__ = ["Group", "chosen_columns", "groups_of", "partition", "percent"]

Array = np.ndarray[Any, np.dtype[Any]]

_FEW = 30
"""Rows below which a group is called tiny."""
_VALUES = 10
"""Numbers of at most so many different values are groups by value; others are cut at quartiles."""
_LEVELS = 30
_CELLS = 60
_ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class Group:
    """Rows that have something in common.

    Attributes:
        name: in words, ``sex = f and age 61 to 80``.
        rows: how many.
        share: of all rows.
        expected: the share in the reference rows; without those, of a balanced table: equal shares
            of each value of a column, independent columns. None where nothing is expected.
        fewer: the p-value of a share as far from that of the reference rows, adjusted (Holm);
            None without reference rows.
        scored: rows behind the next figures: those with a log_prob that no model learned from.
        log_prob: their mean, nats; None below two rows.
        low, high: its 95 % interval, all groups of the audit together (Student's t corrected for
            skewness, Bonferroni).
        median: of the log_prob.
        p_value: that the group's mean is that of the other rows (Welch; of few rows by
            permutation), adjusted (Holm).
        rest: the mean of the other rows.
    """

    name: str
    rows: int
    share: float
    expected: float | None
    fewer: float | None = None
    scored: int = 0
    log_prob: float | None = None
    low: float | None = None
    high: float | None = None
    median: float | None = None
    p_value: float | None = None
    rest: float | None = None

    @property
    def finding(self) -> str:
        """What stands out: ``absent``, ``tiny``, ``under-represented``, ``unlikely``, ..."""
        said = []
        if not self.rows:
            return "absent"
        if self.rows < _FEW:
            said.append("tiny")
        if self.expected is not None and self.share < self.expected / 2:
            sure = self.fewer < _ALPHA if self.fewer is not None else self._surely_fewer
            if sure:
                said.append("under-represented")
        if self.p_value is not None and self.p_value < _ALPHA and self.rest is not None:
            said.append("unlikely" if self.log_prob < self.rest else "likely")  # type: ignore[operator]
        return ", ".join(said)

    @property
    def _surely_fewer(self) -> bool:
        """Whether the share is below what a balanced table has by more than 4 sigma."""
        total, wanted = self.rows / self.share, self.expected or 0.0
        return self.share < wanted - 4 * math.sqrt(wanted * (1 - wanted) / total)

    def __str__(self) -> str:
        mean = "" if self.log_prob is None else f", mean log p {self.log_prob:.4g}"
        wanted = "" if self.expected is None else f" (expected {percent(self.expected)})"
        return f"{self.name}: {percent(self.share)} of rows{wanted}{mean}"


def percent(share: float) -> str:
    """A share as one says it: ``1.2 %``."""
    value = 100 * share
    return f"{value:.2g} %" if 0 < value < 1 else f"{value:.1f} %"


def partition(
    table: MixedTable, columns: Sequence[int], values: Array, *, crossed: bool
) -> list[dict[str, Any]]:
    """The values of each column as groups: ``{"name", "of": values -> members, "even": share}``.

    ``even`` is the share in a balanced table; None for quartiles, which are even by their making,
    and for missing cells. With ``crossed`` all combinations of several columns are groups too.
    """
    parts = []
    for column in columns:
        about, x = table.columns[column], values[:, column]
        seen = np.unique(x[~np.isnan(x)])
        found: list[tuple[str, Any, float | None]] = []
        if about.kind == "category" or len(seen) <= _VALUES:
            codes = np.arange(len(about.levels)) if about.kind == "category" else seen
            for code in codes[:_LEVELS]:
                name = f"{about.name} = {table.text(column, code)}"
                found.append((name, _equal(column, code), 1 / len(codes)))
        else:
            edges = np.quantile(x[~np.isnan(x)], [0, 0.25, 0.5, 0.75, 1])
            edges = np.unique(np.floor(edges) if about.integer else edges)
            for i, (low, high) in enumerate(itertools.pairwise(edges)):
                start = low if i == 0 or not about.integer else low + 1
                name = f"{about.name} {table.text(column, start)} to {table.text(column, high)}"
                found.append((name, _between(column, low, high, i == 0), None))
        if np.isnan(x).any():
            found.append((f"{about.name} missing", _lacking(column), None))
        parts.append([{"name": n, "of": of, "even": even} for n, of, even in found])
    return [group for part in parts for group in part] + (_crossed(parts) if crossed else [])


def _crossed(parts: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """All combinations of the groups of several columns; none if there are too many."""
    if len(parts) < 2 or math.prod(map(len, parts)) > _CELLS:
        return []
    return [
        {
            "name": " and ".join(group["name"] for group in cell),
            "of": lambda values, cell=cell: np.logical_and.reduce([g["of"](values) for g in cell]),
            "even": cell,
        }
        for cell in itertools.product(*parts)
    ]


def _equal(column: int, code: float) -> Any:
    return lambda values: values[:, column] == code


def _lacking(column: int) -> Any:
    return lambda values: np.isnan(values[:, column])


def _between(column: int, low: float, high: float, first: bool) -> Any:
    def inside(values: Array) -> Array:
        x = values[:, column]
        return ((x >= low) if first else (x > low)) & (x <= high)

    return inside


def groups_of(
    parts: Sequence[dict[str, Any]], values: Array, log_prob: Array, reference: Array | None
) -> list[Group]:
    """Count and compare groups; ``log_prob`` ``(N,)`` is NaN for rows that are not scored."""
    from scipy import stats

    scored = np.isfinite(log_prob)
    masks = [part["of"](values) for part in parts]
    sizes = [int((mask & scored).sum()) for mask in masks]
    several = max(1, sum(size > 1 for size in sizes))
    drawn = memberships(int(scored.sum()))
    groups: list[dict[str, Any]] = []
    for part, mask, size in zip(parts, masks, sizes, strict=True):
        rows = int(mask.sum())
        known: dict[str, Any] = {"name": part["name"], "rows": rows, "share": rows / len(values)}
        known["expected"] = _expected(part["even"], values)
        if reference is not None:
            others = int(part["of"](reference).sum())
            known["expected"] = others / len(reference)
            counts = [[rows, len(values) - rows], [others, len(reference) - others]]
            known["fewer"] = float(stats.fisher_exact(counts)[1])
        mine, rest = log_prob[mask & scored], log_prob[~mask & scored]
        known["scored"] = size
        if size > 1:
            known |= interval(mine, several)
            known["median"] = float(np.median(mine))
        if size > 1 and len(rest) > 1 and (mine.std() > 0 or rest.std() > 0):
            known["rest"] = float(rest.mean())
            known["p_value"] = equal_means(mine, rest, drawn)
        groups.append(known)
    for name in ("p_value", "fewer"):
        found = [group for group in groups if group.get(name) is not None]
        for group, p in zip(found, adjusted([g[name] for g in found]), strict=True):
            group[name] = p
    return [Group(**group) for group in groups]


def _expected(even: Any, values: Array) -> float | None:
    """The balanced share; of a combination the product of its parts' shares."""
    if even is None or isinstance(even, float):
        return even
    return float(np.prod([part["of"](values).mean() for part in even]))


def chosen_columns(table: MixedTable, by: Sequence[str] | None) -> list[int]:
    """The columns to group by: those named, else categories, else the first numbers.

    Raises:
        InputError: there is no such column.
    """
    if by is None:
        found = [i for i, column in enumerate(table.columns) if column.kind == "category"]
        return found[:8] or list(range(min(4, len(table.columns))))
    for name in by:
        if name not in table.names:
            raise InputError(
                f"there is no column {name!r} to group by; there are {', '.join(table.names[:20])}."
            )
    return [table.names.index(name) for name in by]
