"""Open a saved model, and read data for it the way it read its own."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pydantic

from ..checks import usable_device
from ..data import Dataset, open_data
from ..data.found import Missing
from ..errors import InputError
from ..flow import Flow
from ..jobs.given_data import read_with_context
from ..jobs.learned_data import learned_columns
from ..model import Model
from ..models import load
from .config import DataConfig
from .options import Split

__all__ = [
    "column_names",
    "data_facts",
    "default_source",
    "open_model",
    "read",
    "read_beside",
    "read_labelled",
    "reading_of",
]

Array = np.ndarray[Any, np.dtype[Any]]


def open_model(
    folder: Path,
    device: str | None = None,
    *,
    conditional: bool = False,
    needs: str | None = None,
) -> Flow:
    """Load a model that the command line can use.

    Raises:
        InputError: no model there, a device that is not here, a model that refuses what the verb
            ``needs`` (a density, say), or a conditional model, where the verb does not take those
            (``conditional`` says that it does).
    """
    flow = load(folder)
    if needs is not None and needs in flow.refuses:
        raise flow.refusal(needs)
    if flow.context and not conditional:
        raise InputError(
            f"{folder} is a conditional model, which this verb does not take; sample, score, "
            f"encode and eval do. From Python: pushforward.load({str(folder)!r}), then pass "
            f"context= of {flow.context} numbers per event."
        )
    return flow if device is None else flow.to(usable_device(device))


def data_facts(flow: Model) -> dict[str, Any]:
    """What the model remembers of its data; empty if it was trained from Python."""
    facts = flow.facts.get("data")
    return facts if isinstance(facts, dict) else {}


def column_names(flow: Flow) -> list[str]:
    """The names of the columns of a model of rows; x0, x1, ... if it knows none."""
    return learned_columns(flow)


def default_source(flow: Flow) -> str | None:
    """The built-in set that the model learned, if it did."""
    facts = data_facts(flow)
    return str(facts["name"]) if facts.get("built_in") and "name" in facts else None


def reading_of(flow: Model) -> DataConfig:
    """How training read its data.

    Raises:
        InputError: the facts of the model are not what ``train`` writes.
    """
    facts = dict(data_facts(flow))
    # Of what is given the facts know more than the names: data.given reads that.
    names = [item.name for item in dataclasses.fields(DataConfig) if item.name != "given"]
    given = {name: facts[name] for name in names if facts.get(name) is not None}
    try:
        return DataConfig(**given)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        path = ".".join(["facts.data", *(str(part) for part in first["loc"])])
        raise InputError(
            f"the model's config.json was altered: {path} = {first['input']!r} will not do; put "
            f"back what was there, or take the file from another copy of the model."
        ) from None


def read(flow: Flow, source: str, split: Split, missing: Missing = "raise") -> Array:
    """Read ``source`` for the model, in order: ``(N, *shape)``; see ``read_beside``."""
    return read_beside(flow, source, split, missing)[0]


def read_beside(
    flow: Flow, source: str, split: Split, missing: Missing = "raise"
) -> tuple[Array, Array | None]:
    """Events ``(N, *shape)`` and what the model is given beside them, ``(N, K)`` or None.

    A split is the one that training made of this source: the same seed, the same shares; rows with
    missing values are in it if the model learned from such. ``missing`` is what becomes of them in
    the whole source.

    Raises:
        InputError: the source cannot be read or does not fit the model.
    """
    known = dataclasses.asdict(reading_of(flow))
    part = None if split is Split.all else split.value
    try:
        return read_with_context(flow, source, split=part, missing=missing, reading=known)
    except InputError as error:
        if "split is empty" in str(error):
            raise InputError(f"{error} Take all of them with --split all.") from None
        raise


def read_labelled(model: Model, source: str, split: Split) -> tuple[Array, Array]:
    """Events ``(N, *shape)`` and labels ``(N,)`` for a classifier, as ``read`` reads events.

    Raises:
        InputError: the source cannot be read, does not fit the model, or has no labels.
    """
    dataset = open_data(source, **reading_of(model).arguments())
    if dataset.shape != model.shape:
        raise InputError(
            f"{model.name} cannot classify {dataset.name}, whose events have shape {dataset.shape}."
        )
    if dataset.levels != model.levels:
        has = "real numbers" if dataset.levels is None else f"integers of {dataset.levels:,} levels"
        wants = "real numbers" if model.levels is None else f"integers of {model.levels:,} levels"
        raise InputError(f"{model.name} classifies images of {wants}; {dataset.name} has {has}.")
    if not dataset.labels:
        raise InputError(
            f"{dataset.name} has no labels to compare with. They come from a folder a class, or "
            f"from a column named label."
        )
    names = [name for name in dataset.splits() if split is Split.all or name == split.value]
    events = np.concatenate([dataset.splits()[name] for name in names])
    if not len(events):
        raise InputError(
            f"the {split.value} split is empty; the source has too few events. Take all of them "
            f"with --split all."
        )
    labels = [dataset.labels[name] for name in names if name in dataset.labels]
    return events, _as_learned(model, dataset, np.concatenate(labels))


def _as_learned(model: Model, dataset: Dataset, labels: Array) -> Array:
    """Labels by the numbers that their names had in training.

    Raises:
        InputError: a class that the model did not learn.
    """
    learned, names = data_facts(model).get("label_names"), dataset.label_names
    if not isinstance(learned, list) or names is None or list(names) == learned:
        return labels
    foreign = [names[label] for label in np.unique(labels) if names[label] not in learned]
    if foreign:
        raise InputError(
            f"{dataset.name} has the class {foreign[0]!r}, which {model.name} did not learn; it "
            f"knows {', '.join(map(str, learned))}."
        )
    number = {name: index for index, name in enumerate(learned)}
    return np.array([number.get(name, -1) for name in names])[labels]
