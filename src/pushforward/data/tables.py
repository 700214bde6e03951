"""Tables: which columns are numbers, which rows are complete; data frames."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..errors import InputError
from .events import default_columns
from .found import Found, Part, Request, counted, listed

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Choice", "ColumnKind", "assemble", "choose", "from_frame", "refuse_twins", "tidy"]

ColumnKind = Literal["integer", "number", "other", "index"]

_LABEL = "label"
_INDEX = "Unnamed: 0"  # what pandas calls a first column whose header cell is empty


@dataclass(frozen=True)
class Choice:
    """The columns to read, and the column of labels if the table has one."""

    columns: tuple[str, ...]
    label: str | None
    notes: tuple[str, ...]


def choose(
    kinds: dict[str, ColumnKind],
    request: Request,
    name: str,
    told: Callable[[str], str] = str,
) -> Choice:
    """Pick the columns that ``request`` asks for, or else every numeric one.

    An integer column called ``label`` is kept aside as labels unless it is asked for by name.
    ``told`` says what messages call a column that is not numeric.

    Raises:
        InputError: a column asked for is absent or not numeric, or no column is numeric.
    """
    asked = request.columns
    if asked is not None and request.shape is not None and asked == default_columns(len(asked)):
        # The model was trained on rows without names: go by position.
        asked = None if not any(column in kinds for column in asked) else asked
    label = _LABEL if kinds.get(_LABEL) == "integer" and _LABEL not in (asked or ()) else None
    if asked is not None:
        _check_asked(asked, kinds, name, told)
        return Choice(asked, label, ())
    numeric = tuple(column for column, kind in kinds.items() if kind in ("integer", "number"))
    left_out = [told(column) for column, kind in kinds.items() if kind == "other"]
    index = [column for column, kind in kinds.items() if kind == "index"]
    notes = []
    if left_out:
        notes.append(f"Columns that are not numeric were left out: {listed(left_out)}.")
    if index:
        notes.append("The row index that pandas wrote beside the data was left out.")
    if label is not None:
        numeric = tuple(column for column in numeric if column != label)
        notes.append("The integer column 'label' was kept as labels; ask for it to model it.")
    if not numeric:
        all_told = [told(column) if kind == "other" else column for column, kind in kinds.items()]
        raise InputError(f"{name} has no numeric column; it has {listed(all_told)}.")
    return Choice(numeric, label, tuple(notes))


def _check_asked(
    asked: Sequence[str],
    kinds: dict[str, ColumnKind],
    name: str,
    told: Callable[[str], str],
) -> None:
    if not asked:
        raise InputError("columns is empty; name at least one column.")
    absent = [column for column in asked if column not in kinds]
    if absent:
        near = difflib.get_close_matches(absent[0], list(kinds), n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise InputError(
            f"{name} has no column {listed([repr(column) for column in absent])}; it has "
            f"{listed(list(kinds), 20)}.{hint}"
        )
    if len(set(asked)) < len(asked):
        raise InputError(f"columns names a column twice: {listed(asked)}.")
    other = [column for column in asked if kinds[column] == "other"]
    if other:
        cell = told(other[0]).removeprefix(other[0])
        raise InputError(
            f"column {other[0]!r} of {name} is not numeric{cell}; choose numeric columns."
        )


def assemble(columns: Sequence[np.ndarray]) -> np.ndarray:
    """Stack numeric columns ``(N,)`` to ``(N, D)``: float64 if one needs it, else float32."""
    wide = any(
        column.dtype == np.float64
        or (column.dtype.kind in "ui" and column.size and _largest(column) > 2**24)
        for column in columns
    )
    values = np.empty((len(columns[0]), len(columns)), np.float64 if wide else np.float32)
    for i, column in enumerate(columns):
        values[:, i] = column
    return values


def _largest(column: np.ndarray) -> int:
    return max(abs(int(column.min())), abs(int(column.max())))


def tidy(found: Found, request: Request) -> Found:
    """Treat the missing values (NaN) of a table as ``request.missing`` says, in place.

    ``drop``: columns without any value, and those with one and the same, go unless asked for;
    then incomplete rows go; all are noted. ``raise``: the first missing value is an error.
    ``keep``: nothing happens. Constant columns stay where a model's shape is asked for: what
    does not vary in its new rows may have varied in those that it learned from.

    Raises:
        InputError: a value is missing and may not be, or no column or complete row is left.
    """
    columns, total = found.columns or (), sum(len(part.values) for part in found.parts.values())
    lacking = {split: np.isnan(part.values) for split, part in found.parts.items()}
    counts = sum((lack.sum(axis=0) for lack in lacking.values()), np.zeros(len(columns), int))
    found.laid_out, found.missing = True, tuple(int(count) for count in counts)
    if not total:
        raise InputError(f"{found.name} has zero rows.")
    if request.missing == "keep":
        return found
    if request.missing == "raise" and counts.any():
        raise InputError(_first_missing(found, lacking, int(counts.sum())))
    hollow = counts == total
    if hollow.any() and not hollow.all() and request.columns is None:
        _leave_out(found, hollow, "without any value")
    _leave_out_constants(found, request)
    incomplete = {split: np.isnan(part.values).any(axis=1) for split, part in found.parts.items()}
    dropped = sum(int(rows.sum()) for rows in incomplete.values())
    if dropped == total:
        raise InputError(
            f"each of the {total:,} rows of {found.name} lacks a value; choose columns without "
            f"missing values, or fill them first. Most are missing in {columns[counts.argmax()]!r}."
        )
    if dropped:
        found.notes.append(_note_dropped(found, dropped, total))
        found.parts = {split: part.take(~incomplete[split]) for split, part in found.parts.items()}
        _leave_out_constants(found, request)  # of the rows that are left
    return found


def _leave_out(found: Found, gone: np.ndarray, why: str) -> None:
    columns, missing = np.array(found.columns or (), object), np.array(found.missing or (), int)
    found.notes.append(f"Columns {why} were left out: {listed(list(columns[gone]))}.")
    found.columns = tuple(columns[~gone])
    found.missing = tuple(int(count) for count in missing[~gone])
    for part in found.parts.values():
        part.values = part.values[:, ~gone]


def _leave_out_constants(found: Found, request: Request) -> None:
    """Leave out the columns whose values, apart from missing ones, are all the same."""
    arrays = [part.values for part in found.parts.values() if len(part.values)]
    if request.columns is not None or request.shape is not None or sum(map(len, arrays)) < 2:
        return
    low = np.fmin.reduce([np.fmin.reduce(values) for values in arrays])
    high = np.fmax.reduce([np.fmax.reduce(values) for values in arrays])
    constant = low == high  # never where there is no value: NaN
    if constant.all():
        if any(np.isnan(values).any() for values in arrays):
            return  # the missing values are what to complain of, if no complete row is left
        raise InputError(
            f"each numeric column of {found.name} holds one and the same value in all rows: "
            f"{listed(found.columns or ())}. Name columns to keep them all the same."
        )
    if constant.any():
        _leave_out(found, constant, "with one and the same value")


def _note_dropped(found: Found, dropped: int, total: int) -> str:
    missing, columns = found.missing or (), found.columns or ()
    verb = "was" if dropped == 1 else "were"
    note = (
        f"{counted(dropped, 'row')} with missing values {verb} dropped "
        f"({100 * dropped / total:.2g} %)"
    )
    if dropped <= total / 2:
        return f"{note}."
    worst = int(np.argmax(missing))
    return f"{note}; column {columns[worst]!r} alone lacks {missing[worst]:,} values."


def _first_missing(found: Found, lacking: dict[str, np.ndarray], count: int) -> str:
    for split, lack in lacking.items():
        if lack.any():
            row, column = np.unravel_index(int(lack.argmax()), lack.shape)
            where = f" of its {split} part" if len(lacking) > 1 else ""
            name = (found.columns or ())[column]
            break
    return (
        f"{found.name} has a missing value at row {row} (the first is 0){where}, column {name!r}, "
        f"{count:,} in all; drop or fill them first."
    )


def from_frame(frame: Any, request: Request, name: str = "table", *, decimal: str = ".") -> Found:
    """Read the numeric columns of a pandas DataFrame, or a Series as one column.

    ``decimal`` is the mark that numbers had in the text which the frame was read from.
    """
    import pandas as pd

    if isinstance(frame, pd.Series):
        frame = frame.to_frame("x0" if frame.name is None else frame.name)
    frame = frame.set_axis([str(column) for column in frame.columns], axis=1)
    refuse_twins(list(frame.columns), name)

    def told(column: str) -> str:
        return column + _odd_cell(frame[column], decimal)

    choice = choose({str(c): _kind(frame[c]) for c in frame.columns}, request, name, told)
    columns = [_numbers(frame[column]) for column in choice.columns]
    labels = None if choice.label is None else frame[choice.label].to_numpy()
    part = Part(assemble(columns), labels)
    return tidy(
        Found(name, {"train": part}, columns=choice.columns, notes=list(choice.notes)), request
    )


def refuse_twins(columns: Sequence[str], name: object) -> None:
    """Raise `InputError` if columns share a name."""
    twins = sorted({column for column in columns if columns.count(column) > 1}, key=columns.index)
    if twins:
        said = listed([repr(column) for column in twins])
        raise InputError(f"{name} has several columns called {said}; rename them.")


def _odd_cell(series: pd.Series[Any], decimal: str) -> str:
    """Name the first cell that is no number, where most are: `` (row 600: 'oops')``."""
    import pandas as pd

    if not (pd.api.types.is_object_dtype(series) or pd.api.types.is_string_dtype(series)):
        return ""
    given = series.notna().to_numpy()
    text = series.astype(str).str.replace(decimal, ".", regex=False)
    odd = given & pd.to_numeric(text, errors="coerce").isna().to_numpy()
    if not odd.any() or 2 * odd.sum() >= given.sum():
        return ""
    row = int(odd.argmax())
    return f" (row {row}: {str(series.iloc[row])[:40]!r})"


def _kind(series: pd.Series[Any]) -> ColumnKind:
    from pandas.api import types

    dtype = series.dtype
    if str(series.name) == _INDEX:
        return "index"
    if types.is_bool_dtype(dtype) or types.is_float_dtype(dtype):
        return "number"
    if types.is_integer_dtype(dtype):
        return "number" if series.hasnans else "integer"
    return "other"


def _numbers(series: pd.Series[Any]) -> np.ndarray:
    if isinstance(series.dtype, np.dtype):
        return series.to_numpy()
    return series.to_numpy(dtype=np.float64, na_value=np.nan)  # pandas' own nullable types
