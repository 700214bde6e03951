"""The cells of a table: numbers, missing values and text; and what is known of a whole column."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import nan
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Cells", "ColumnKind", "Tally", "cells_of"]

ColumnKind = Literal["integer", "number", "other", "index"]

_SHOWN = 16  # odd cells of a chunk whose text is kept for messages
_NONE = np.empty(0, np.intp)


@dataclass
class Cells:
    """One column of a chunk.

    Attributes:
        numbers: ``(n,)``, NaN where a cell is missing or odd; None if no cell is a number.
        odd: the rows whose cell is there but is no number.
        texts: what the first of these hold.
        boolean: the cells are truth values.
        series: the cells as pandas has them, where they may be more than numbers.
    """

    numbers: np.ndarray | None
    odd: np.ndarray = field(default_factory=lambda: _NONE)
    texts: dict[int, str] = field(default_factory=dict)
    boolean: bool = False
    series: Any = None

    def against(self, tally: Tally) -> Cells:
        """Return the same cells, where truth values are odd if the column holds numbers."""
        if not self.boolean or tally.boolean == tally.given or self.numbers is None:
            return self
        odd = np.flatnonzero(~np.isnan(self.numbers))
        texts = {int(row): str(bool(self.numbers[row])) for row in odd[:_SHOWN]}
        return Cells(None, odd, texts)


def cells_of(series: pd.Series[Any], decimal: str = ".") -> Cells:
    """Read a pandas column; ``decimal`` is the decimal mark of numbers that are still text."""
    import pandas as pd
    from pandas.api import types

    dtype = series.dtype
    if types.is_bool_dtype(dtype) or types.is_numeric_dtype(dtype):
        boolean = types.is_bool_dtype(dtype)
        if isinstance(dtype, np.dtype) and dtype.kind in "buif":
            return Cells(series.to_numpy(), boolean=boolean)
        if not types.is_complex_dtype(dtype):  # pandas' own nullable types
            return Cells(series.to_numpy(np.float64, na_value=np.nan), boolean=boolean)
    given = series.notna().to_numpy()
    if types.infer_dtype(series, skipna=True) == "boolean":
        return Cells(np.where(given, series.to_numpy() == True, np.nan), boolean=True)  # noqa: E712
    text = series.astype(str).str.replace(decimal, ".", regex=False)
    numbers = pd.to_numeric(text, errors="coerce").to_numpy(np.float64)
    odd = np.flatnonzero(given & np.isnan(numbers))
    texts = {int(row): str(series.iloc[row])[:40] for row in odd[:_SHOWN]}
    return Cells(None if given.any() and len(odd) == given.sum() else numbers, odd, texts)


@dataclass
class Tally:
    """What is known of a column after its chunks have been looked at.

    Attributes:
        fixed: the kind, where the format or the dtype tells it.
        given, missing, odd, boolean, infinite: how many cells are there, are lacking, are text
            among them, are truth values, are infinite.
        integral: all numbers came as integers.
        wide: float32 does not hold the numbers.
        low, high: of all numbers; NaN without any.
        first, truth: the rows of the first odd cell and the first truth value, and what to say.
    """

    fixed: ColumnKind | None = None
    given: int = 0
    missing: int = 0
    odd: int = 0
    boolean: int = 0
    infinite: int = 0
    integral: bool = True
    wide: bool = False
    low: float = nan
    high: float = nan
    first: tuple[int, str] | None = None
    truth: tuple[int, str] | None = None

    def add(self, cells: Cells, rows: int, start: int = 0, of_file: str = "") -> None:
        """Take in a chunk of ``rows`` rows, the first of which is row ``start``."""
        if len(cells.odd):
            row = int(cells.odd[0])
            said = f"row {start + row}{of_file}: {cells.texts[row]!r}"
            self.first = self.first or (start + row, said)
            self.odd += len(cells.odd)
            self.integral = False
        if cells.numbers is None:
            self.given += len(cells.odd)
            self.missing += rows - len(cells.odd)
            return
        numbers = cells.numbers
        there = rows
        if numbers.dtype.kind == "f":
            there = rows - int(np.isnan(numbers).sum())
            self.infinite += int(np.isinf(numbers).sum())
        self.given += there + len(cells.odd)
        self.missing += rows - there - len(cells.odd)
        if cells.boolean and there:
            self.boolean += there
            row = int((numbers == numbers).argmax())  # the first that is not NaN
            said = f"row {start + row}{of_file}: {str(bool(numbers[row]))!r}"
            self.truth = self.truth or (start + row, said)
        self.integral &= numbers.dtype.kind in "ui"
        self.wide |= numbers.dtype == np.float64 and not cells.boolean
        if there:
            low, high = np.fmin.reduce(numbers), np.fmax.reduce(numbers)
            self.wide |= numbers.dtype.kind in "ui" and max(abs(int(low)), abs(int(high))) > 2**24
            self.low = float(np.fmin(self.low, low))
            self.high = float(np.fmax(self.high, high))

    def merge(self, other: Tally) -> None:
        """Take in what is known of the same column in another file."""
        for name in ("given", "missing", "odd", "boolean", "infinite"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.integral &= other.integral
        self.wide |= other.wide
        self.low = float(np.fmin(self.low, other.low))
        self.high = float(np.fmax(self.high, other.high))
        self.first = self.first or other.first
        self.truth = self.truth or other.truth
        if other.fixed == "number" and self.fixed == "integer":
            self.fixed = "number"

    def kind(self, allowed: int | None) -> ColumnKind:
        """Say what the column is; ``allowed`` cells, and 1 % of all, may be odd among numbers."""
        if self.fixed == "integer" and self.missing:
            return "number"
        if self.fixed is not None:
            return self.fixed
        odd = self._odd()
        if odd and (odd > self.given / 100 or (allowed is not None and odd > allowed)):
            return "other"
        return "integer" if self.integral and self.given and not self.missing else "number"

    def told(self) -> str:
        """Name the first cell that is no number, where most are: `` (row 600: 'oops')``."""
        mixed = self.boolean < self.given
        firsts = [first for first in (self.first, self.truth if mixed else None) if first]
        return f" ({min(firsts)[1]})" if firsts and 2 * self._odd() < self.given else ""

    def _odd(self) -> int:
        """How many cells are no numbers; truth values are some, unless they are all there is."""
        return self.odd + (self.boolean if self.boolean < self.given else 0)
