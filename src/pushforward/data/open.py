"""Open a source, whatever it is."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from ..errors import InputError
from .arrays import from_memory, in_memory, is_frame
from .conditioning import condition
from .dataset import Dataset, Source
from .digits import digits
from .events import expect, settle
from .found import SPLITS, Crop, Found, Missing, Request, listed, stem
from .frames import from_frame
from .given import LABEL
from .huggingface import from_huggingface, is_huggingface, load_named
from .opened import from_dataset
from .paths import BUILT_IN, from_path
from .remarks import note_columns
from .request import request_of
from .schema import Schema
from .splitting import divide, join
from .store import CACHED_ABOVE, gather, store
from .stream import Stream
from .torch_sets import from_torch_set, is_torch_set
from .toy import TOYS, toy

__all__ = ["BUILT_IN", "open_data", "read_for"]


def open_data(
    source: Source,
    *,
    columns: Sequence[str] | None = None,
    split_seed: int = 0,
    fractions: tuple[float, float] = (0.1, 0.1),
    size: int | None = None,
    levels: int | None = None,
    crop: Crop = "centre",
    max_unreadable: int | None = 100,
    cache: bool | None = None,
    schema: Literal["auto"] | Schema | None = None,
    kinds: Mapping[str, str] | None = None,
    missing: Literal["drop", "keep"] = "drop",
    given: Sequence[str] | None = None,
) -> Dataset:
    """Open any source as a `Dataset` with train, validation and test.

    Args:
        source: a built-in name (``digits`` or a toy density, see ``BUILT_IN``; ``./digits`` is a
            file of that name), a path (CSV, Parquet, npy, npz, idx, tar, an image, or a folder of
            Parquet, tar, image, CSV, CIFAR or idx files), a glob of such files, ``hf:owner/name``,
            an array, a torch tensor or map-style data set, a pandas data frame, a data set of
            Hugging Face, or a Dataset. Arrays are rows ``(N,)`` or ``(N, D)``, grey images
            ``(N, H, W)`` or images ``(N, C, H, W)``; ``(N, H, W, C)`` is recognised.
        columns: for rows, the columns to take, in this order; for Parquet also the image column.
            If not given, every numeric column of a table that holds more than one value.
        split_seed: decides, with a hash of each event's content, which splits the events go to
            that the source does not bring (and the draws of a toy density). An event stays in its
            split when the source grows, and equal events are in one split, as long as the columns
            are the same: a column more is another content.
        fractions: the shares of validation and test among the events that are split; the counts
            vary around them. At least one event each from 10 on; below that they may be empty;
            train never is. Splits that the source brings are kept as they are, and idx folders take
            validation from the end of train, as long as test (the last 10,000 of MNIST).
        size: bring image files to ``size x size``: the shorter side is resized, the rest cut.
        levels: the number of integer levels, 256 for 8-bit images if not given. For rows it says
            that they are integers, 0 to levels - 1.
        crop: what ``size`` keeps of an image: its ``centre``, or a place drawn by the image's
            content, ``random``, but the same at every reading.
        max_unreadable: how many images, lines or files may be skipped, with a note, because they
            cannot be read; None for any number.
        cache: keep what was read in a folder of its own (``$PUSHFORWARD_CACHE``, or else
            ``~/.cache/pushforward``) and map it from there: memory does not limit the set, and the
            next opening takes no time until a file has changed. None: above 128 MiB. Arrays, npy,
            npz, idx, CIFAR's binary files and data sets of objects stay in memory.
        schema: for tables (CSV, Parquet, data frames): ``auto`` finds out what each column holds,
            so that categories, truth values and dates are read, too, as numbers that
            ``Dataset.schema`` turns back; a `Schema` reads by what is known; None takes the numeric
            columns as they are.
        kinds: column -> number, integer, category, boolean or date, where ``auto`` errs.
        missing: rows that lack a value are left out (``drop``), or stay with NaN in its place
            (``keep``), but for those without any value.
        given: columns that are not to be learned but given, or ``label`` for images: they become
            ``Dataset.context``. Tables are then read with a schema, ``auto`` if None.

    Raises:
        InputError: the source is not there, cannot be read, or does not hold finite numbers.
    """
    if given is not None:
        given = [given] if isinstance(given, str) else list(given)
        if columns is not None:
            columns = [*columns, *(name for name in given if name not in columns)]
        schema = "auto" if schema is None else schema
    same = isinstance(source, Dataset) and levels in (None, source.levels)
    if same and columns is None and size is None:
        return source if given is None else condition(source, given)
    if missing not in ("drop", "keep"):
        raise InputError(f"missing is one of drop, keep; got {missing!r}.")
    request = request_of(
        columns=columns,
        size=size,
        levels=levels,
        crop=crop,
        max_unreadable=max_unreadable,
        schema=schema,
        kinds=kinds,
    )
    # A Dataset was opened once: its missing values are wanted.
    request = replace(request, missing="keep" if isinstance(source, Dataset) else missing)
    dataset = _open(source, request, split_seed, fractions, cache)
    if given is None:
        return dataset
    absent = [name for name in given if name not in (dataset.columns or ())]
    if absent and dataset.schema is not None and not (given == [LABEL] and dataset.labels):
        # A column that is not modelled unless it is asked for: a label, a constant, a name.
        wanted = (*(dataset.columns or ()), *absent)
        dataset = _open(source, replace(request, columns=wanted), split_seed, fractions, cache)
    return condition(dataset, given)


def read_for(
    source: Source,
    *,
    shape: Sequence[int],
    levels: int | None = None,
    columns: Sequence[str] | None = None,
    split: str | None = None,
    size: int | None = None,
    missing: Missing = "raise",
    split_seed: int = 0,
    fractions: tuple[float, float] = (0.1, 0.1),
    crop: Crop = "centre",
    max_unreadable: int | None = 100,
    cache: bool | None = None,
    schema: Schema | None = None,
    incomplete: Literal["drop", "keep"] = "drop",
) -> np.ndarray:
    """Read a source for a model that has a shape: all of it, in the source's own order.

    Sources with splits come as train, validation, test. The shape settles what `open_data` has to
    guess: one event without a batch axis is taken for a batch of one, grey image files become RGB
    for a model of three channels.

    Args:
        source: as for `open_data`.
        shape: the event shape, ``(D,)`` or ``(C, H, W)``.
        levels: the number of integer levels that the model was trained on.
        columns: the model's columns, picked by name where the source has names; other columns
            do not matter. Sources without names go by position.
        split: only ``train``, ``validation`` or ``test`` of `open_data`; unreadable images are left
            out then, as they are there.
        size: as for `open_data`.
        missing: missing values of rows are an error (``raise``), stay NaN (``keep``), or their
            rows are left out (``drop``).
        split_seed, fractions, max_unreadable, cache: as for `open_data`, for ``split``. Without
            ``split`` everything must be readable, and comes into memory.
        crop: as for `open_data`.
        schema: what the model's columns hold, by which the cells of a table become numbers.
        incomplete: whether rows that lack a value are in a ``split``, as ``missing`` said of
            `open_data` when the model was trained.

    Returns:
        ``(N, *shape)``: uint8 or uint16 images, float32 or float64 rows. A plain array, writable,
        in native byte order; it may share memory with an array that was given. A split above
        128 MiB that lies in the cache is a read-only map of it.

    Raises:
        InputError: the source does not fit the shape, a column or a split is lacking, a value is
            missing, or anything that `open_data` raises.
    """
    request = request_of(
        columns=columns,
        size=size,
        levels=levels,
        shape=tuple(shape),
        crop=crop,
        max_unreadable=max_unreadable,
        schema=schema,
    )
    if split is not None:
        if split not in SPLITS:
            raise InputError(f"split is one of {listed(SPLITS)}; got {split!r}.")
        request = replace(request, missing=incomplete)
        values = _open(source, request, split_seed, fractions, cache).splits()[split]
        if not len(values):
            raise InputError(f"the {split} split is empty; the source has too few rows.")
        small = values.nbytes <= CACHED_ABOVE
        return np.require(values, requirements=["C", "W"]) if small else values
    if missing not in ("raise", "keep", "drop"):
        raise InputError(f"missing is one of raise, keep, drop; got {missing!r}.")
    request = replace(request, missing=missing, whole=True)
    found = _find(source, request, split_seed)
    found = found if isinstance(found, Found) else gather(found)
    settle(found, request)
    expect(found, request)
    return np.require(join(found).values, requirements=["C", "W"])


def _open(
    source: Source,
    request: Request,
    split_seed: int,
    fractions: tuple[float, float],
    cache: bool | None,
) -> Dataset:
    found = _find(source, request, split_seed)
    if not isinstance(found, Found):
        stream, large = found, cache is not False and bool(found.files())
        if large and (cache or stream.size > CACHED_ABOVE):
            found = store(stream, request, split_seed, fractions)
        else:
            found = gather(stream)
        if isinstance(source, str | os.PathLike) and Path(source).expanduser().is_file():
            found.title = stem(Path(source))
    if found.settled:
        parts = found.parts
    else:
        settle(found, request)
        expect(found, request)
        parts = divide(found, split_seed, fractions)
        if parts["train"].values.ndim == 2:
            note_columns(found, parts)
        for part in parts.values():
            part.values = np.require(part.values, requirements=["C", "W"])
    labels = {name: part.labels for name, part in parts.items() if part.labels is not None}
    shape = parts["train"].values.shape[1:]
    return Dataset(
        name=found.title or found.name,
        kind="rows" if len(shape) == 1 else "images",
        shape=shape,
        levels=found.levels,
        train=parts["train"].values,
        validation=parts["validation"].values,
        test=parts["test"].values,
        columns=found.columns,
        labels=labels or None,
        notes=tuple(found.notes),
        missing=found.missing,
        label_names=found.label_names if labels else None,
        schema=found.schema,
    )


def _find(source: Source, request: Request, seed: int) -> Found | Stream:
    """Let the reader of this kind of source read it."""
    if isinstance(source, Dataset):
        return from_dataset(source, request)
    if isinstance(source, str | os.PathLike):
        text = os.fspath(source)
        known = text.lower().replace("_", "-") if isinstance(source, str) else ""
        if known == "digits":
            return digits()
        if known in TOYS:
            return toy(known, seed)
        if known.startswith("hf:"):
            return load_named(str(text), request)
        return from_path(str(text), request)
    if is_frame(source):
        return from_frame(source, request)
    if is_huggingface(source):
        return from_huggingface(source, request)
    if is_torch_set(source):
        return from_torch_set(source, request)
    if in_memory(source):
        return from_memory(source)
    raise InputError(
        f"cannot read data from a {type(source).__name__}; give a path, a built-in name "
        f"({listed(BUILT_IN)}), an array, a tensor, a data frame or a data set."
    )
