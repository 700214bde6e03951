"""What the columns of a table are, and the way from its cells to numbers and back."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from ..errors import InputError
from .encoding import decode_cells, encode_cells, shown
from .found import counted, listed
from .tables import check_there

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["KINDS", "Column", "Kind", "Schema", "as_pandas", "is_polars"]

Kind = Literal["number", "integer", "category", "boolean", "date"]

KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table.

    Attributes:
        name: of the column.
        kind: what its values are. In numbers a category is its place in ``categories``, a boolean
            0 or 1, a date the days since 1970-01-01 (UTC), and a missing value NaN.
        dtype: what pandas calls the type of its cells, which decoding gives back; ``date`` for
            Python's dates, ``category, ordered`` for categories with an order.
        step: the width of the grid on which its numbers lie: 1 for integers, categories, booleans
            and whole days, 0.01 for prices in cents; None for continuous ones.
        decimals: how many digits after the point its numbers have, where these are few.
        low, high: where its numbers end by nature, as shares do at 0 and 1; None if nowhere.
        heavy: its tails are much heavier than those of a normal.
        categories: what the codes 0, 1, ... stand for; of a boolean the words for no and yes, None
            if it holds truth values.
        missing: how many cells were lacking when it was looked at.
        least, most: the smallest and the largest number then.
    """

    name: str
    kind: Kind
    dtype: str = "float64"
    step: float | None = None
    decimals: int | None = None
    low: float | None = None
    high: float | None = None
    heavy: bool = False
    categories: tuple[str, ...] | None = None
    missing: int = 0
    least: float | None = None
    most: float | None = None

    def spec(self) -> dict[str, Any]:
        """What a model has to know of it: the fields of a ``ColumnSpec``."""
        count = None
        if self.kind in ("category", "boolean"):
            count = 2 if self.categories is None else max(2, len(self.categories))
        bounded = self.low is not None and self.high is not None
        # Seconds of years are as good as continuous, and finer than float32 can tell.
        fine = self.kind == "date" and self.step != 1
        return {
            "kind": "discrete" if self.step is not None and not fine else "number",
            "step": None if fine else self.step,
            "count": count,
            "transform": "logit" if bounded else "yeo-johnson" if self.heavy else "none",
            "low": self.low,
            "high": self.high,
        }

    def told(self) -> str:
        """The kind, and what is particular about it: ``number, steps of 0.01, heavy tails``."""
        said: list[str] = [self.kind]
        if self.categories is not None:
            places = self.categories if len(self.categories) <= 4 else self.categories[:3]
            more = len(self.categories) - len(places)
            end = f", ... {more:,} more" if more else ""
            said = [f"{self.kind} ({', '.join(map(shown, places))}{end})"]
        if self.kind == "number" and self.step is not None:
            said.append(f"steps of {self.step:g}")
        if self.low is not None and self.high is not None:
            said.append(f"between {self.low:g} and {self.high:g}")
        return ", ".join([*said, *(["heavy tails"] if self.heavy else [])])


@dataclass(frozen=True)
class Schema:
    """The columns of a table, in order: how its cells become numbers, and numbers cells again.

    Example:
        >>> import pandas as pd
        >>> table = pd.DataFrame({"age": [31, 5], "city": ["Bonn", "Oslo"]})
        >>> schema = Schema((
        ...     Column(name="age", kind="integer", dtype="int64", step=1.0),
        ...     Column(name="city", kind="category", dtype="str", categories=("Bonn", "Oslo")),
        ... ))
        >>> schema.encode(table)
        array([[31.,  0.],
               [ 5.,  1.]])
    """

    columns: tuple[Column, ...]

    def __len__(self) -> int:
        return len(self.columns)

    def __getitem__(self, name: str) -> Column:
        """The column of this name.

        Raises:
            InputError: there is none.
        """
        if name not in self._by_name:
            check_there([name], self.names, "the table that the model knows")
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(column.name for column in self.columns)

    def take(self, names: Sequence[str]) -> Schema:
        """The schema of some of its columns, in the order of ``names``."""
        return Schema(tuple(self[name] for name in names))

    # Cells and numbers ---------------------------------------------------------------------------

    def encode(self, frame: Any) -> np.ndarray:
        """Turn a data frame of pandas or polars into numbers ``(N, D)``, float64.

        Columns are found by name, in any order, others do not matter. What is missing is NaN.

        Raises:
            InputError: a column is absent, text stands where a number should, a category is none
                of those that are known, or a number is infinite.
        """
        frame = as_pandas(frame)
        check_there(self.names, [str(name) for name in frame.columns], "the table")
        frame = frame.set_axis([str(name) for name in frame.columns], axis=1)
        values = np.empty((len(frame), len(self.columns)))
        for i, column in enumerate(self.columns):
            values[:, i], odd = encode_cells(frame[column.name], column)
            if len(odd):
                raise self.refusal(column, frame[column.name].iloc[odd[0]], f"row {odd[0]}")
            if np.isinf(values[:, i]).any():
                row = int(np.isinf(values[:, i]).argmax())
                raise InputError(f"column {column.name!r} is infinite in row {row}; drop it first.")
        return values

    def decode(self, values: Any, *, clip: bool = False) -> pd.DataFrame:
        """Turn numbers ``(N, D)`` into a data frame with the columns' own types and categories.

        Numbers of a grid are brought to its nearest point, and NaN to a missing value.

        Args:
            values: an array, or a tensor on the CPU.
            clip: bring numbers beyond the smallest and the largest that the columns held to these.

        Raises:
            InputError: the shape is another one.
        """
        import pandas as pd

        values = np.asarray(values, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] != len(self.columns):
            raise InputError(
                f"the table has {counted(len(self.columns), 'column')}; got numbers of shape "
                f"{values.shape}. Give (N, {len(self.columns)})."
            )
        if clip:
            low = [-np.inf if c.least is None else c.least for c in self.columns]
            high = [np.inf if c.most is None else c.most for c in self.columns]
            values = np.clip(values, low, high)
        cells = [decode_cells(values[:, i], column) for i, column in enumerate(self.columns)]
        frame = pd.DataFrame(dict(enumerate(cells)), index=pd.RangeIndex(len(values)))
        return frame.set_axis(list(self.names), axis=1)

    def refusal(self, column: Column, cell: Any, where: str) -> InputError:
        """The error about a cell that cannot be what its column holds."""
        text = shown(cell)
        start = f"column {column.name!r} holds {text} ({where}), "
        if column.categories is not None:
            kind = "category" if column.kind == "category" else "word"
            return InputError(
                f"{start}which is none of the {len(column.categories):,} that the model knows: "
                f"{listed([shown(name) for name in column.categories], 8)}. Leave such rows out, "
                f"or train with that {kind}."
            )
        wanted = {"date": "date", "boolean": "truth value"}.get(column.kind, "number")
        return InputError(f"{start}where a {wanted} should be; mend the cell or leave it empty.")

    # What others want to know --------------------------------------------------------------------

    def specs(self) -> list[dict[str, Any]]:
        """For each column what a model has to know of it: the argument ``columns`` of a model."""
        return [column.spec() for column in self.columns]

    def describe(self) -> list[dict[str, Any]]:
        """For each column ``name``, ``kind``, ``about`` (for people to read) and ``missing``."""
        return [
            {"name": c.name, "kind": c.kind, "about": c.told(), "missing": c.missing}
            for c in self.columns
        ]

    def to_json(self) -> list[dict[str, Any]]:
        """Plain values, ready for ``json.dumps``; fields that say nothing are left out."""
        fields = {item.name: item.default for item in dataclasses.fields(Column)}
        return [
            {
                key: list(value) if isinstance(value, tuple) else value
                for key, value in dataclasses.asdict(column).items()
                if key in ("name", "kind", "dtype") or value != fields[key]
            }
            for column in self.columns
        ]

    @classmethod
    def from_json(cls, content: Any) -> Schema:
        """The schema that ``to_json`` wrote.

        Raises:
            InputError: it is not one.
        """
        try:
            columns = []
            for item in content:
                words = item.get("categories")
                known = None if words is None else tuple(str(word) for word in words)
                columns.append(Column(**{**item, "categories": known}))
            if any(column.kind not in KINDS for column in columns):
                raise ValueError
        except (TypeError, ValueError, AttributeError):
            raise InputError(
                "the columns that the model's config.json tells of were altered; take the file "
                "from another copy of the model."
            ) from None
        return cls(tuple(columns))

    @classmethod
    def of(cls, model: Any) -> Schema | None:
        """The schema of the table that a model learned; None if it knows none."""
        facts = model.facts.get("data")
        content = facts.get("schema") if isinstance(facts, Mapping) else None
        return None if content is None else cls.from_json(content)


def is_polars(source: Any) -> bool:
    """Say whether ``source`` is a DataFrame or Series of polars, without importing that."""
    polars = sys.modules.get("polars")
    return polars is not None and isinstance(source, polars.DataFrame | polars.Series)


def as_pandas(frame: Any) -> pd.DataFrame:
    """Return a frame of pandas or polars as one of pandas.

    Integers and truth values with nulls come in pandas' nullable types.

    Raises:
        InputError: it is no frame.
    """
    import pandas as pd

    if is_polars(frame):
        frame = frame.to_frame() if hasattr(frame, "to_frame") else frame
        table = frame.to_pandas()
        for name, dtype in frame.schema.items():
            if frame[name].null_count() and (dtype.is_integer() or str(dtype) == "Boolean"):
                nullable = "boolean" if str(dtype) == "Boolean" else str(dtype)
                table[name] = pd.array(frame[name].to_list(), dtype=nullable)
        return table
    if isinstance(frame, pd.Series):
        return frame.to_frame("x0" if frame.name is None else frame.name)
    if not isinstance(frame, pd.DataFrame):
        raise InputError(
            f"cannot read columns from a {type(frame).__name__}; give a data frame of pandas or "
            "polars."
        )
    return frame
