"""The rows or images that an audit looks at, and their log-probabilities."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data import Dataset, open_data, read_for
from ...data.arrays import is_frame
from ...data.encoding import encode_cells
from ...data.found import counted
from ...data.schema import Schema, is_polars
from ...errors import InputError
from ...model import Model
from ...scoring import score
from ..tables.frames import frame_of
from ..tables.mixed_table import named
from .image_traits import LABEL, image_traits, labels_of, pixel_features

if TYPE_CHECKING:
    import pandas as pd

    from ...data.dataset import Source

__all__ = ["Events", "events_of", "learned_on_half", "scores_of"]

Array = np.ndarray[Any, np.dtype[Any]]

_FEWEST = 50
"""Rows below which no model is learned for the audit."""


@dataclass
class Events:
    """A table that describes events, and the images where they are such.

    Attributes:
        frame: all columns of a table; of images their traits, and ``label``.
        images: ``(N, C, H, W)``; None for rows.
        notes: a sentence each.
        lacking: rows that lack a cell which the model scores, or hold a category that it does not
            know, ``(N,)``; known after ``scores_of``.
        unknown: such categories, ``city = Paris``; known after ``scores_of``.
    """

    frame: pd.DataFrame
    images: Array | None = None
    notes: tuple[str, ...] = ()
    lacking: Array = field(default_factory=lambda: np.zeros(0, bool))
    unknown: tuple[str, ...] = ()

    @property
    def features(self) -> Array:
        """What a classifier sees of images beside their traits."""
        assert self.images is not None
        return pixel_features(self.images)


def events_of(source: Source, model: Model | None, what: str, *, seed: int, most: int) -> Events:
    """Read a source for a model, at most so many events.

    Raises:
        InputError: there is nothing in it, it does not fit the model, or images without a model.
    """
    if len(model.shape) == 3 if model is not None else _holds_images(source):
        events = _images(source, model)
    else:
        events = Events(named(frame_of(source)))
    count = len(events.frame)
    if not count:
        raise InputError(f"there are no rows in {what}; give at least one.")
    if count > most:
        chosen = np.sort(np.random.default_rng(seed).permutation(count)[:most])
        events.frame = events.frame.iloc[chosen].reset_index(drop=True)
        if events.images is not None:
            events.images = events.images[chosen]
        events.notes += (f"{most:,} of the {count:,} events of {what}, drawn at random.",)
    return events


def _holds_images(source: Source) -> bool:
    if isinstance(source, Dataset):
        return source.kind == "images"
    if is_frame(source) or is_polars(source):
        return False
    if hasattr(source, "ndim"):
        return source.ndim > 2
    text = str(source)
    if text.endswith((".csv", ".tsv", ".txt", ".csv.gz", ".parquet")):
        return False
    return open_data(source).kind == "images"


def _images(source: Source, model: Model | None) -> Events:
    if model is None:
        raise InputError(
            "an audit of images takes a model that learned such images; train one first: "
            "pushforward train FOLDER, then pushforward audit MODEL FOLDER."
        )
    facts = model.facts.get("data")
    known = facts if isinstance(facts, dict) else {}
    reading: dict[str, Any] = {"size": known.get("size"), "crop": known.get("crop") or "centre"}
    dataset = open_data(source, **reading)
    fits = dataset.shape == model.shape and dataset.levels == model.levels
    if fits:
        images, labels = dataset.everything, labels_of(dataset)
    else:  # arrays do not tell their levels, and grey files may be meant as colour
        images, labels = read_for(source, shape=model.shape, levels=model.levels, **reading), None
    frame = image_traits(images, model.levels or 256)
    if labels is not None:
        frame[LABEL] = labels
    return Events(frame, images, dataset.notes)


def scores_of(model: Model, events: Events) -> Array:
    """The log_prob of each event in nats ``(N,)``; NaN where a cell is missing.

    Models that take incomplete rows could score them, but the density of fewer numbers is another
    quantity, larger or smaller by the scale of the column that is missing: no mean holds both.

    Raises:
        InputError: the events do not fit the model.
    """
    if model.context:
        raise InputError(
            f"{model.name} is conditional: it scores what is given something else. Audit a model "
            f"of all columns."
        )
    if events.images is not None:
        events.lacking = np.zeros(len(events.images), bool)
        return score(model, events.images)
    x = _rows_for(model, events)
    events.lacking = np.asarray(np.isnan(x).any(axis=1))
    result = np.full(len(x), np.nan)
    if not events.lacking.all():
        result[~events.lacking] = score(model, x[~events.lacking])
    return result


def _rows_for(model: Model, events: Events) -> Array:
    schema, frame = Schema.of(model), events.frame
    if schema is not None:
        return _encoded(schema, events)
    facts = model.facts.get("data")
    columns = facts.get("columns") if isinstance(facts, dict) else None
    if columns is None and frame.shape[1] == model.dims:
        columns = list(frame.columns)
    return read_for(frame, shape=model.shape, columns=columns, missing="keep")


def _encoded(schema: Schema, events: Events) -> Array:
    """Numbers ``(N, D)``; categories that the model does not know are NaN, and are told."""
    schema.encode(events.frame.iloc[:0])  # complains of columns that are not there
    values = np.empty((len(events.frame), len(schema)))
    unknown = []
    for i, column in enumerate(schema.columns):
        cells = events.frame[column.name]
        values[:, i], odd = encode_cells(cells, column)
        if len(odd) and column.categories is None:
            raise schema.refusal(column, cells.iloc[odd[0]], f"row {odd[0]}")
        unknown += [f"{column.name} = {cell}" for cell in cells.iloc[odd].unique()[:5]]
    events.unknown = tuple(unknown)
    return np.where(np.isinf(values), np.nan, values)


def learned_on_half(events: Events, seed: int) -> tuple[Model, Array]:
    """A model of a random half of the rows, and the log_probs of the other half, ``(N,)``.

    Rows that it learned from have NaN: a density that has seen a row overrates it.

    Raises:
        InputError: there are fewer than 50 rows.
    """
    from ..learning import learn

    count = len(events.frame)
    if count < _FEWEST:
        raise InputError(
            f"{counted(count, 'row')}: too few to learn a density from; an audit without a model "
            f"takes at least {_FEWEST}."
        )
    order = np.random.default_rng(seed).permutation(count)
    half, rest = order[: count // 2], np.sort(order[count // 2 :])
    first = events.frame.iloc[np.sort(half)].reset_index(drop=True)
    model = learn(first, seed=seed, progress=False)
    log_prob = np.full(count, np.nan)
    unseen = Events(events.frame.iloc[rest].reset_index(drop=True))
    log_prob[rest] = scores_of(model, unseen)
    events.lacking = np.zeros(count, bool)
    events.lacking[rest], events.unknown = unseen.lacking, unseen.unknown
    return model, log_prob
