"""How a CSV file is written: encoding, separator, decimal mark, with a header or without."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

from .found import BrokenFile, reading

__all__ = ["Dialect", "first_dialect", "opened_text", "zipped"]

_LOOKED_AT = 100  # lines that tell the separator and the decimal mark
_SEPARATORS = ",;\t|"
_CODE = re.compile(r"0\d+")
_ABSENT = ("", "na", "nan", "null", "?")


@dataclass(frozen=True)
class Dialect:
    """How the lines of a table are written."""

    separator: str
    decimal: str
    first: list[str]
    """The cells of the first line."""
    header: bool
    codes: frozenset[int] = frozenset()
    """The places of columns in which a number begins with needless zeros, as codes do: 00123."""


def first_dialect(groups: dict[str, list[Path]]) -> Dialect:
    """Return the dialect of the first file that can be read."""
    paths = [path for group in groups.values() for path in group]
    for path in paths[:-1]:
        try:
            return _sniff(path)
        except BrokenFile:
            continue
    return _sniff(paths[-1])


def _sniff(path: Path) -> Dialect:
    with opened_text(path) as file:
        filled = (line.strip(" \n") for line in file if line.strip())  # empty lines are skipped
        first, *rest = [*islice(filled, _LOOKED_AT)] or [""]
    if not first:
        raise BrokenFile(f"{path} is an empty file.", "an empty file")
    separator = "\t" if ".tsv" in path.suffixes else _separator(first, rest)
    decimal = "," if separator == ";" and re.search(r"\d,\d", "\n".join(rest)) else "."
    cells = next(csv.reader([first], delimiter=separator, skipinitialspace=True), [])
    below = csv.reader(rest, delimiter=separator, skipinitialspace=True)
    codes = {i for line in below for i, cell in enumerate(line) if _CODE.fullmatch(cell.strip())}
    return Dialect(separator, decimal, cells, _is_header(cells, decimal), frozenset(codes))


def _separator(first: str, rest: Sequence[str]) -> str:
    """Return what separates as many cells in the lines below as in the header, or most of them."""
    bare = [re.sub(r'"[^"]*"?', "", line) for line in (first, *rest[:1])]

    def judged(mark: str) -> tuple[bool, int]:
        counts = [line.count(mark) for line in bare]
        return counts[0] == counts[-1] > 0, counts[0]

    return max(_SEPARATORS, key=judged)


def _is_header(cells: Sequence[str], decimal: str) -> bool:
    if len(cells) > 2 and list(cells) in (
        [str(i) for i in range(len(cells))],
        ["", *(str(i) for i in range(len(cells) - 1))],
    ):
        return True  # the columns of an array that pandas wrote
    given = [cell.replace(decimal, ".") for cell in cells if cell.strip().lower() not in _ABSENT]
    # In the first cell of a header the name of an index is often lacking.
    return not given or not all(map(_is_number, given)) or not cells[0].strip()


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def zipped(path: Path) -> bool:
    """Say whether a file is compressed, by its name."""
    return path.suffix.lower() == ".gz"


@contextmanager
def opened_text(path: Path) -> Iterator[IO[str]]:
    """Open as UTF-8 text; keep the body to what reads the file."""
    with reading(path, "CSV"):
        try:
            with gzip.open(path, "rb") if zipped(path) else path.open("rb") as opened:
                yield io.TextIOWrapper(opened, encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            byte = error.object[error.start]
            raise BrokenFile(
                f"{path} is not UTF-8 text: it holds the byte {byte:#04x}. Save it as UTF-8.",
                "not UTF-8 text",
            ) from error
