"""Tables in pieces: one look at all cells settles the columns, then the rows come as numbers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from .columns import ColumnKind, Tally
from .detect import check_kinds
from .found import SPLITS, BrokenFile, Request, counted
from .schema import Schema
from .sketch import Sketch
from .stream import Piece, Unreadable
from .table_plan import Plan, Survey, plan_table
from .table_rows import Chunk, Rows

__all__ = ["Chunk", "TablePart", "TableStream"]

_HELD = 128 << 20  # bytes of a table up to which its chunks stay in memory between the two looks


class TablePart(Protocol):
    """One file of a table, or a data frame."""

    name: str

    def kinds(self) -> dict[str, ColumnKind | None]:
        """Return its columns, with their kinds where they are known without reading the cells."""
        ...

    def dtypes(self) -> dict[str, str]:
        """Return the types of its columns as pandas calls them, where it knows them."""
        ...

    def as_text(self, columns: Collection[str]) -> None:
        """Read the cells of these columns as text from now on, where they are text."""
        ...

    def chunks(self, columns: Sequence[str] | None, start: int = 0) -> Iterator[Chunk]:
        """Read columns (or all that may be of use) from item ``start`` on."""
        ...


class TableStream:
    """A table as a `Stream`: the columns of files that belong together.

    They are the numeric ones, or, where the request brings or asks for a schema, all that a model
    can learn, as the numbers that stand for their cells.

    Incomplete rows are treated as ``request.missing`` says. Rows with text among numbers and lines
    with the wrong number of cells are unreadable.

    Raises:
        InputError: from every attribute but ``name``, ``splits`` and ``files``, when the table
            cannot be read, or has no numeric column or complete row.
    """

    levels = None

    def __init__(
        self,
        name: str,
        groups: Mapping[str, Sequence[TablePart]],
        request: Request,
        *,
        paths: Sequence[Path] = (),
        estimate: int = 0,
        notes: Sequence[str] = (),
        names_of_labels: Callable[[str], tuple[str, ...] | None] = lambda label: None,
    ) -> None:
        self.name, self.groups, self.request = name, groups, request
        self.splits = tuple(split for split in SPLITS if split in groups)
        noun = "row" if sum(map(len, groups.values())) == 1 else "item"
        limit = 0 if request.whole else request.max_unreadable
        self.unreadable = Unreadable(noun, limit)
        self.counters = {"rows": 0, "dropped": 0, "empty": 0}
        self.sketches: dict[str, Sketch] = {}
        self._kinds = check_kinds(dict(request.kinds))
        self._paths, self._estimate, self._notes = paths, estimate, tuple(notes)
        self._names_of_labels = names_of_labels
        self._held: dict[int, list[Chunk]] | None = {} if estimate <= _HELD else None

    def files(self) -> list[str]:
        """Return the paths behind it; none for a data frame."""
        return [str(path) for path in self._paths]

    @cached_property
    def plan(self) -> Plan:
        """What the table was found to be, after all of it has been looked at."""
        return plan_table(self, self._survey(), self._notes)

    @property
    def shape(self) -> tuple[int, ...]:
        """The event shape, ``(D,)``."""
        return (len(self.columns),)

    @property
    def dtype(self) -> np.dtype:
        """Float64 if a column needs it, else float32."""
        return self.plan.dtype

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        return self.plan.columns

    @property
    def schema(self) -> Schema | None:
        """What the columns hold, where that was asked for."""
        return self.plan.schema

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """What the labels stand for, where the files say so."""
        return None if self.plan.label is None else self._names_of_labels(self.plan.label)

    @property
    def missing(self) -> tuple[int, ...]:
        """How many cells each column lacks."""
        return self.plan.missing

    @property
    def labelled(self) -> bool:
        """Whether there is a column of labels."""
        return self.plan.label is not None

    @property
    def items(self) -> dict[str, int]:
        """The number of rows of each split, unreadable ones included."""
        surveys = self.plan.surveys
        return {
            split: sum(surveys[id(part)].items for part in self.groups[split])
            for split in self.splits
        }

    @property
    def size(self) -> int:
        """Bytes of all values: an estimate until the table has been looked at."""
        if "plan" not in self.__dict__:
            return self._estimate
        return self.plan.rows * len(self.columns) * self.dtype.itemsize

    @property
    def notes(self) -> list[str]:
        """What the user should know; final when all pieces have been read."""
        dropped, plan = self.counters["dropped"], self.plan
        if empty := self.counters["empty"]:
            verb = "was" if empty == 1 else "were"
            note = f"{counted(empty, 'row')} without any value {verb} dropped."
            return [*plan.notes, note, *plan.late_notes]
        if not dropped:
            return [*plan.notes, *plan.late_notes]
        verb = "was" if dropped == 1 else "were"
        note = (
            f"{counted(dropped, 'row')} with missing values {verb} dropped "
            f"({100 * dropped / plan.rows:.2g} %)"
        )
        if dropped > plan.rows / 2:
            worst, lacking = max(plan.lacking.items(), key=lambda column: column[1])
            note += f"; column {worst!r} alone lacks {lacking:,} values"
        return [*plan.notes, f"{note}.", *plan.late_notes]

    def pieces(self, split: str, start: int = 0) -> Iterator[Piece]:
        """Read a split from item ``start`` on; see `Stream`."""
        yield from self.pieces_of(self.plan, split, start, self.unreadable, self.counters)

    def pieces_of(
        self,
        plan: Plan,
        split: str,
        start: int,
        unreadable: Unreadable,
        counters: dict[str, int],
    ) -> Iterator[Piece]:
        """Read a split by a plan that may not be final, with a tally of its own."""
        rows, position = Rows(self, plan, unreadable, counters), 0
        for part in self.groups[split]:
            survey = plan.surveys[id(part)]
            skipped = min(max(start - position, 0), survey.items)
            position += survey.items
            if skipped == survey.items:
                continue
            if survey.broken:
                unreadable.add(survey.broken)
                yield Piece(np.empty((0, len(plan.columns)), plan.dtype), read=1)
                continue
            for chunk in self._chunks(part, plan.wanted, skipped):
                yield rows.piece(chunk)

    def _chunks(
        self, part: TablePart, columns: Sequence[str] | None, start: int
    ) -> Iterator[Chunk]:
        if self._held is None or id(part) not in self._held:
            yield from part.chunks(columns, start)
            return
        for chunk in self._held[id(part)]:
            if start <= 0:
                yield chunk
            start -= chunk.read

    def _survey(self) -> dict[int, Survey]:
        """Look at all cells of all files; a broken one among several is marked as such."""
        parts = [part for split in self.splits for part in self.groups[split]]
        schema = self.request.schema
        texts = [name for name, kind in self._kinds.items() if kind == "category"]
        if isinstance(schema, Schema):
            texts = [c.name for c in schema.columns if c.categories is not None]
        self._as_text(parts, texts)
        surveys = self._look(parts)
        if mixed := [name for name, sketch in self.sketches.items() if sketch.mixed]:
            # Where a chunk of a text column holds only digits, 01 came as 1: look again.
            self._as_text(parts, [*texts, *mixed])
            surveys = self._look(parts)
        return surveys

    def _as_text(self, parts: Sequence[TablePart], columns: Sequence[str]) -> None:
        for part in parts:
            part.as_text(columns)

    def _look(self, parts: Sequence[TablePart]) -> dict[int, Survey]:
        scratch = Unreadable(self.unreadable.noun, self.unreadable.limit)
        surveys: dict[int, Survey] = {}
        self.sketches.clear()
        broken: list[BrokenFile] = []
        for part in parts:
            try:
                surveys[id(part)] = self._look_at(part, scratch)
            except BrokenFile as error:
                if len(parts) == 1 or len(broken) == len(parts) - 1:
                    raise
                broken.append(error)
                surveys[id(part)] = Survey(part.name, items=1, broken=f"{part.name} ({error.why})")
                scratch.add(surveys[id(part)].broken)
        return surveys

    def _look_at(self, part: TablePart, unreadable: Unreadable) -> Survey:
        kinds = part.kinds()
        survey = Survey(part.name, {column: Tally(fixed) for column, fixed in kinds.items()})
        dtypes = part.dtypes() if self.request.schema == "auto" else {}
        held: list[Chunk] = []
        first = ""
        of_file = f" of {part.name}" if unreadable.noun == "item" else ""
        for chunk in part.chunks(None):
            for item in chunk.unreadable:
                first = first or item
                unreadable.add(item)
            for column, cells in chunk.cells.items():
                survey.tallies[column].add(cells, chunk.rows, survey.rows, of_file)
                if self.request.schema == "auto":
                    if column not in self.sketches:
                        wanted, dtype = self._kinds.get(column), dtypes.get(column)
                        self.sketches[column] = Sketch(column, wanted, dtype)
                    self.sketches[column].add(cells.series, cells.numbers)
            survey.rows += chunk.rows
            survey.items += chunk.read
            if self._held is not None:
                held.append(chunk)
        if survey.items and not survey.rows:
            why = f"none of its {survey.items:,} lines has as many cells as its header: {first}"
            raise BrokenFile(f"cannot read {part.name}: {why}.", why)
        if self._held is not None:
            self._held[id(part)] = held
        return survey
