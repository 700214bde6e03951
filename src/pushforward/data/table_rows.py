"""Make events of the rows of a table: what is unreadable, incomplete or infinite, and the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from .columns import Cells
from .encoding import encode_cells
from .schema import Column
from .stream import Piece, Unreadable
from .table_plan import Plan

if TYPE_CHECKING:
    from .table_stream import TableStream

__all__ = ["Chunk", "Rows"]

_NOTHING = np.empty(0, np.intp)


@dataclass
class Chunk:
    """Some rows of a table.

    Attributes:
        cells: column -> its cells.
        rows: how many rows there are.
        read: how many items of the file they were made of, unreadable ones included.
        unreadable: what messages say of the items that are no rows.
        where: what messages call a row: ``line 17 of rows.csv``.
    """

    cells: dict[str, Cells]
    rows: int
    read: int
    where: Callable[[int], str]
    unreadable: list[str] = field(default_factory=list)


class Rows:
    """Turns the chunks of a table, one after the other, into pieces by a plan.

    ``unreadable`` and ``counters`` (of rows read, and of incomplete ones dropped) are kept up.
    """

    def __init__(
        self, stream: TableStream, plan: Plan, unreadable: Unreadable, counters: dict[str, int]
    ) -> None:
        self.stream, self.plan = stream, plan
        self.unreadable, self.counters = unreadable, counters

    def piece(self, chunk: Chunk) -> Piece:
        """Return the rows that count, ``(n, D)``.

        Raises:
            InputError: a value is infinite, or missing and may not be; too much is unreadable.
        """
        plan = self.plan
        for item in chunk.unreadable:
            self.unreadable.add(item)
        cells = {name: self._cells(chunk, name) for name in plan.read}
        values = np.empty((chunk.rows, len(plan.read)), plan.dtype)
        for i, cell in enumerate(cells.values()):
            values[:, i] = np.nan if cell.numbers is None else cell.numbers
        readable = self._readable(chunk, cells)
        complete = readable
        missing = self.stream.request.missing
        if plan.any_missing and missing != "keep":
            lacking = np.isnan(values) & readable[:, None]
            if missing == "raise" and lacking.any():
                raise InputError(self._first(lacking, readable, "a missing value"))
            incomplete = lacking.any(axis=1)
            self.counters["dropped"] += int(incomplete.sum())
            complete = readable & ~incomplete
        elif plan.any_missing and not self.stream.request.whole:
            empty = np.isnan(values[:, plan.kept]).all(axis=1) & readable
            self.counters["empty"] += int(empty.sum())
            complete = readable & ~empty
        if plan.any_infinite:
            infinite = np.isinf(values) & complete[:, None]
            if infinite.any():
                raise InputError(self._first(infinite, readable, "an infinite value"))
        self.counters["rows"] += int(readable.sum())
        labels = None
        if plan.label is not None:
            numbers = chunk.cells[plan.label].numbers if chunk.rows else None
            labels = (_NOTHING if numbers is None else numbers[complete]).astype(np.int64)
        if not complete.all() or not plan.kept.all():
            values = values[complete][:, plan.kept]
        return Piece(np.ascontiguousarray(values), labels, read=chunk.read)

    def _cells(self, chunk: Chunk, name: str) -> Cells:
        """The cells of a column as numbers: as they came, or as its kind has it."""
        cells, schema = chunk.cells[name], self.plan.mixed
        if schema is None:
            return cells.against(self.plan.tallies[name])
        column = schema[name]
        if column.kind in ("number", "integer") and column.categories is None:
            return cells.against(self.plan.tallies[name]) if chunk.rows else cells
        if not chunk.rows:
            return cells
        numbers, odd = encode_cells(cells.series, column)
        if len(odd) and self._refused(column):
            raise schema.refusal(column, cells.series.iloc[odd[0]], chunk.where(int(odd[0])))
        texts = {int(row): str(cells.series.iloc[row]) for row in odd[:16]}
        return Cells(numbers, odd, texts)

    def _refused(self, column: Column) -> bool:
        """Whether a cell of another kind is an error, because it is new to a model."""
        return self.stream.request.schema != "auto" or column.categories is not None

    def _readable(self, chunk: Chunk, cells: dict[str, Cells]) -> np.ndarray:
        """Mark the rows without text among their numbers ``(n,)``; the others are unreadable."""
        readable = np.ones(chunk.rows, bool)
        odd = {column: cell.odd for column, cell in cells.items() if len(cell.odd)}
        for row in np.unique(np.concatenate([_NOTHING, *odd.values()])):
            column = next(column for column, rows in odd.items() if row in rows)
            text = cells[column].texts.get(int(row), "text")
            self.unreadable.add(f"{chunk.where(int(row))} ({text!r} in {column!r})")
            readable[row] = False
        return readable

    def _first(self, bad: np.ndarray, readable: np.ndarray, what: str) -> str:
        """Say where the first bad cell is; rows count from 0, without the unreadable ones."""
        plan, stream = self.plan, self.stream
        at, column = np.unravel_index(int(bad.argmax()), bad.shape)
        row = self.counters["rows"] + int(readable[:at].sum())
        tallies = [plan.tallies[name] for name in plan.read]
        total = sum(tally.missing if "missing" in what else tally.infinite for tally in tallies)
        where = " of its files, in their order" if len(stream.splits) > 1 else ""
        return (
            f"{stream.name} has {what} at row {row} (the first is 0){where}, column "
            f"{plan.read[column]!r}, {total:,} in all; drop or fill them first."
        )
