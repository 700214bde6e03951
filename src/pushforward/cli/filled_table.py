"""Write a table again with its empty cells filled in, every other cell as it was."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..files import write_text, writing

if TYPE_CHECKING:
    from ..data.schema import Schema

__all__ = ["FilledTable", "cells_of_values", "check_file"]

Array = np.ndarray[Any, np.dtype[Any]]

_DIGITS = 5
"""Of a filled-in number of many digits, counted from those of the column's spread."""


def check_file(path: str) -> None:
    """Look whether a source is a file that can be written again.

    Raises:
        InputError: it is none.
    """
    if not Path(path).is_file():
        if path.lower().endswith((".csv", ".csv.gz", ".parquet")):
            raise InputError(f"no such file: {path}.")
        raise InputError(
            f"impute fills in one CSV or Parquet file at a time; {path} is none. Other sources are "
            f"written with -o FILE.npy."
        )


class FilledTable:
    """A CSV or Parquet file, its columns in their order, those that no model knows included.

    Args:
        path: one file.
        names: of the columns that are filled in.
        missing: ``(N, D)``, which of their cells are.

    Raises:
        InputError: it is no such file, or holds another number of rows.
    """

    def __init__(self, path: str, names: Sequence[str], missing: Array) -> None:
        self.path, self.names, self.missing = Path(path), list(names), missing
        self.parquet = self.path.suffix.lower() in (".parquet", ".pq")
        check_file(path)
        count = self._read_parquet() if self.parquet else self._read_text()
        if count != len(missing):
            raise InputError(
                f"{path} has {count:,} rows, {len(missing):,} of which can be read; mend or drop "
                f"the others first."
            )

    @property
    def left(self) -> list[str]:
        """The columns that are not filled in though some of their cells are empty."""
        if self.parquet:
            known = zip(self.table.column_names, self.table.columns, strict=True)
            return [name for name, cells in known if cells.null_count and name not in self.names]
        empty = {j for row in self.rows for j, cell in enumerate(row) if not cell.strip()}
        return [n for j, n in enumerate(self.called) if j in empty and n not in self.names]

    def write(self, out: Path, tables: Sequence[list[list[Any]]], numbered: bool) -> None:
        """Write the file once for each of the tables of cells, one beneath the other.

        Args:
            out: .csv or .parquet.
            tables: of each column its N cells as Python values; only the missing ones are used.
            numbered: add a column ``draw``, which counts from 1.
        """
        if self.parquet:
            self._write_parquet(out, tables, numbered)
            return
        text = self._text(tables, numbered)
        if out.suffix.lower() == ".csv":
            write_text(out, text)
            return
        import pandas as pd

        frame = pd.read_csv(
            io.StringIO(text), sep=self.dialect.separator, decimal=self.dialect.decimal
        )
        with writing(out) as temporary:
            frame.to_parquet(temporary, index=False)

    # Text ------------------------------------------------------------------------------------

    def _read_text(self) -> int:
        from ..data.dialect import first_dialect
        from ..data.events import default_columns

        self.dialect = first_dialect({"train": [self.path]})
        plain, self.rows = self._cells(stripped=True), self._cells(stripped=False)
        # Blanks before a cell are kept, but for those before a quote, which is no quote otherwise.
        if [[cell.lstrip(" ") for cell in row] for row in self.rows] != plain:
            self.rows = plain
        self.header: list[str] = []
        if self.dialect.header:
            self.header, self.rows = self.rows[0], self.rows[1:]
            self.called = [name or f"Unnamed: {i}" for i, name in enumerate(plain[0])]
            self.called[-1] = self.called[-1].rstrip(" ")
        else:
            self.called = list(default_columns(len(self.dialect.first)))
        self.places = [self.called.index(name) for name in self.names]
        return len(self.rows)

    def _cells(self, stripped: bool) -> list[list[str]]:
        from ..data.dialect import opened_text

        with opened_text(self.path) as file:
            reader = csv.reader(file, delimiter=self.dialect.separator, skipinitialspace=stripped)
            return [cells for cells in reader if any(cell.strip() for cell in cells)]

    def _text(self, tables: Sequence[list[list[Any]]], numbered: bool) -> str:
        text = io.StringIO()
        writer = csv.writer(text, delimiter=self.dialect.separator, lineterminator="\n")
        if self.header:
            writer.writerow([*self.header, "draw"] if numbered else self.header)
        for number, columns in enumerate(tables, 1):
            for row, cells in enumerate(self.rows):
                filled = list(cells)
                for place, column in zip(self.places, range(len(columns)), strict=True):
                    if self.missing[row, column]:
                        filled[place] = self._cell(columns[column][row])
                writer.writerow([*filled, number] if numbered else filled)
        return text.getvalue()

    def _cell(self, value: Any) -> str:
        if isinstance(value, float):
            return str(value).replace(".", self.dialect.decimal)
        midnight = hasattr(value, "hour") and (value.hour, value.minute, value.second) == (0, 0, 0)
        return str(value.date()) if midnight else str(value)

    # Parquet ---------------------------------------------------------------------------------

    def _read_parquet(self) -> int:
        import pyarrow.parquet

        self.table = pyarrow.parquet.read_table(self.path)
        return int(self.table.num_rows)

    def _write_parquet(self, out: Path, tables: Sequence[list[list[Any]]], numbered: bool) -> None:
        import pyarrow as pa
        import pyarrow.csv
        import pyarrow.parquet

        parts = []
        for number, columns in enumerate(tables, 1):
            part = self.table
            for j, name in enumerate(self.names):
                if self.missing[:, j].any():
                    part = self._filled(part, name, columns[j], self.missing[:, j])
            if numbered:
                part = part.append_column("draw", pa.array([number] * len(part), pa.int64()))
            parts.append(part)
        whole = pa.concat_tables(parts)
        with writing(out) as temporary:
            if out.suffix.lower() == ".csv":
                pyarrow.csv.write_csv(whole, temporary)
            else:
                pyarrow.parquet.write_table(whole, temporary)

    @staticmethod
    def _filled(table: Any, name: str, values: list[Any], gaps: Array) -> Any:
        import pyarrow as pa
        import pyarrow.compute as pc

        place = table.column_names.index(name)
        field = table.schema.field(place)
        kind = field.type
        plain = kind.value_type if pa.types.is_dictionary(kind) else kind
        whole = pa.types.is_integer(plain)
        fresh = [
            (round(v) if whole else v) if gap else None for v, gap in zip(values, gaps, strict=True)
        ]
        # Of the cells that are there Arrow moves the bytes, whatever type they are of.
        filled = pc.if_else(pa.array(gaps), _array(fresh, plain), table.column(place).cast(plain))
        if plain != kind:
            filled = filled.combine_chunks().dictionary_encode().cast(kind)
        return table.set_column(place, field, filled)


def _array(cells: list[Any], kind: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_decimal(kind):
        cells = [None if v is None else Decimal(f"{v:.{kind.scale}f}") for v in cells]
    return pa.array(cells, kind)


def cells_of_values(values: Array, schema: Schema | None) -> list[list[Any]]:
    """Numbers ``(N, D)`` as the cells of their columns, each with as many digits as it deserves."""
    if schema is None:
        return [_rounded(column) for column in values.T]
    frame = schema.decode(values)
    columns = []
    for j, column in enumerate(schema.columns):
        plain = column.kind == "number" and column.step is None and column.decimals is None
        columns.append(_rounded(values[:, j]) if plain else list(_plain(frame[column.name])))
    return columns


def _plain(series: Any) -> Iterator[Any]:
    for value in series:
        yield value.item() if isinstance(value, np.generic) else value


def _rounded(values: Array) -> list[float]:
    spread = float(np.nanstd(values))
    digits = _DIGITS - math.floor(math.log10(spread)) if spread > 0 else 6
    return [round(float(value), min(15, digits)) for value in values]
