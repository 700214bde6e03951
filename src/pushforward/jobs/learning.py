"""From a source to a trained model in one call, with everything that its later use asks for."""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ..data import Dataset, open_data
from ..errors import InputError
from ..flow import Flow
from ..models.registry import PRESETS
from ..training import FitConfig, fit
from .prepared import build, takes, takes_tables

__all__ = ["learn", "open_to_learn"]

Missing = Literal["auto", "observed", "drop"]


def learn(
    source: Any,
    model: str = "realnvp",
    *,
    columns: Sequence[str] | None = None,
    kinds: Mapping[str, str] | None = None,
    given: Sequence[str] | None = None,
    missing: Missing = "auto",
    out: str | os.PathLike[str] | None = None,
    seed: int = 0,
    progress: bool = True,
    **settings: Any,
) -> Flow:
    """Read a source, find out what its columns hold, build a model that suits it, and train it.

    What ``pushforward train`` does, as one call. The model remembers its columns: its ``facts`` are
    what `Schema.of` reads, and what ``sample``, ``score`` and others read new data by.

    Args:
        source: as for ``open_data``: a file, a folder, a data frame, an array.
        model: the name of a model, see ``list_models``.
        columns: the columns of a table to learn, all if not given.
        kinds: column -> number, integer, category, boolean or date, where the file misleads.
        given: columns on which the others are conditioned; ``label`` for images.
        missing: of rows that lack values: learn what is ``observed`` of them, ``drop`` them, or
            ``auto``: observed, where the model can.
        out: a folder to save the model in.
        seed: of the first weights, the order and the noise.
        progress: show a line of progress.
        **settings: of the model (couplings, width, ...), of ``fit`` (max_time, lr, ...) and of
            reading (split_seed, fractions, size, levels, crop, max_unreadable, cache).

    Returns:
        the flow with its best weights.

    Raises:
        InputError: the source cannot be read, or a setting is unknown or does not fit it.

    Example:
        >>> flow = learn(frame, max_time=30)  # doctest: +SKIP
        >>> Schema.of(flow).decode(flow.sample(5))  # doctest: +SKIP
    """
    options, training, reading = _sorted(model, settings)
    reading |= {"columns": columns, "kinds": kinds, "given": given}
    dataset = open_to_learn(source, model, missing=missing, **reading)
    training["seed"] = seed
    if takes(model, "seed"):
        options["seed"] = seed
    prepared = build(model, dataset, options, training)
    prepared.remember(model, source, reading)
    fit(prepared.flow, prepared.dataset, progress=progress, **prepared.fit)
    if out is not None:
        prepared.flow.save(Path(out))
    return prepared.flow


def open_to_learn(
    source: Any,
    name: str,
    *,
    missing: Missing = "auto",
    kinds: Mapping[str, str] | None = None,
    given: Sequence[str] | None = None,
    **reading: Any,
) -> Dataset:
    """Open a source as the model ``name`` can take it.

    Of a table, all columns that the model can learn: for those other than realnvp, nsf, maf and gmm
    these are the numeric ones. Rows that lack values stay where the model can learn from them.

    Raises:
        InputError: the source cannot be read, or ``missing``, ``kinds`` or ``given`` asks for what
            the model cannot do.
    """
    if missing not in ("auto", "observed", "drop"):
        raise InputError(f"missing is one of auto, observed, drop; got {missing!r}.")
    mixed = takes_tables(name) and reading.get("levels") is None
    if kinds and not mixed:
        raise InputError(
            f"{name} takes columns as plain numbers, so kinds mean nothing to it; leave them out, "
            f"or use realnvp, nsf, maf or gmm."
        )
    if given is not None and not takes(name, "context"):
        raise InputError(
            f"{name} learns no conditional densities, so nothing can be given to it; use realnvp, "
            f"nsf or maf."
        )
    if missing == "observed" and not mixed:
        raise InputError(
            f"{name} cannot learn from rows that lack values; use missing='drop', or realnvp, nsf, "
            f"maf or gmm."
        )
    return open_data(
        source,
        schema="auto" if mixed else None,
        kinds=kinds,
        missing="keep" if mixed and missing != "drop" else "drop",
        given=given,
        **reading,
    )


_READING = ("split_seed", "fractions", "size", "levels", "crop", "max_unreadable", "cache")


def _sorted(
    name: str, settings: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Settings of the model, of training and of reading.

    Raises:
        InputError: one is of none of them.
    """
    training_names = [item.name for item in dataclasses.fields(FitConfig)]
    model: dict[str, Any] = {}
    training: dict[str, Any] = {}
    reading: dict[str, Any] = {}
    for key, value in settings.items():
        if key in _READING:
            reading[key] = value
        elif takes(name, key):
            model[key] = value
        elif key in training_names:
            training[key] = value
        else:
            config = PRESETS[name].config
            known = [*(f.name for f in dataclasses.fields(config)), *training_names, *_READING]
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"they are {', '.join(known)}."
            raise InputError(f"learn has no setting {key!r}; {hint}")
    return model, training, reading
