"""CSV and TSV files: the separator, the decimal mark, the header."""

from __future__ import annotations

import contextlib
import csv
import gzip
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..errors import InputError
from .events import default_columns
from .found import Found, Request, reading
from .tables import from_frame, refuse_twins

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_csv"]


def read_csv(path: Path, request: Request) -> Found:
    """Read a CSV or TSV file, plain or gzipped, with a header line.

    Empty cells, ``NA``, ``NaN``, ``null`` and ``?`` are missing values. A semicolon between the
    cells, and then a decimal comma, are recognised. If the first line holds only numbers there is
    no header and the columns are called x0, x1, ...

    Raises:
        InputError: the file is empty, broken, not UTF-8, has no numeric column, or two of one
            name.
    """
    with reading(path, "CSV"):
        dialect = _sniff(path)
    header = not all(_is_number(cell.replace(dialect.decimal, ".")) for cell in dialect.first)
    if header:  # pandas would rename them
        refuse_twins([cell for cell in dialect.first if cell], path)
    import pandas as pd

    with reading(path, "CSV"), _one_length(path), _utf8(path):
        frame = pd.read_csv(
            path,
            sep=dialect.separator,
            decimal=dialect.decimal,
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
    found = from_frame(frame, request, path.name, decimal=dialect.decimal)
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


@contextlib.contextmanager
def _utf8(path: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise InputError(
            f"{path} is not UTF-8 text: it holds the byte {byte:#04x}. Save it as UTF-8."
        ) from error


def _span(frame: pd.DataFrame) -> str:
    return "x0" if frame.shape[1] == 1 else f"x0 to x{frame.shape[1] - 1}"


class _Dialect(NamedTuple):
    separator: str
    decimal: str
    first: list[str]
    """The cells of the first line."""


def _sniff(path: Path) -> _Dialect:
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
    cells = csv.reader([first], delimiter=separator, skipinitialspace=True)
    return _Dialect(separator, decimal, next(cells, []))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
