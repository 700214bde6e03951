"""Cells of one column as numbers, and numbers as its cells: categories, truth values, dates."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from .schema import Column

__all__ = ["DAY", "WORDS", "days_of", "decode_cells", "encode_cells", "is_iso", "shown", "texts_of"]

DAY = 86_400_000_000
"""Microseconds."""

WORDS = (
    *(("no", "yes"), ("n", "y"), ("false", "true"), ("f", "t")),
    *(("nein", "ja"), ("non", "oui")),
)
"""Pairs of words for a truth value, in lower case."""

_ISO = r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"
_SHOWN = 40


def shown(cell: Any) -> str:
    """A cell for a message: in quotes if it is text, cut where it is long."""
    if not isinstance(cell, str):
        return str(cell)
    return repr(cell if len(cell) <= _SHOWN else f"{cell[: _SHOWN - 1]}…")


def texts_of(series: pd.Series[Any]) -> pd.Series[Any]:
    """The cells as text ``(N,)``, missing ones as they are; 3.0 and 3 are both ``3``."""
    from pandas.api import types

    if types.is_float_dtype(series.dtype):
        numbers = series.dropna()
        text = numbers.astype(str)
        whole = numbers == np.floor(numbers)
        text[whole] = text[whole].str.removesuffix(".0")
        return text.reindex(series.index)
    given = series.dropna()
    text = given.astype(object).astype(str)
    if text.str.startswith(" ").any() or text.str.endswith(" ").any():
        text = text.str.strip()
    return text.reindex(series.index)


def is_iso(text: pd.Series[Any]) -> np.ndarray:
    """Say of each text whether it is an ISO date, with a time of day or without ``(N,)``."""
    matches: np.ndarray = text.str.fullmatch(_ISO).to_numpy(bool)
    return matches


def days_of(series: pd.Series[Any]) -> np.ndarray:
    """Days since 1970-01-01, UTC, float64 ``(N,)``; NaN where there is no date.

    Dates of pandas (a zone is brought to UTC), of Python, or ISO texts.
    """
    import pandas as pd
    from pandas.api import types

    if not types.is_datetime64_any_dtype(series.dtype):
        if types.is_numeric_dtype(series.dtype):
            return np.full(len(series), np.nan)
        text = series.astype(object).where(series.notna(), None).astype(str)
        # The year 0000 and the like match, but are none.
        series = pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce")
    if getattr(series.dtype, "tz", None) is not None:
        series = series.dt.tz_convert(None)
    micros = series.astype("datetime64[us]").to_numpy()
    days: np.ndarray = micros.astype(np.int64) / DAY
    days[np.isnat(micros)] = np.nan
    return days


def encode_cells(series: pd.Series[Any], column: Column) -> tuple[np.ndarray, np.ndarray]:
    """Return the cells of a column as numbers ``(N,)``, and the rows whose cell is none of it.

    Missing cells are NaN, and so are those of other kinds, whose rows are told.
    """
    import pandas as pd

    given = series.notna().to_numpy()
    if column.categories is not None:
        numbers = _codes(texts_of(series), column)
    elif column.kind == "date":
        numbers = days_of(series)
    elif column.kind == "boolean":
        numbers = _truth(series)
    else:
        plain = series.astype(object) if isinstance(series.dtype, pd.CategoricalDtype) else series
        numbers = pd.to_numeric(plain, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    return numbers, np.flatnonzero(given & np.isnan(numbers))


def _codes(text: Any, column: Column) -> np.ndarray:
    import pandas as pd

    known: Any = pd.Series(list(column.categories or ()), dtype="object")
    codes = pd.Index(known).get_indexer(text.astype(object))
    return np.where(codes < 0, np.nan, codes.astype(np.float64))


def _truth(series: pd.Series[Any]) -> np.ndarray:
    """0 and 1 for truth values, whether they came as such, as 0 and 1, or as words."""
    from pandas.api import types

    if types.is_bool_dtype(series.dtype) or types.is_numeric_dtype(series.dtype):
        numbers: np.ndarray = series.to_numpy(np.float64, na_value=np.nan)
        return np.where((numbers == 0) | (numbers == 1), numbers, np.nan)
    known = {"false": 0.0, "true": 1.0, "0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0}
    return texts_of(series).str.lower().map(known).to_numpy(np.float64, na_value=np.nan)


def decode_cells(numbers: np.ndarray, column: Column) -> Any:
    """Return numbers ``(N,)`` as a pandas Series in the type of the column."""
    lacking = np.isnan(numbers)
    if column.categories is not None:
        return _words(numbers, lacking, column)
    if column.step is not None:
        numbers = np.rint(numbers / column.step) * column.step
    if column.kind == "date":
        return _dates(numbers, lacking, column.dtype)
    if column.decimals is not None:
        numbers = np.round(numbers, column.decimals)
    return _numbers(numbers, lacking, column)


def _words(numbers: np.ndarray, lacking: np.ndarray, column: Column) -> Any:
    import pandas as pd

    words = column.categories or ()
    codes = np.where(lacking, -1, np.clip(np.rint(numbers), 0, len(words) - 1)).astype(np.int64)
    if column.dtype.startswith("category"):
        ordered = column.dtype.endswith("ordered")
        names: Any = list(words)
        return pd.Series(pd.Categorical.from_codes(codes, names, ordered=ordered))
    if not re.match(r"u?int|float", column.dtype, re.IGNORECASE):
        texts = np.array([*words, None], object)[codes]
        return pd.Series(texts, dtype="str" if column.dtype == "object" else column.dtype)
    values = np.array([*map(float, words), np.nan])[codes]
    return _numbers(values, lacking, column)


def _dates(days: np.ndarray, lacking: np.ndarray, dtype: str) -> Any:
    import pandas as pd

    micros = np.rint(np.where(lacking, 0.0, days) * DAY).astype("datetime64[us]")
    micros[lacking] = np.datetime64("NaT")
    series: Any = pd.Series(micros)
    if dtype == "date":
        return series.dt.date.astype(object).where(~lacking, None)
    if ", " in dtype:
        return series.dt.tz_localize("UTC").astype(dtype)
    return series.astype(dtype)


def _numbers(numbers: np.ndarray, lacking: np.ndarray, column: Column) -> Any:
    """Numbers in the column's type: within its range, nullable where a cell is missing."""
    import pandas as pd

    dtype = column.dtype
    if dtype in ("bool", "boolean"):
        nullable = dtype == "boolean" or bool(lacking.any())
        truth = pd.array(numbers >= 0.5, dtype="boolean")
        truth[lacking] = pd.NA
        return pd.Series(truth if nullable else truth.to_numpy(bool))
    integer = re.fullmatch(r"(u?)int(\d+)", dtype, re.IGNORECASE)
    if integer is None:
        series: Any = pd.Series(numbers)
        return series.astype(dtype)
    unsigned, bits = bool(integer[1]), int(integer[2])
    low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    whole = np.clip(np.rint(np.where(lacking, 0.0, numbers)), low, high)
    top = 2.0 ** (bits if unsigned else bits - 1)
    # The largest integers are no floats: 2**63 - 1 would round up and overflow.
    whole = np.where(whole >= top, np.nextafter(top, 0.0), whole)
    plain = whole.astype(np.dtype(dtype.lower()))
    if dtype[0].islower() and not lacking.any():
        return pd.Series(plain)
    name = dtype if dtype[0].isupper() else ("UInt" if unsigned else "Int") + str(bits)
    cells: Any = pd.Series(plain).astype(name)  # type: ignore[call-overload]
    return cells.mask(lacking)
