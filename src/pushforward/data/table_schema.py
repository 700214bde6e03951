"""Choose the columns of a mixed table: what each holds, and which ones a model can learn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InputError
from .columns import ColumnKind, Tally
from .detect import column_of
from .found import listed
from .schema import Column, Schema
from .sketch import Sketch
from .tables import LABEL, check_asked, check_there

if TYPE_CHECKING:
    from .table_stream import TableStream

__all__ = ["Mixed", "choose_mixed"]


@dataclass(frozen=True)
class Mixed:
    """The columns to read, the column of labels if the table has one, and what to say of it."""

    schema: Schema
    label: str | None
    notes: tuple[str, ...] = ()


def choose_mixed(stream: TableStream, tallies: Mapping[str, Tally]) -> Mixed:
    """Pick the columns that are asked for, or else all that a model can learn.

    As in a table of numbers, an integer column called ``label`` is kept aside unless it is asked
    for by name; one of text is a column like others.

    Raises:
        InputError: a column asked for is absent, or of another kind than it is to be; or none is
            left.
    """
    request = stream.request
    limit = stream.unreadable.limit
    kinds = {column: tally.kind(limit) for column, tally in tallies.items()}
    if not kinds:
        raise InputError(f"{stream.name} has no columns.")
    if isinstance(request.schema, Schema):
        return _by_schema(stream, request.schema, tallies, kinds)
    said = dict(request.kinds)
    check_there(list(said), list(kinds), stream.name)
    asked = request.columns
    if asked is not None:
        check_asked(asked, list(kinds), stream.name)
    names = (
        [column for column, kind in kinds.items() if kind != "index"] if asked is None else asked
    )
    free = LABEL not in (asked or ()) and LABEL not in said
    label = LABEL if kinds.get(LABEL) == "integer" and free else None
    chosen: list[Column] = []
    left: list[str] = []
    for name in names:
        if name == label:
            continue
        column = _column(stream.sketches.get(name), tallies[name], kinds[name])
        if isinstance(column, Column):
            chosen.append(column)
        else:
            left.append(f"{name} ({column})")
    if asked is not None and left:
        raise InputError(
            f"{stream.name} holds a column that no model can learn: {left[0]}. Choose others, or "
            "name its kind."
        )
    if not chosen:
        raise InputError(f"{stream.name} has no column that can be learned: {listed(left)}.")
    notes = []
    if left:
        notes.append(f"Columns that no model can learn were left out: {listed(left)}.")
    if "index" in kinds.values() and asked is None:
        notes.append("The row index that pandas wrote beside the data was left out.")
    if label is not None:
        notes.append("The integer column 'label' was kept as labels; ask for it to model it.")
    return Mixed(Schema(tuple(chosen)), label, tuple(notes))


def _column(sketch: Sketch | None, tally: Tally, kind: ColumnKind) -> Column | str:
    """What a column holds, or why it cannot be learned."""
    if sketch is None:
        return "cells that are no single values"
    # Text all of which could be numbers was read as text for a reason: 00123 is a code.
    numeric = kind in ("integer", "number") and (sketch.numeric > 0 or tally.odd > 0)
    return column_of(sketch, numeric)


def _by_schema(
    stream: TableStream,
    schema: Schema,
    tallies: Mapping[str, Tally],
    kinds: Mapping[str, ColumnKind],
) -> Mixed:
    """The columns of a schema that is known, found by name."""
    asked = stream.request.columns
    if asked is not None and set(asked) <= set(schema.names):
        schema = schema.take(asked)
    check_there(schema.names, list(kinds), stream.name)
    for column in schema.columns:
        if column.kind in ("number", "integer") and column.categories is None:
            tally = tallies[column.name]
            if kinds[column.name] == "other" and tally.given:
                first = tally.first or tally.truth
                told = "" if first is None else f" ({first[1]})"
                raise InputError(
                    f"column {column.name!r} of {stream.name} holds text{told}, where the model "
                    f"learned numbers; mend the cells or leave them empty."
                )
    label = LABEL if kinds.get(LABEL) == "integer" and LABEL not in schema.names else None
    return Mixed(schema, label)
