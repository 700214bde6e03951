"""A look at a column of a table, chunk by chunk, that stays small however long the column is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .encoding import days_of, is_iso, texts_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MOST_CATEGORIES", "Sketch"]

MOST_CATEGORIES = 1000
"""Different texts of a column beyond which it is left out."""

_KEPT = 1 << 17  # numbers of a column that are looked at more closely, from all over the table


@dataclass
class Sketch:
    """What is known of a column after some of its chunks; small, however long the column is.

    Attributes:
        name: of the column.
        wanted: its kind, if the user says so.
        dtype: the type that the source tells; None for text files.
    """

    name: str
    wanted: str | None = None
    dtype: str | None = None
    rows: int = 0
    given: int = 0
    truths: int = 0
    numeric: int = 0
    """Cells that came as numbers, from chunks without text."""
    worded: int = 0
    dates: int = 0
    zoned: bool = False
    plain_days: bool = True
    """Its cells are dates of Python, which have no time of day."""
    whole: bool = True
    pointed: bool = False
    """Whole numbers came as floats where no cell was missing: they were written with a point."""
    texts: dict[str, int] | None = field(default_factory=dict)
    order: tuple[str, ...] | None = None
    """The categories of a type that has them, used or not."""
    ordered: bool = False
    ends: tuple[float, float] = (np.inf, -np.inf)
    """The smallest and the largest number."""
    _sample: list[np.ndarray] = field(default_factory=list)
    _stride: int = 1
    _next: int = 0

    def add(self, series: pd.Series[Any], numbers: np.ndarray | None = None) -> None:
        """Take in a chunk of the column; ``numbers`` are those among its texts, if there are."""
        import pandas as pd
        from pandas.api import types

        dtype, given = series.dtype, series.notna()
        count = int(given.sum())
        self.rows += len(series)
        self.given += count
        if not count:
            return
        boolean = types.is_bool_dtype(dtype) or types.infer_dtype(series, skipna=True) == "boolean"
        if boolean:
            self.truths += count
            self._count(series)
        elif isinstance(dtype, pd.CategoricalDtype):
            self.worded += count
            self.order = tuple(texts_of(pd.Series(dtype.categories)))
            self.ordered |= bool(dtype.ordered)
            self._count(series)
        elif types.is_datetime64_any_dtype(dtype):
            self.dates += count
            self.zoned |= getattr(dtype, "tz", None) is not None
            self._keep(days_of(series))
        elif types.is_numeric_dtype(dtype) and not types.is_complex_dtype(dtype):
            numbers = series.to_numpy(np.float64, na_value=np.nan)
            self.numeric += count
            present = numbers[given.to_numpy()]
            whole = bool((present == np.floor(present)).all())
            self.whole &= whole
            self.pointed |= whole and types.is_float_dtype(dtype) and count == len(series)
            self._keep(numbers)
            if self.wanted in ("category", "boolean"):
                self._count(series)
        else:
            self._add_texts(series[given])
            if numbers is not None:
                present = numbers[~np.isnan(numbers)]
                self.whole &= bool((present == np.floor(present)).all())
                self._keep(numbers)

    def _add_texts(self, series: pd.Series[Any]) -> None:
        from pandas.api import types

        self.worded += len(series)
        self.plain_days &= types.infer_dtype(series) == "date"
        text = texts_of(series)
        if self.dates == self.given - len(series):
            iso = is_iso(text)
            if iso.all():
                days = days_of(text)
                if not np.isnan(days).any():
                    self.dates += len(series)
                    self.zoned |= bool(text.str.contains(r"[Z+]|\d-\d\d:?\d\d$", regex=True).any())
                    self._keep(days)
        self._count(text)

    def _count(self, series: pd.Series[Any]) -> None:
        if self.texts is None:
            return
        for text, count in texts_of(series).value_counts(sort=False).items():
            self.texts[str(text)] = self.texts.get(str(text), 0) + int(count)
        if len(self.texts) > MOST_CATEGORIES * (100 if self.wanted == "category" else 1):
            self.texts = None

    def _keep(self, numbers: np.ndarray) -> None:
        """Keep every k-th number, k growing with the table."""
        present = numbers[np.isfinite(numbers)]
        if len(present):
            low, high = self.ends
            self.ends = min(low, float(present.min())), max(high, float(present.max()))
        self._sample.append(numbers[self._next :: self._stride])
        self._next = (self._next - len(numbers)) % self._stride
        while sum(map(len, self._sample)) > _KEPT:
            kept = np.concatenate(self._sample)
            # The next number to keep is a multiple of the new stride after the first.
            self._next += self._stride * (len(kept) % 2)
            self._stride *= 2
            self._sample = [kept[::2]]

    @property
    def constant(self) -> bool:
        """Whether all cells that are there hold one and the same value."""
        if self.worded or self.truths:
            return self.texts is not None and len(self.texts) == 1
        return self.ends[0] == self.ends[1]

    @property
    def mixed(self) -> bool:
        """Whether some chunks were numbers and others text: all had better be read as text."""
        return bool(self.worded and (self.numeric or self.truths)) and self.dtype is None

    @property
    def missing(self) -> int:
        """How many cells are lacking."""
        return self.rows - self.given

    @property
    def numbers(self) -> np.ndarray:
        """Numbers from all over the column, at most 131,072 of them."""
        kept = np.concatenate([np.empty(0), *self._sample])
        return kept[np.isfinite(kept)]
