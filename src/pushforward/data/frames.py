"""Data frames of pandas and polars."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from .columns import ColumnKind, cells_of
from .found import Request
from .schema import as_pandas
from .table_stream import Chunk, TableStream
from .tables import refuse_twins

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["INDEX", "from_frame"]

INDEX = "Unnamed: 0"
"""What pandas calls a first column whose header cell is empty: the index that it wrote."""

_ROWS = 1 << 16


def from_frame(frame: Any, request: Request, name: str = "table") -> TableStream:
    """Read a DataFrame of pandas or polars, or a Series as one column.

    Its numeric columns, or with a schema all that a model can learn.

    Raises:
        InputError: two columns share a name.
    """
    frame = as_pandas(frame)
    frame = frame.set_axis([str(column) for column in frame.columns], axis=1)
    refuse_twins(list(frame.columns), name)
    return TableStream(name, {"train": [_Frame(name, frame, request.schema is not None)]}, request)


class _Frame:
    def __init__(self, name: str, frame: pd.DataFrame, mixed: bool) -> None:
        self.name, self.frame, self.mixed = name, frame, mixed

    def dtypes(self) -> dict[str, str]:
        """The types of its columns, as pandas calls them."""
        return {str(column): str(self.frame[column].dtype) for column in self.frame.columns}

    def as_text(self, columns: Collection[str]) -> None:
        """Nothing: a frame has its types."""

    def kinds(self) -> dict[str, ColumnKind | None]:
        """The dtypes tell: a column of objects is not numeric, whatever they are."""
        return {str(column): _kind(self.frame[column]) for column in self.frame.columns}

    def chunks(self, columns: Sequence[str] | None, start: int = 0) -> Iterator[Chunk]:
        chosen = self.frame if columns is None else self.frame[list(columns)]
        for first in range(start, len(chosen), _ROWS):
            rows = chosen.iloc[first : first + _ROWS]
            cells = {str(column): cells_of(rows[column]) for column in rows.columns}
            if self.mixed:
                for column, held in cells.items():
                    held.series = rows[column]
            yield Chunk(cells, len(rows), len(rows), partial(_row, first))


def _row(first: int, row: int) -> str:
    return f"row {first + row}"


def _kind(series: pd.Series[Any]) -> ColumnKind:
    from pandas.api import types

    dtype = series.dtype
    if str(series.name) == INDEX:
        return "index"
    if types.is_bool_dtype(dtype) or types.is_float_dtype(dtype):
        return "number"
    if types.is_integer_dtype(dtype):
        return "integer"
    return "other"
