"""Tables: which of their columns to read."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import InputError
from .columns import ColumnKind
from .events import default_columns
from .found import Request, listed

__all__ = ["LABEL", "Choice", "check_asked", "check_there", "choose", "refuse_twins"]

LABEL = "label"
"""The column whose integers are labels."""


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
    label = LABEL if kinds.get(LABEL) == "integer" and LABEL not in (asked or ()) else None
    if asked is not None:
        check_asked(asked, list(kinds), name)
        _check_numeric(asked, kinds, name, told)
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
    if not kinds:
        raise InputError(f"{name} has no columns.")
    if not numeric:
        all_told = [told(column) if kind == "other" else column for column, kind in kinds.items()]
        raise InputError(f"{name} has no numeric column; it has {listed(all_told)}.")
    return Choice(numeric, label, tuple(notes))


def check_asked(asked: Sequence[str], names: Sequence[str], name: str) -> None:
    """Raise `InputError` if the columns asked for are none, absent, or named twice."""
    if not asked:
        raise InputError("columns is empty; name at least one column.")
    check_there(asked, names, name)
    if len(set(asked)) < len(asked):
        raise InputError(f"columns names a column twice: {listed(asked)}.")


def check_there(asked: Sequence[str], names: Sequence[str], name: str) -> None:
    """Raise `InputError` if columns are absent, with the nearest name that is there."""
    absent = [column for column in asked if column not in names]
    if absent:
        alike = [column for column in names if column.lower() == absent[0].lower()]
        near = alike or difflib.get_close_matches(absent[0], names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise InputError(
            f"{name} has no column {listed([repr(column) for column in absent])}; it has "
            f"{listed(names, 20)}.{hint}"
        )


def _check_numeric(
    asked: Sequence[str],
    kinds: dict[str, ColumnKind],
    name: str,
    told: Callable[[str], str],
) -> None:
    other = [column for column in asked if kinds[column] == "other"]
    if other:
        cell = told(other[0]).removeprefix(other[0])
        raise InputError(
            f"column {other[0]!r} of {name} is not numeric{cell}; choose numeric columns."
        )


def refuse_twins(columns: Sequence[str], name: object) -> None:
    """Raise `InputError` if columns share a name."""
    twins = sorted({column for column in columns if columns.count(column) > 1}, key=columns.index)
    if twins:
        said = listed([repr(column) for column in twins])
        raise InputError(f"{name} has several columns called {said}; rename them.")
