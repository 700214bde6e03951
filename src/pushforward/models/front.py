"""What stands in front of every flow over rows: from a table's columns to moderate numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import InputError
from ..layers import Dequantize, Layer, Logit, Shape, Standardize
from ..layers.bounded import Bounded
from ..layers.cells import Cells
from ..layers.columns import ColumnSpec, DequantizeColumns
from ..layers.columnwise import Columnwise, OnColumns
from ..layers.power import Power

__all__ = ["row_front"]


def row_front(config: Any, name: str) -> list[Layer]:
    """The first layers of a flow, as its configuration says: dequantise, bend, standardise.

    Args:
        config: with the fields shape, levels, alpha, columns and missing.
        name: of the model, for errors.

    Raises:
        InputError: columns that do not fit the shape, or stand beside levels.
    """
    shape, columns, levels = tuple(config.shape), config.columns, config.levels
    if (columns is not None or config.missing) and (levels is not None or len(shape) != 1):
        what = "levels= are" if levels is not None else f"shape {shape} is"
        raise InputError(
            f"{name}: columns= and missing=True are for rows of a table, (D,), without levels=, "
            f"but {what} given. Say which columns are discrete by columns= instead."
        )
    if levels is not None:
        return [Dequantize(levels), Logit(config.alpha, levels)]
    if columns is None:
        front: list[Layer] = [Standardize(shape, missing=config.missing)]
    else:
        if len(columns) != shape[0]:
            raise InputError(
                f"{name} has rows of {shape[0]} numbers, but columns= tells of {len(columns)}; "
                f"give one ColumnSpec for each column."
            )
        front = [*_columns(shape, columns), Standardize(shape, missing=config.missing, wide=True)]
    if config.missing:
        from ..layers.missing import FillMissing

        front.append(FillMissing(shape))
    return front


def _columns(shape: Shape, columns: Sequence[ColumnSpec]) -> list[Layer]:
    """Noise for discrete columns, and maps for those that are not plain numbers."""
    places: dict[str, list[int]] = {"cells": [], "logit": [], "yeo-johnson": []}
    for place, spec in enumerate(columns):
        few = spec.cells is not None and spec.cells <= _MOST_CELLS
        kind = "cells" if spec.count is not None or few else spec.transform
        if kind != "none":
            places[kind].append(place)
    parts = [
        (chosen, _part(kind, [columns[i] for i in chosen]))
        for kind, chosen in places.items()
        if chosen
    ]
    layers: list[Layer] = []
    if any(spec.on_grid for spec in columns):
        layers.append(DequantizeColumns(columns))
    if parts:
        layers.append(OnColumns(shape, parts))
    return layers


_MOST_CELLS = 256
"""Values up to which the frequencies of a bounded discrete column are counted one by one."""


def _part(kind: str, specs: Sequence[ColumnSpec]) -> Columnwise:
    if kind == "yeo-johnson":
        return Power(len(specs))
    low = [spec.bounds[0] for spec in specs]
    if kind == "cells":
        return Cells([spec.cells or 1 for spec in specs], low, [spec.grid for spec in specs])
    # The highest value of a grid has a cell above it.
    high = [spec.bounds[1] + (spec.grid if spec.on_grid else 0.0) for spec in specs]
    return Bounded(low, high)
