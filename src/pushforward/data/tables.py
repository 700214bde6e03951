"""Tables: which columns are numbers, which rows are complete; CSV files and data frames."""

from __future__ import annotations

import contextlib
import csv
import difflib
import gzip
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..errors import InputError
from .events import default_columns
from .found import Found, Part, Request, counted, listed, reading

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Choice", "ColumnKind", "assemble", "choose", "from_frame", "read_csv", "tidy"]

ColumnKind = Literal["integer", "number", "other", "index"]

_LABEL = "label"


@dataclass(frozen=True)
class Choice:
    """The columns to read, and the column of labels if the table has one."""

    columns: tuple[str, ...]
    label: str | None
    notes: tuple[str, ...]


def choose(kinds: dict[str, ColumnKind], request: Request, name: str) -> Choice:
    """Pick the columns that ``request`` asks for, or else every numeric one.

    An integer column called ``label`` is kept aside as labels unless it is asked for by name.

    Raises:
        InputError: a column asked for is absent or not numeric, or no column is numeric.
    """
    asked = request.columns
    if asked is not None and request.shape is not None and asked == default_columns(len(asked)):
        # The model was trained on rows without names: go by position.
        asked = None if not any(column in kinds for column in asked) else asked
    label = _LABEL if kinds.get(_LABEL) == "integer" and _LABEL not in (asked or ()) else None
    if asked is not None:
        _check_asked(asked, kinds, name)
        return Choice(asked, label, ())
    numeric = tuple(column for column, kind in kinds.items() if kind in ("integer", "number"))
    left_out = [column for column, kind in kinds.items() if kind == "other"]
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
        raise InputError(f"{name} has no numeric column; it has {listed(list(kinds))}.")
    return Choice(numeric, label, tuple(notes))


def _check_asked(asked: Sequence[str], kinds: dict[str, ColumnKind], name: str) -> None:
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
        raise InputError(f"column {other[0]!r} of {name} is not numeric; choose numeric columns.")


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

    ``drop``: columns without any value go (unless asked for), then incomplete rows go; both are
    noted. ``raise``: the first missing value is an error. ``keep``: nothing happens.

    Raises:
        InputError: a value is missing and may not be, or no complete row is left.
    """
    columns, total = found.columns or (), sum(len(part.values) for part in found.parts.values())
    lacking = {split: np.isnan(part.values) for split, part in found.parts.items()}
    counts = sum((lack.sum(axis=0) for lack in lacking.values()), np.zeros(len(columns), int))
    found.laid_out, found.missing = True, tuple(int(count) for count in counts)
    if not total:
        raise InputError(f"{found.name} has zero rows.")
    if request.missing == "keep" or not counts.any():
        return found
    if request.missing == "raise":
        raise InputError(_first_missing(found, lacking, int(counts.sum())))
    hollow = counts == total
    if hollow.any() and not hollow.all() and request.columns is None:
        gone = [column for column, empty in zip(columns, hollow, strict=True) if empty]
        found.notes.append(f"Columns without any value were left out: {listed(gone)}.")
        found.columns = tuple(column for column in columns if column not in gone)
        found.missing = tuple(int(count) for count in counts[~hollow])
        for split, part in found.parts.items():
            part.values, lacking[split] = part.values[:, ~hollow], lacking[split][:, ~hollow]
    incomplete = {split: lack.any(axis=1) for split, lack in lacking.items()}
    dropped = sum(int(rows.sum()) for rows in incomplete.values())
    if dropped == total:
        raise InputError(
            f"each of the {total:,} rows of {found.name} lacks a value; choose columns without "
            f"missing values, or fill them first. Most are missing in {columns[counts.argmax()]!r}."
        )
    if dropped:
        found.notes.append(_note_dropped(found, dropped, total))
    found.parts = {split: part.take(~incomplete[split]) for split, part in found.parts.items()}
    return found


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


def from_frame(frame: Any, request: Request, name: str = "table") -> Found:
    """Read the numeric columns of a pandas DataFrame, or a Series as one column."""
    import pandas as pd

    if isinstance(frame, pd.Series):
        frame = frame.to_frame("x0" if frame.name is None else frame.name)
    frame = frame.set_axis([str(column) for column in frame.columns], axis=1)
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise InputError(f"{name} has two columns called {twice[0]!r}; rename one.")
    choice = choose({str(c): _kind(frame[c]) for c in frame.columns}, request, name)
    columns = [_numbers(frame[column]) for column in choice.columns]
    labels = None if choice.label is None else frame[choice.label].to_numpy()
    part = Part(assemble(columns), labels)
    return tidy(
        Found(name, {"train": part}, columns=choice.columns, notes=list(choice.notes)), request
    )


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


_INDEX = "Unnamed: 0"  # what pandas calls a first column whose header cell is empty


def read_csv(path: Path, request: Request) -> Found:
    """Read a CSV or TSV file, plain or gzipped, with a header line.

    Empty cells, ``NA``, ``NaN``, ``null`` and ``?`` are missing values. A semicolon between the
    cells, and then a decimal comma, are recognised. If the first line holds only numbers there is
    no header and the columns are called x0, x1, ...

    Raises:
        InputError: the file is empty, broken or has no numeric column.
    """
    with reading(path, "CSV"):
        separator, decimal, header = _sniff(path)
    import pandas as pd

    with reading(path, "CSV"), _one_length(path):
        frame = pd.read_csv(
            path,
            sep=separator,
            decimal=decimal,
            header="infer" if header else None,
            index_col=False,
            low_memory=False,
            na_values=["?"],
            skipinitialspace=True,
            encoding="utf-8-sig",
        )
    if not header:
        frame.columns = pd.Index(default_columns(frame.shape[1]))
    if not len(frame):
        raise InputError(f"{path} has a header but zero rows.")
    found = from_frame(frame, request, path.name)
    if not header:
        found.notes.insert(0, f"The file has no header; its columns are called {_span(frame)}.")
    return found


@contextlib.contextmanager
def _one_length(path: Path) -> Iterator[None]:
    """Refuse lines that are longer than the header, which pandas would cut with a warning."""
    from pandas.errors import ParserWarning

    with warnings.catch_warnings():
        warnings.simplefilter("error", ParserWarning)
        try:
            yield
        except ParserWarning as error:
            raise InputError(f"the lines of {path} have more cells than its header.") from error


def _span(frame: pd.DataFrame) -> str:
    return "x0" if frame.shape[1] == 1 else f"x0 to x{frame.shape[1] - 1}"


def _sniff(path: Path) -> tuple[str, str, bool]:
    """Return the separator, the decimal mark, and whether the first line is a header."""
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        filled = (line for line in file if line.strip())  # pandas skips empty lines, too
        first, second = (
            next(filled, b"").decode("utf-8-sig", errors="replace").strip() for _ in range(2)
        )
    if not first:
        raise InputError(f"{path} is an empty file.")
    if ".tsv" in path.suffixes:
        separator = "\t"
    else:
        separator = max(",;\t", key=first.count)  # the comma, if none of them occurs
    decimal = "," if separator == ";" and re.search(r"\d,\d", second) else "."
    cells = next(csv.reader([first], delimiter=separator), [])
    return separator, decimal, not all(_is_number(cell.replace(decimal, ".")) for cell in cells)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
