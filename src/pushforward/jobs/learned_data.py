"""Read data for a trained model the way that it read its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..data import read_for
from ..data.found import Missing
from ..data.schema import Schema
from ..model import Model

__all__ = ["learned_columns", "read_as_learned"]

Array = np.ndarray[Any, np.dtype[Any]]


def learned_columns(model: Model) -> list[str]:
    """The names of the columns of a model of rows; x0, x1, ... if it knows none."""
    names = _facts(model).get("columns")
    if isinstance(names, list | tuple) and len(names) == model.dims:
        return [str(name) for name in names]
    return [f"x{i}" for i in range(model.dims)]


def read_as_learned(
    model: Model,
    source: Any,
    *,
    split: str | None = None,
    missing: Missing = "raise",
    reading: Mapping[str, Any] | None = None,
) -> Array:
    """Read a source for a model, in order: ``(N, *shape)``.

    Columns are found by name, in any order; cells become numbers as they did in training.

    Args:
        model: trained by ``learn`` or ``pushforward train``; of others the shape is known.
        source: as for ``open_data``.
        split: only ``train``, ``validation`` or ``test``, as training made them of this source.
        missing: without ``split``: missing values are an error (``raise``), stay NaN (``keep``), or
            their rows are left out (``drop``).
        reading: how training read its source, if the facts of the model are not to be believed.

    Raises:
        InputError: the source cannot be read or does not fit the model.
    """
    facts = dict(_facts(model) if reading is None else reading)
    names = facts.get("columns") if len(model.shape) == 1 else None
    validation, test = facts.get("fractions") or (0.1, 0.1)
    return read_for(
        source,
        shape=model.shape,
        levels=model.levels,
        columns=learned_columns(model) if names else None,
        split=split,
        size=facts.get("size"),
        missing=missing,
        split_seed=facts.get("split_seed") or 0,
        fractions=(validation, test),
        crop=facts.get("crop") or "centre",
        max_unreadable=facts.get("max_unreadable", 100),
        schema=Schema.of(model),
        incomplete="keep" if model.takes_missing else "drop",
    )


def _facts(model: Model) -> Mapping[str, Any]:
    facts = model.facts.get("data")
    return facts if isinstance(facts, Mapping) else {}
