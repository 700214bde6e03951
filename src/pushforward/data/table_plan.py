"""Decide from a look at all cells of a table which columns are modelled and which rows count."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from .category_order import needs_order, ordered
from .columns import Tally
from .found import listed
from .schema import Schema
from .stream import Unreadable
from .table_schema import choose_mixed
from .tables import Choice, choose

if TYPE_CHECKING:
    from .table_stream import TableStream

__all__ = ["Plan", "Survey", "plan_table"]

_TELLING = 50_000
"""Rows by which categories are put in order."""


@dataclass
class Survey:
    """What one file of a table holds; ``broken`` says why it is skipped."""

    name: str
    tallies: dict[str, Tally] = field(default_factory=dict)
    rows: int = 0
    items: int = 0
    broken: str = ""


@dataclass(frozen=True)
class Plan:
    """How to read a table.

    Attributes:
        surveys: what each file holds, by the identity of its part.
        tallies: what each column holds, over all files.
        read: the columns in which a row must be complete.
        kept: ``(len(read),)`` bool, those of them that are modelled.
        label: the column of labels.
        dtype: of the values.
        rows: the number of rows, incomplete ones included.
        notes, late_notes: sentences that come before and after the one on dropped rows.
        mixed: what the columns read hold, where that was asked for.
    """

    surveys: dict[int, Survey]
    tallies: dict[str, Tally]
    read: tuple[str, ...]
    kept: np.ndarray
    label: str | None
    dtype: np.dtype
    rows: int
    notes: tuple[str, ...]
    late_notes: tuple[str, ...] = ()
    mixed: Schema | None = None

    @property
    def schema(self) -> Schema | None:
        """What the columns that are modelled hold, where that was asked for."""
        return None if self.mixed is None else self.mixed.take(self.columns)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are modelled."""
        return tuple(column for column, kept in zip(self.read, self.kept, strict=True) if kept)

    @property
    def wanted(self) -> list[str]:
        """The columns to read."""
        return [*self.read, *([self.label] if self.label is not None else [])]

    @property
    def lacking(self) -> dict[str, int]:
        """How many cells each column lacks, of those in which a row must be complete."""
        return {column: self.tallies[column].missing for column in self.read}

    @property
    def missing(self) -> tuple[int, ...]:
        """How many cells each modelled column lacks."""
        return tuple(self.tallies[column].missing for column in self.columns)

    @property
    def any_missing(self) -> bool:
        """Whether a cell is missing (or odd, which leaves NaN, too) in the columns read."""
        return any(self.lacking.values())

    @property
    def any_infinite(self) -> bool:
        """Whether a number in the columns read is infinite."""
        return any(self.tallies[column].infinite for column in self.read)


def plan_table(stream: TableStream, surveys: dict[int, Survey], notes: tuple[str, ...]) -> Plan:
    """Choose the columns, and leave out those that cannot be modelled, unless they are asked for.

    Missing values are treated as ``request.missing`` says. ``drop``: columns without any value, and
    those with one and the same, go unless asked for; then incomplete rows go; all are noted.
    ``raise``: the first missing value is an error. ``keep``: they stay, and so do the rows, but for
    those without any value where a set is opened. Constant columns stay
    where a model's shape is asked for: what does not vary in its new rows may have varied in those
    that it learned from.

    Raises:
        InputError: a value is missing and may not be, or no column or complete row is left.
    """
    request, tallies = stream.request, _joined(surveys)
    limit = stream.unreadable.limit
    rows = sum(survey.rows for survey in surveys.values())
    if tallies and not rows:
        raise InputError(f"{stream.name} has zero rows.")
    schema = None
    if request.schema is not None:
        mixed = choose_mixed(stream, tallies)
        schema = mixed.schema
        choice = Choice(schema.names, mixed.label, mixed.notes)
    else:
        kinds = {column: tally.kind(limit) for column, tally in tallies.items()}
        choice = choose(kinds, request, stream.name, lambda column: column + tallies[column].told())
    for survey in surveys.values():
        chosen = [*choice.columns, *filter(None, [choice.label])]
        _check_columns(survey, chosen, mixed=schema is not None)
    if request.columns is None and (more := _only_in_some(surveys, tallies)):
        notes = (*notes, f"Columns that the first file lacks were left out: {listed(more)}.")
    plan = Plan(
        surveys,
        tallies,
        choice.columns,
        np.ones(len(choice.columns), bool),
        choice.label,
        np.dtype(np.float64),
        rows,
        (*notes, *choice.notes),
        mixed=schema,
    )
    if request.missing == "drop" or (request.missing == "keep" and not request.whole):
        plan = _without_hollow(plan, stream)
        plan = _without_constant(plan, stream)
        if plan.any_missing and request.missing == "drop":
            plan = _of_complete_rows(plan, stream)
    wide = any(tallies[column].wide for column in plan.columns)
    if plan.schema is not None:  # the time of day takes more digits than float32 has
        wide |= any(c.kind == "date" and c.step != 1 for c in plan.schema.columns)
    plan = replace(plan, dtype=np.dtype(np.float64 if wide else np.float32))
    if request.schema == "auto" and plan.mixed is not None and needs_order(plan.mixed):
        plan = replace(plan, mixed=ordered(plan.mixed, _some_rows(plan, stream)))
    if plan.any_infinite or (plan.any_missing and request.missing == "raise"):
        for _ in _walk(plan, stream):  # raises at the first: better now than after hours
            pass
    return plan


def _joined(surveys: dict[int, Survey]) -> dict[str, Tally]:
    whole = [survey for survey in surveys.values() if not survey.broken]
    tallies = {column: replace(tally) for column, tally in whole[0].tallies.items()}
    for survey in whole[1:]:
        for column in tallies.keys() & survey.tallies.keys():
            tallies[column].merge(survey.tallies[column])
    return tallies


def _only_in_some(surveys: dict[int, Survey], tallies: dict[str, Tally]) -> list[str]:
    columns = [column for survey in surveys.values() for column in survey.tallies]
    return [column for column in dict.fromkeys(columns) if column not in tallies]


def _check_columns(survey: Survey, columns: list[str], *, mixed: bool) -> None:
    if survey.broken:
        return
    absent = [column for column in columns if column not in survey.tallies]
    if absent:
        raise InputError(
            f"{survey.name} lacks the column {listed(absent)} that the other files have."
        )
    text = [column for column in columns if survey.tallies[column].fixed == "other"]
    if text and not mixed:
        raise InputError(
            f"the column {text[0]!r} is not numeric in {survey.name}, but it is in the other files."
        )


def _without_hollow(plan: Plan, stream: TableStream) -> Plan:
    hollow = np.array([plan.lacking[column] == plan.rows for column in plan.read])
    if not hollow.any() or hollow.all() or stream.request.columns is not None:
        return plan
    return _left_out(plan, hollow, "without any value")


def _left_out(plan: Plan, gone: np.ndarray, why: str) -> Plan:
    names = np.array(plan.read, object)
    return replace(
        plan,
        read=tuple(names[~gone]),
        kept=plan.kept[~gone],
        mixed=None if plan.mixed is None else plan.mixed.take(names[~gone]),
        notes=(*plan.notes, _note(names[gone], why)),
    )


def _note(columns: np.ndarray, why: str) -> str:
    return f"Columns {why} were left out: {listed(list(columns))}."


def _may_leave_out(stream: TableStream, rows: int) -> bool:
    return stream.request.columns is None and stream.request.shape is None and rows > 1


def _without_constant(plan: Plan, stream: TableStream) -> Plan:
    """Leave out the columns whose values, apart from missing ones, are all the same."""
    constant = np.array([_constant(plan, stream, column) for column in plan.read])
    if not constant.any() or not _may_leave_out(stream, plan.rows):
        return plan
    if constant.all():
        if plan.any_missing:
            return plan  # they are what to complain of, if no complete row is left
        raise _all_constant(plan, stream)
    return _left_out(plan, constant, "with one and the same value")


def _constant(plan: Plan, stream: TableStream, column: str) -> bool:
    if stream.request.schema == "auto":
        return stream.sketches[column].constant
    tally = plan.tallies[column]
    return plan.mixed is None and tally.low == tally.high  # NaN: no value


def _all_constant(plan: Plan, stream: TableStream) -> InputError:
    what = "column" if plan.mixed else "numeric column"
    return InputError(
        f"each {what} of {stream.name} holds one and the same value in all rows: "
        f"{listed(plan.read)}. Name columns to keep them all the same."
    )


def _of_complete_rows(plan: Plan, stream: TableStream) -> Plan:
    """Leave out the columns that are constant in the complete rows, of which there must be one."""
    count, careful = 0, _may_leave_out(stream, plan.rows)
    low, high = np.full((2, len(plan.read)), np.nan)
    for values in _walk(plan, stream):
        if len(values):
            count += len(values)
            low, high = np.fmin(low, values.min(axis=0)), np.fmax(high, values.max(axis=0))
        if count and (not careful or (low < high).all()):
            return plan
    if not count:
        worst = max(plan.read, key=lambda column: plan.lacking[column])
        raise InputError(
            f"each of the {plan.rows:,} rows of {stream.name} lacks a value; choose columns "
            f"without missing values, or fill them first. Most are missing in {worst!r}."
        )
    constant = low == high
    if count < 2 or not constant.any():
        return plan
    if constant.all():
        raise _all_constant(plan, stream)
    names = np.array(plan.read, object)
    note = _note(names[constant], "with one and the same value")
    return replace(plan, kept=~constant, late_notes=(note,))


def _some_rows(plan: Plan, stream: TableStream) -> np.ndarray:
    """The first rows ``(n, len(read))``, as many as tell which categories are alike."""
    scratch = Unreadable(stream.unreadable.noun, None)
    whole = replace(plan, kept=np.ones(len(plan.read), bool), dtype=np.dtype(np.float64))
    counters, rows = dict.fromkeys(stream.counters, 0), [np.empty((0, len(plan.read)))]
    for piece in stream.pieces_of(whole, stream.splits[0], 0, scratch, counters):
        rows.append(piece.values)
        if sum(map(len, rows)) >= _TELLING:
            break
    return np.concatenate(rows)


def _walk(plan: Plan, stream: TableStream) -> Iterator[np.ndarray]:
    """Read all rows by a plan, without a trace in the stream's own tally."""
    scratch = Unreadable(stream.unreadable.noun, stream.unreadable.limit)
    counters = dict.fromkeys(stream.counters, 0)
    for split in stream.splits:
        for piece in stream.pieces_of(plan, split, 0, scratch, counters):
            yield piece.values
