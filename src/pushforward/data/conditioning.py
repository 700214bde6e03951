"""From a data set to one whose events have a context beside them: given columns, or labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ..errors import InputError
from .dataset import Dataset
from .found import counted, listed
from .given import LABEL, Given
from .schema import Column, Schema

__all__ = ["condition"]


def condition(dataset: Dataset, names: Sequence[str]) -> Dataset:
    """The same events without the columns ``names``, which become their context.

    Rows in which a given cell is missing are left out, with a note. Images are given ``label``.

    Raises:
        InputError: no such column, nothing left to learn, or a data set without names or labels.
    """
    names = list(dict.fromkeys(names))
    if not names:
        raise InputError("given is empty; name a column, or label for images.")
    in_columns = dataset.columns is not None and set(names) <= set(dataset.columns)
    if dataset.kind == "images" or (names == [LABEL] and dataset.labels and not in_columns):
        return _by_label(dataset, names)
    schema = dataset.schema
    if schema is None or dataset.columns is None:
        raise InputError(
            f"{dataset.name} is read without its columns' kinds; open it with schema='auto' to "
            f"give some of them."
        )
    given_schema = schema.take(names)  # an unknown name is an error that lists those there are
    rest = [name for name in schema.names if name not in names]
    if not rest:
        raise InputError(f"all columns of {dataset.name} are given; leave one to be learned.")
    places = {name: i for i, name in enumerate(schema.names)}
    theirs, ours = [places[n] for n in names], [places[n] for n in rest]
    given = Given.of_rows(given_schema, dataset.train[:, theirs], schema.names)
    parts, contexts, kept, lost = {}, {}, {}, 0
    for split, values in dataset.splits().items():
        cells = values[:, theirs]
        whole = ~np.isnan(cells).any(axis=1)
        lost += int((~whole).sum())
        kept[split] = whole
        parts[split] = np.ascontiguousarray(values[whole][:, ours])
        contexts[split] = given.context(cells[whole])
    notes = list(dataset.notes)
    if lost:
        notes.append(f"{counted(lost, 'row')} left out: what is given is missing there.")
    if not len(parts["train"]):
        raise InputError(f"in every row of {dataset.name} something that is given is missing.")
    labels = dataset.labels
    return dataclasses.replace(
        dataset,
        train=parts["train"],
        validation=parts["validation"],
        test=parts["test"],
        shape=(len(rest),),
        columns=tuple(rest),
        schema=schema.take(rest),
        missing=None if dataset.missing is None else tuple(dataset.missing[i] for i in ours),
        labels=None if labels is None else {s: part[kept[s]] for s, part in labels.items()},
        notes=tuple(notes),
        given=given,
        context=contexts,
    )


def _by_label(dataset: Dataset, names: Sequence[str]) -> Dataset:
    """The classes of events as their context; events without a class are left out."""
    if list(names) != [LABEL]:
        raise InputError(
            f"{dataset.name} holds {dataset.kind}, which are given their {LABEL}; got "
            f"{listed(names)}."
        )
    if not dataset.labels:
        raise InputError(
            f"{dataset.name} has no labels to be given. They come from a folder a class, or from a "
            f"column named label."
        )
    labels = {split: np.asarray(part) for split, part in dataset.labels.items()}
    if any(part.dtype.kind not in "iub" for part in labels.values()):
        raise InputError(f"the labels of {dataset.name} are not integers, so they are no classes.")
    words = dataset.label_names
    if words is None:
        highest = max(int(part.max(initial=0)) for part in labels.values())
        words = tuple(str(number) for number in range(highest + 1))
    # One class alone is still a one-hot vector of one number.
    column = Column(name=LABEL, kind="category", dtype="str", step=1.0, categories=tuple(words))
    codes = labels["train"][:, None].astype(np.float64)
    given = Given.of_rows(Schema((column,)), codes, (*(dataset.columns or ()), LABEL))
    parts, contexts, kept, lost = {}, {}, {}, 0
    for split, values in dataset.splits().items():
        own = labels.get(split, np.full(len(values), -1))
        known = own >= 0
        lost += int((~known).sum())
        parts[split] = values if known.all() else values[known]
        kept[split] = own[known]
        contexts[split] = given.context(own[known][:, None])
    notes = dataset.notes
    if lost:
        notes = (*notes, f"{counted(lost, 'event')} without a class left out.")
    return dataclasses.replace(
        dataset,
        train=parts["train"],
        validation=parts["validation"],
        test=parts["test"],
        labels=kept,
        notes=notes,
        given=given,
        context=contexts,
    )
