"""Rows of numbers and categories, in the forms that comparing them takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...data.detect import detect
from ...data.encoding import encode_cells, shown, texts_of
from ...data.found import listed
from ...data.schema import Column
from ...errors import InputError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MixedColumn", "MixedTable"]

Array = np.ndarray[Any, np.dtype[Any]]

_LEVELS = 50
"""Categories that are told apart in a column; the rarer ones are one category, ``(other)``."""
_OTHER = "(other)"


@dataclass(frozen=True)
class MixedColumn:
    """A column of numbers, or of categories whose code is their place in ``levels``."""

    name: str
    kind: Literal["number", "category"]
    levels: tuple[str, ...] = ()
    known: Column | None = None

    @property
    def integer(self) -> bool:
        """Whether its numbers are whole."""
        return self.known is not None and self.known.kind == "integer"


class MixedTable:
    """The columns that several tables share, and how their rows become arrays.

    Text and booleans are categories; dates are days since 1970; everything else is a number.
    Missing cells are NaN. Text that hardly ever repeats (names, identifiers) and columns without
    any value are left out, with a note.

    Args:
        frames: what messages call a table -> the table. The first one says which columns there
            are; the others must have them, in any order.
        schema: says of each column of the first table what it is; found out if None.
        keep: columns that are not left out.

    Attributes:
        columns: in the order of the first table.
        notes: what was left out, a sentence each.

    Raises:
        InputError: a table without rows, without a column of the first, or with text in a column
            that holds numbers in another.
    """

    def __init__(
        self, frames: Mapping[str, pd.DataFrame], schema: Any = None, keep: Sequence[str] = ()
    ) -> None:
        tables = {name: named(frame) for name, frame in frames.items()}
        _check(tables)
        first = next(iter(tables.values()))
        if schema is None:
            schema = detect(first)
        known = {column.name: column for column in schema.columns}
        wanted = [name for name in keep if name in first.columns]
        known |= {c.name: c for c in detect(first[wanted], _classes(first, wanted)).columns}
        columns, unused = [], []
        for name in first.columns:
            if name not in known or first[name].isna().all():
                unused.append(name)
                continue
            cells = {table: frame[name] for table, frame in tables.items()}
            columns.append(_column(name, cells, known[name]))
        self.columns = tuple(columns)
        self.notes: tuple[str, ...] = ()
        stray = {name: word for name in unused if (word := _stray(first[name])) is not None}
        self.notes = tuple(
            f"Left out: {name}, which holds {shown(word)} among its numbers; mend it to compare it."
            for name, word in stray.items()
        )
        unused = [name for name in unused if name not in stray]
        if unused:
            said = "Left out, since values hardly ever repeat or there are none"
            self.notes += (f"{said}: {listed(unused)}.",)
        if not columns:
            raise InputError(
                f"no column of {next(iter(tables))} can be compared: each is text that hardly ever "
                f"repeats, or empty. Give a table with numbers or categories."
            )

    @property
    def names(self) -> list[str]:
        """Of the columns."""
        return [column.name for column in self.columns]

    @property
    def categories(self) -> Array:
        """Which columns are categories, ``(D,)``."""
        return np.array([column.kind == "category" for column in self.columns])

    def values(self, frame: pd.DataFrame) -> Array:
        """Numbers and codes ``(N, D)`` float64, NaN where missing."""
        frame = named(frame)
        values = np.empty((len(frame), len(self.columns)))
        for i, column in enumerate(self.columns):
            values[:, i] = _encoded(column, frame[column.name])
        return values

    def embedded(self, values: Array, like: Array) -> Array:
        """Points ``(N, E)`` float32 whose distances are those of rows, by the scale of ``like``.

        Numbers are in standard deviations; different categories are at a distance of 1, and a
        missing number is at 1 from its mean.
        """
        parts = []
        for i, column in enumerate(self.columns):
            x = values[:, i]
            if column.kind == "number":
                seen = like[~np.isnan(like[:, i]), i]
                centre, spread = (seen.mean(), seen.std()) if len(seen) else (0.0, 1.0)
                spread = spread if spread > 0 else max(1.0, abs(centre))
                lacking = np.isnan(x)
                parts.append(np.where(lacking, 0.0, (x - centre) / spread)[:, None])
                parts.append(lacking[:, None].astype(float))
            else:
                parts.append(one_hot(x, len(column.levels)) / np.sqrt(2))
        return np.concatenate(parts, axis=1).astype(np.float32)

    def text(self, column: int, code: float) -> str:
        """A value as one reads it."""
        if np.isnan(code):
            return "missing"
        if self.columns[column].kind == "category":
            return self.columns[column].levels[int(code)]
        about = self.columns[column].known
        if about is not None and about.kind == "date":
            return str(np.datetime64("1970-01-01") + np.timedelta64(round(code), "D"))
        return f"{code:,.4g}" if abs(code) < 1e5 else f"{code:,.0f}"


def one_hot(codes: Array, levels: int) -> Array:
    """``(N,)`` codes -> ``(N, levels + 1)``; the last column is of missing cells."""
    places = np.where(np.isnan(codes), levels, codes).astype(int)
    hot = np.zeros((len(codes), levels + 1))
    hot[np.arange(len(codes)), places] = 1
    return hot


def named(frame: pd.DataFrame) -> pd.DataFrame:
    """The same table, its columns named by text."""
    return frame.set_axis([str(column) for column in frame.columns], axis=1)


def _check(tables: Mapping[str, pd.DataFrame]) -> None:
    from ...data.tables import refuse_twins

    first, columns = "", list[str]()
    for name, frame in tables.items():
        refuse_twins(list(frame.columns), name)
        if not len(frame):
            raise InputError(f"there are no rows in {name}; give at least one.")
        if not columns:
            first, columns = name, list(frame.columns)
        absent = [repr(column) for column in columns if column not in frame.columns]
        if absent:
            raise InputError(
                f"there is no column {listed(absent)} in {name}, as there is in {first}; give "
                f"both the same columns."
            )
    if not columns:
        raise InputError(f"{next(iter(tables))} has no columns.")


def _classes(frame: pd.DataFrame, keep: Sequence[str]) -> dict[str, str]:
    """Text that is asked for is a category, however many there are."""
    from pandas.api import types

    return {
        name: "category"
        for name in keep
        if not types.is_numeric_dtype(frame[name].dtype)
        and not types.is_datetime64_any_dtype(frame[name].dtype)
    }


def _column(name: str, cells: Mapping[str, pd.Series[Any]], known: Column) -> MixedColumn:
    """What a column is, as the first table has it and the others may."""
    if known.kind in ("number", "integer", "date"):
        for table, series in cells.items():
            _, odd = encode_cells(series, known)
            if len(odd):
                wanted = "dates" if known.kind == "date" else "numbers"
                raise InputError(
                    f"column {name!r} holds {wanted} in {next(iter(cells))} and "
                    f"{shown(series.iloc[odd[0]])} in {table} (row {odd[0]}); mend {table}."
                )
        return MixedColumn(name, "number", known=known)
    counts: dict[str, int] = {}
    for series in cells.values():
        for level, count in _texts(series, known).value_counts().items():
            counts[str(level)] = counts.get(str(level), 0) + int(count)
    levels = sorted(counts, key=lambda level: (-counts[level], level))
    if len(levels) > _LEVELS:
        levels = [*levels[: _LEVELS - 1], _OTHER]
    said = known.dtype.startswith("category")  # an order that the table brings
    order = {level: place for place, level in enumerate(known.categories or ()) if said}
    digits = all(map(str.isdigit, counts))
    levels.sort(key=lambda level: (order.get(level, len(order)), len(level) * digits, level))
    return MixedColumn(name, "category", tuple(levels), known=known)


def _stray(series: pd.Series[Any]) -> str | None:
    """The first text of a column whose cells are numbers for the most part."""
    import pandas as pd

    texts = texts_of(series).dropna()
    odd = pd.to_numeric(texts, errors="coerce").isna()
    return None if not odd.any() or odd.mean() > 0.5 else str(texts[odd].iloc[0])


def _texts(series: pd.Series[Any], known: Column) -> pd.Series[Any]:
    """Present cells as text; truth values however they are written."""
    if known.kind == "boolean" and known.categories is None:
        truth, _ = encode_cells(series, known)
        words = np.array(["no", "yes"], object)[np.nan_to_num(truth).astype(int)]
        return series.astype(object).mask(series.notna(), words).dropna()
    return texts_of(series).dropna()


def _encoded(column: MixedColumn, series: pd.Series[Any]) -> Array:
    assert column.known is not None
    if column.kind == "number":
        values, _ = encode_cells(series, column.known)
        return np.where(np.isinf(values), np.nan, values)
    code = {level: float(i) for i, level in enumerate(column.levels)}
    other = code.get(_OTHER, np.nan)
    codes = np.full(len(series), np.nan)
    texts = _texts(series.reset_index(drop=True), column.known)
    codes[texts.index.to_numpy(np.intp)] = [code.get(str(text), other) for text in texts]
    return codes
