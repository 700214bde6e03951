"""Which events have an attribute: ``label=3`` of images, ``age>40`` of rows."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError

if TYPE_CHECKING:
    from ..flow import Flow

__all__ = ["Attributes"]

Array = np.ndarray[Any, np.dtype[Any]]

_SIGNS: dict[str, Callable[[Any, Any], Any]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "!=": operator.ne,
    "=": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
_ORDERS = (">=", "<=", ">", "<")


class Attributes:
    """The events that a direction is learned from, and who of them has what.

    They are the training part of the source, as the model's training divided it: of images with
    their labels, of rows those that lack nothing.

    Raises:
        InputError: the source cannot be read, does not fit the model, or has no labels (images).
    """

    def __init__(self, flow: Flow, source: str) -> None:
        from ..data import open_data
        from .chosen import complete
        from .options import Split
        from .reading import read, reading_of

        self.flow, self.source = flow, source
        self.x: Array
        self.labels: Array | None = None
        self.names: tuple[str, ...] | None = None
        if len(flow.shape) == 1:
            x = read(flow, source, Split.train)
            self.x = x[complete(x)]
            return
        dataset = open_data(source, **reading_of(flow).arguments())
        if not dataset.labels or "train" not in dataset.labels:
            raise InputError(
                f"{dataset.name} has no labels to learn a direction from. They come from a folder "
                f"a class, or from a column named label."
            )
        self.x, self.labels = dataset.train, dataset.labels["train"]
        self.names = dataset.label_names

    def having(self, text: str, option: str) -> Array:
        """Which events have the attribute: ``(N,)``, Boolean.

        Raises:
            InputError: it cannot be understood, or names no label or column.
        """
        signs = "|".join(_SIGNS)
        match = re.fullmatch(rf"(.+?)\s*({signs})\s*(.+)", text.strip(), re.DOTALL)
        if match is None:
            example = "label=3" if self.labels is not None else "column=value or column>value"
            raise InputError(f"{option} takes {example}; got {text!r}.")
        name, sign, value = match.groups()
        if self.labels is not None:
            return np.asarray(_SIGNS[sign](self.labels, self._label(name, sign, value, option)))
        column, number = self._cell(name, sign, value, option)
        return np.asarray(_SIGNS[sign](self.x[:, column], number))

    def _label(self, name: str, sign: str, value: str, option: str) -> int:
        assert self.labels is not None
        if name != "label" or sign in _ORDERS:
            raise InputError(f"{option} of images is by label, as in label=3; got {name}{sign}.")
        there = [int(label) for label in np.unique(self.labels) if label >= 0]
        said = [str(self.names[i] if self.names else i) for i in there]
        if value in said:
            return there[said.index(value)]
        shown = ", ".join(said[:12]) + (", ..." if len(said) > 12 else "")
        raise InputError(f"{self.source} has no label {value!r}; it has {shown}.")

    def _cell(self, name: str, sign: str, value: str, option: str) -> tuple[int, float]:
        import pandas as pd

        from ..data.encoding import encode_cells
        from ..data.schema import Schema
        from .reading import column_names

        schema = Schema.of(self.flow)
        names = list(schema.names) if schema else column_names(self.flow)
        if name not in names:
            shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
            raise InputError(f"{option}: the model has no column {name!r}; it has {shown}.")
        column = schema[name] if schema else None
        if column is not None and column.categories is not None:
            if sign in _ORDERS:
                raise InputError(f"{option}: {name} is a {column.kind}; compare it by = or !=.")
            if value not in column.categories:
                shown = ", ".join(column.categories[:12])
                raise InputError(f"{option}: {name} is never {value!r}; it is one of {shown}.")
            return names.index(name), float(column.categories.index(value))
        if column is None:
            try:
                number = float(value)
            except ValueError:
                number = math.nan
        else:
            number = float(encode_cells(pd.Series([value], dtype=object), column)[0][0])
        if not math.isfinite(number):
            kind = "number" if column is None else column.kind
            held = {"boolean": "truth values", "date": "dates"}.get(kind, "numbers")
            raise InputError(
                f"{option}: {name} holds {held}, which cannot be compared with {value!r}."
            )
        return names.index(name), number
