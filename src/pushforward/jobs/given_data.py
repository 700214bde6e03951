"""Read data for a conditional model: events, and beside each what the model is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..data import open_data, read_for
from ..data.dataset import Dataset
from ..data.found import Missing, listed
from ..data.given import LABEL, Given
from ..data.schema import Schema
from ..errors import InputError
from ..model import Model
from .learned_data import read_as_learned

__all__ = ["given_of", "read_with_context"]

Array = np.ndarray[Any, np.dtype[Any]]


def given_of(model: Model) -> Given | None:
    """What a model is given by name; None for an unconditional model.

    Raises:
        InputError: it takes a context of numbers that have no names.
    """
    given = Given.of(model)
    if model.context and given is None:
        raise InputError(
            f"{model.name} is a conditional model of {model.context} numbers without names, "
            f"trained from Python: pass context= there, or train it with --given."
        )
    if given is not None and given.width != model.context:
        raise InputError(
            f"{model.name} takes {model.context or 'no'} numbers of context, but its config.json "
            f"tells of {given.width}; take the file from another copy of the model."
        )
    return given


def read_with_context(
    model: Model,
    source: Any,
    *,
    split: str | None = None,
    missing: Missing = "raise",
    reading: Mapping[str, Any] | None = None,
) -> tuple[Array, Array | None]:
    """Read a source for a model, in order: events ``(N, *shape)`` and their context ``(N, K)``.

    The context is None for an unconditional model. With ``missing="keep"`` the context of a row is
    NaN where something that is given lacks.

    Args:
        model: trained by ``learn`` or ``pushforward train``, with ``given`` or without.
        source, split, missing, reading: as for ``read_as_learned``.

    Raises:
        InputError: the source cannot be read or does not fit the model, or what is given is not
            in it.
    """
    given = given_of(model)
    if given is None:
        return read_as_learned(model, source, split=split, missing=missing, reading=reading), None
    facts = dict(model.facts["data"] if reading is None else reading)
    schema = Schema.of(model)
    if schema is None:
        return _labelled(model, given, source, split, facts)
    both = Schema((*schema.columns, *given.schema.columns)).take(given.order)
    validation, test = facts.get("fractions") or (0.1, 0.1)
    values = read_for(
        source,
        shape=(len(both),),
        columns=list(both.names),
        split=split,
        missing=missing,
        split_seed=facts.get("split_seed") or 0,
        fractions=(validation, test),
        max_unreadable=facts.get("max_unreadable", 100),
        schema=both,
        incomplete="keep" if model.takes_missing else "drop",
    )
    places = {name: place for place, name in enumerate(both.names)}
    x, cells = (values[:, [places[n] for n in part.names]] for part in (schema, given.schema))
    if split is not None:  # training left these out of its splits
        whole = ~np.isnan(cells).any(axis=1)
        x, cells = x[whole], cells[whole]
    return np.ascontiguousarray(x), given.context(cells)


def _labelled(
    model: Model, given: Given, source: Any, split: str | None, facts: Mapping[str, Any]
) -> tuple[Array, Array]:
    """Events and one-hot vectors of their labels."""
    fractions = facts.get("fractions") or (0.1, 0.1)
    dataset = open_data(
        source,
        size=facts.get("size"),
        levels=model.levels if len(model.shape) == 1 else None,
        split_seed=facts.get("split_seed") or 0,
        # Without a split, nothing is drawn: the events stay in the source's order.
        fractions=(0.0, 0.0) if split is None else (fractions[0], fractions[1]),
        crop=facts.get("crop") or "centre",
        max_unreadable=0 if split is None else facts.get("max_unreadable", 100),
    )
    if dataset.shape != model.shape or dataset.levels != model.levels:
        raise InputError(
            f"{model.name} cannot score {dataset.name}, whose events have shape {dataset.shape}."
        )
    if not dataset.labels:
        raise InputError(
            f"{model.name} is given labels, and {dataset.name} has none. They come from a folder a "
            f"class, or from a column named label."
        )
    parts = dataset.splits()
    names = [name for name in parts if name == (split or name) and name in dataset.labels]
    events = [parts[name] for name in names if len(parts[name])]
    if not events:
        raise InputError(f"the {split} split is empty; the source has too few events.")
    codes = np.concatenate([dataset.labels[name] for name in names])
    return np.concatenate(events), given.context(_as_learned(codes, dataset, given)[:, None])


def _as_learned(labels: Array, dataset: Dataset, given: Given) -> Array:
    """Labels as the codes of training, by name where the source has names; -1 is missing."""
    learned = given.schema[LABEL].categories or ()
    names = dataset.label_names
    if names is None:
        names = tuple(str(number) for number in range(int(labels.max(initial=0)) + 1))
    foreign = sorted({names[label] for label in np.unique(labels[labels >= 0])} - set(learned))
    if foreign:
        raise InputError(
            f"{dataset.name} has the class {foreign[0]!r}, which the model did not learn; it knows "
            f"{listed(list(learned), 12)}."
        )
    place = {name: float(code) for code, name in enumerate(learned)}
    codes = np.array([*(place.get(name, np.nan) for name in names), np.nan])
    return codes[np.where(labels < 0, len(names), labels)]
