"""What a conditional model is given: columns of a table or the labels of images, as numbers."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from .found import listed
from .schema import Column, Schema

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LABEL", "Given"]

LABEL = "label"
"""The name under which the classes of images are given."""

_MANY = 1_000
"""Numbers of context beyond which categories are names rather than kinds."""


@dataclass(frozen=True)
class Given:
    r"""Columns on which a model is conditioned, and the way from their cells to its context.

    .. math:: c = \Big(\frac{v_1 - \mu_1}{\sigma_1}, \dots,\ \text{one-hot}(v_G)\Big)

    Numbers, integers and dates are standardised by the training rows, categories and booleans
    become one-hot vectors. ``values`` are what ``Schema.encode`` makes of cells: ``(N, G)``.

    Attributes:
        schema: the columns.
        mean, std: of each column; 0 and 1 of those that become one-hot vectors.
        order: the columns of the table, given and learned, as they stand there: splits are drawn
            by the content of rows, column by column.
    """

    schema: Schema
    mean: tuple[float, ...]
    std: tuple[float, ...]
    order: tuple[str, ...]

    @classmethod
    def of_rows(cls, schema: Schema, values: np.ndarray, order: Sequence[str]) -> Given:
        """Learn the moments from training values ``(N, G)``; what is missing does not count.

        Raises:
            InputError: a column holds no value, or so many categories that they are names.
        """
        mean, std = [], []
        for column, numbers in zip(schema.columns, values.T, strict=True):
            seen = numbers[~np.isnan(numbers)].astype(np.float64)
            if not len(seen):
                raise InputError(f"column {column.name!r} is empty, so nothing can be given by it.")
            onehot = _count(column) is not None
            spread = float(seen.std())
            mean.append(0.0 if onehot else float(seen.mean()))
            std.append(1.0 if onehot or spread == 0 else spread)
        given = cls(schema, tuple(mean), tuple(std), tuple(order))
        if given.width > _MANY:
            widest = max(schema.columns, key=lambda column: _count(column) or 1)
            raise InputError(
                f"column {widest.name!r} has {_count(widest):,} categories, too many to be given; "
                f"leave it out, or join those that are rare."
            )
        return given

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return self.schema.names

    @property
    def width(self) -> int:
        """How many numbers the context has."""
        return sum(_count(column) or 1 for column in self.schema.columns)

    # From cells to context -----------------------------------------------------------------------

    def context(self, values: Any) -> np.ndarray:
        """Values ``(N, G)`` as the model's context ``(N, width)``, float32; missing ones are NaN.

        Raises:
            InputError: a label beyond those that the model knows.
        """
        values = np.asarray(values, dtype=np.float64)
        parts = []
        for i, column in enumerate(self.schema.columns):
            numbers, count = values[:, i], _count(column)
            if count is None:
                parts.append(((numbers - self.mean[i]) / self.std[i])[:, None])
                continue
            beyond = (numbers < 0) | (numbers >= count)
            if beyond.any():
                raise self._unseen(column, str(int(numbers[beyond][0])))
            onehot = (numbers[:, None] == np.arange(count)).astype(np.float64)
            onehot[np.isnan(numbers)] = np.nan
            parts.append(onehot)
        return np.concatenate(parts, axis=1).astype(np.float32)

    def parse(self, text: str) -> np.ndarray:
        """Values ``(1, G)`` of a text such as ``y=3,colour=red``.

        Raises:
            InputError: a name that the model is not given, one that lacks or comes twice, a
                category that it has not seen, or text where a number should be.
        """
        cells: dict[str, str] = {}
        for item in _items(text):
            name, equals, cell = (part.strip() for part in item.partition("="))
            if not equals or not name or not cell:
                raise InputError(
                    f"--given takes name=value, with commas between; got {item!r}. For this model: "
                    f"{self.example()}."
                )
            if name in cells:
                raise InputError(f"--given has {name!r} twice; say it once.")
            cells[name] = cell
        return self.values([cells])

    def values(self, rows: Sequence[Mapping[str, Any]] | pd.DataFrame) -> np.ndarray:
        """Values ``(N, G)`` of rows by name, such as ``[{"y": 3, "colour": "red"}]``.

        Raises:
            InputError: as for ``parse``.
        """
        import pandas as pd

        frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows), dtype=object)
        names = [str(name) for name in frame.columns]
        if not isinstance(rows, pd.DataFrame):
            self._check_known(names)
        lacking = [name for name in self.names if name not in names]
        if lacking:
            raise InputError(
                f"the model is given {listed(list(self.names), 20)}; {listed(lacking)} "
                f"{'is' if len(lacking) == 1 else 'are'} missing. Such as: {self.example()}."
            )
        values = self.schema.encode(frame)
        empty = np.isnan(values)
        if empty.any():
            row, column = np.argwhere(empty)[0]
            raise InputError(
                f"column {self.names[column]!r} is empty in row {row}; a model is given values, "
                f"so fill it in, or leave the row out."
            )
        return values

    def example(self) -> str:
        """What ``--given`` might say."""
        cells = []
        for i, column in enumerate(self.schema.columns):
            if column.categories:
                cells.append(f"{column.name}={column.categories[0]}")
            elif column.kind == "boolean":
                cells.append(f"{column.name}=true")
            elif column.kind == "date":
                day = np.datetime64(int(self.mean[i]), "D")
                cells.append(f"{column.name}={day}")
            else:
                digits = 0 if column.step == 1 else 3
                cells.append(f"{column.name}={round(self.mean[i], digits or None):g}")
        return ",".join(cells)

    def _check_known(self, names: Sequence[str]) -> None:
        for name in names:
            if name not in self.names:
                near = difflib.get_close_matches(name, self.names, n=1)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise InputError(
                    f"the model is not given {name!r}; it is given {listed(list(self.names), 20)}."
                    f"{hint}"
                )

    def _unseen(self, column: Column, cell: str) -> InputError:
        return InputError(
            f"{column.name} {cell} is none of those that the model knows: "
            f"{listed(list(column.categories or ()), 12)}."
        )

    # Files ---------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Plain values, ready for ``json.dumps``."""
        return {
            "columns": self.schema.to_json(),
            "mean": list(self.mean),
            "std": list(self.std),
            "order": list(self.order),
        }

    @classmethod
    def from_json(cls, content: Any) -> Given:
        """What ``to_json`` wrote.

        Raises:
            InputError: it is not that.
        """
        try:
            schema = Schema.from_json(content["columns"])
            mean, std = (tuple(map(float, content[key])) for key in ("mean", "std"))
            order = tuple(str(name) for name in content["order"])
            if not len(schema) == len(mean) == len(std) or not np.all(np.array(std) > 0):
                raise ValueError
            if not set(schema.names) <= set(order):
                raise ValueError
        except (TypeError, ValueError, KeyError):
            raise InputError(
                "what the model's config.json tells of the columns that it is given was altered; "
                "take the file from another copy of the model."
            ) from None
        return cls(schema, mean, std, order)

    @classmethod
    def of(cls, model: Any) -> Given | None:
        """What a trained model is given; None if nothing, or nothing that has names."""
        facts = model.facts.get("data")
        content = facts.get("given") if isinstance(facts, Mapping) else None
        return None if content is None else cls.from_json(content)


def _count(column: Column) -> int | None:
    """How many numbers a one-hot vector of the column has; None if it is standardised."""
    if column.kind == "boolean":
        return 2
    return len(column.categories or ()) if column.kind == "category" else None


def _items(text: str) -> list[str]:
    """The parts of ``a=1,b=x,y,c=2``: a comma belongs to a value unless a name follows it."""
    parts: list[str] = []
    for piece in text.split(","):
        if "=" not in piece and parts:
            parts[-1] += f",{piece}"
        else:
            parts.append(piece)
    return parts
