"""Bring a `Stream` to arrays: in memory, or on disk where it does not fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import InputError
from .build import build
from .cache import entry_of, locked, touch
from .found import Found, Part, Request
from .mapped import load, mapped, release
from .schema import Schema
from .splitting import check_fractions
from .stream import Stream, all_notes, none_read

__all__ = ["CACHED_ABOVE", "gather", "release", "store"]

CACHED_ABOVE = 128 << 20
"""Bytes of values above which a source goes through the cache unless the caller decides."""


def gather(stream: Stream) -> Found:
    """Read all of a stream into memory.

    Raises:
        InputError: nothing, or too little, of it can be read.
    """
    parts = {split: _gathered(stream, split) for split in stream.splits}
    if not any(len(part.values) for part in parts.values()):
        raise none_read(stream)
    return Found(
        stream.name,
        parts,
        columns=stream.columns,
        levels=stream.levels,
        laid_out=True,
        label_names=stream.label_names,
        missing=stream.missing,
        notes=all_notes(stream),
        schema=getattr(stream, "schema", None),  # tables have one
    )


def _gathered(stream: Stream, split: str) -> Part:
    """Put the pieces of a split into one array that is as long as its items, if they are known."""
    items = 0 if stream.items is None else stream.items[split]
    values, count = np.empty((items, *stream.shape), stream.dtype), 0
    labels, keys = [np.empty(0, np.int64)], [np.empty(0, np.uint64)]
    for piece in stream.pieces(split):
        start, count = count, count + len(piece.values)
        if count > len(values):
            more = np.empty((max(start, count - start), *stream.shape), stream.dtype)
            values = np.concatenate([values[:start], more])
        values[start:count] = piece.values
        labels += [] if piece.labels is None else [piece.labels]
        keys += [] if piece.keys is None else [piece.keys]
    every = [np.concatenate(arrays) for arrays in (labels, keys)]
    return Part(
        values[:count],
        every[0] if stream.labelled and len(every[0]) == count else None,
        every[1] if len(every[1]) == count else None,
    )


def store(
    stream: Stream, request: Request, split_seed: int, fractions: tuple[float, float]
) -> Found:
    """Read a stream into the cache, unless it is there, and map its splits into memory.

    Returns:
        Parts that are divided and checked (``settled``), read-only `numpy.memmap`.

    Raises:
        InputError: as for `gather`; or the cache cannot be written or has no room.
    """
    check_fractions(split_seed, fractions)
    for alike in _alike(request):
        folder = entry_of(stream, alike, split_seed, fractions)
        meta = load(folder)
        if meta is not None and _serves(meta, request):
            touch(folder)
            return mapped(folder, meta)
    folder = entry_of(stream, request, split_seed, fractions)
    meta = load(folder)
    if meta is None:
        with locked(folder, stream.name):
            meta = load(folder)
            if meta is None:
                build(folder, stream, request, split_seed, fractions)
                if entry_of(stream, request, split_seed, fractions) != folder:
                    (folder / "meta.json").unlink()
                    raise InputError(f"{stream.name} changed while it was read; open it again.")
                meta = load(folder)
    if meta is None:
        raise InputError(f"{folder} in the cache was changed while it was read; try again.")
    touch(folder)
    return mapped(folder, meta)


def _alike(request: Request) -> list[Request]:
    """Return requests whose entry may serve, too: a trained model asks for what it was given."""
    if request.shape is None:
        return []
    free = replace(request, shape=None)
    if isinstance(request.schema, Schema):
        free = replace(free, schema="auto")
    columns = dict.fromkeys((request.columns, None))
    levels = dict.fromkeys((request.levels, None))
    return [replace(free, columns=c, levels=v) for c in columns for v in levels]


def _serves(meta: dict[str, Any], request: Request) -> bool:
    columns, levels, schema = request.columns, request.levels, request.schema
    return (
        tuple(meta["shape"]) == request.shape
        and (columns is None or tuple(meta["columns"] or ()) == columns)
        and (levels is None or meta["levels"] == levels)
        and meta.get("schema") == (schema.to_json() if isinstance(schema, Schema) else None)
    )
