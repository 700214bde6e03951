"""A set in the cache: raw files, one per split, that are mapped into memory and not read."""

from __future__ import annotations

import json
import mmap
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from .found import SPLITS, Found, Part
from .schema import Schema

__all__ = ["load", "mapped", "read_events", "release"]


def load(folder: Path) -> dict[str, Any] | None:
    """Return what a complete entry says of itself; None if it is not complete."""
    try:
        meta: dict[str, Any] = json.loads((folder / "meta.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    event = prod(meta["shape"]) * np.dtype(meta["dtype"]).itemsize
    sizes = {split: meta["events"][split] * event for split in SPLITS}
    # A file that was cut behind our back would be a crash of the process when it is read.
    whole = all(_size(folder / f"{split}.bin") == size for split, size in sizes.items())
    return meta if whole else None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def mapped(folder: Path, meta: dict[str, Any]) -> Found:
    """Map the splits of an entry into memory, read-only."""
    parts = {}
    for split in SPLITS:
        count = meta["events"][split]
        values = _map(folder / f"{split}.bin", np.dtype(meta["dtype"]), (count, *meta["shape"]))
        labels = None
        if meta["labelled"]:
            labels = _map(folder / f"{split}.labels", np.dtype(np.int64), (count,))
        parts[split] = Part(values, labels)
    return Found(
        meta["name"],
        parts,
        columns=_tuple(meta["columns"]),
        levels=meta["levels"],
        splitting="fixed",
        laid_out=True,
        label_names=_tuple(meta["label_names"]),
        missing=_tuple(meta["missing"]),
        notes=meta["notes"],
        settled=True,
        schema=Schema.from_json(meta["schema"]) if meta.get("schema") else None,
    )


def _map(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    if not shape[0]:  # nothing cannot be mapped
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, "r", shape=shape)


def _tuple(values: list[Any] | None) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)


def release(array: np.ndarray) -> None:
    """Let the system take back the memory of a mapped array, or of a view of one.

    What was read of it stays in the page cache as long as there is room, but no longer counts as
    this process's own. For every other array nothing happens.
    """
    base: Any = array
    while base is not None and not isinstance(base, mmap.mmap):
        base = getattr(base, "base", None) if not isinstance(base, memoryview) else base.obj
    if base is not None and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def read_events(array: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Return ``array[index]``, read by system calls where ``array`` is a mapped file.

    Through the map, the system would bring in up to megabytes around each event, and count them
    as this process's memory. Neighbours in ``index`` that are neighbours in the file take one call.
    """
    base: Any = array.base
    if not isinstance(array, np.memmap) or not isinstance(base, mmap.mmap):
        return array[index]  # in memory, or a view whose place in the file is not known
    if not array.flags.c_contiguous or not len(index):
        return array[index]
    values = np.empty((len(index), *array.shape[1:]), array.dtype)
    content = values.reshape(-1).view(np.uint8).data
    size = values.nbytes // len(index)
    runs = np.flatnonzero(np.diff(index) != 1) + 1
    try:
        with Path(str(array.filename)).open("rb", buffering=0) as file:
            for first, last in zip([0, *runs], [*runs, len(index)], strict=True):
                file.seek(array.offset + int(index[first]) * size)
                part = content[first * size : last * size]
                while part:
                    got = file.readinto(part)
                    if not got:
                        raise InputError(f"{array.filename} was cut short while it was read.")
                    part = part[got:]
    except FileNotFoundError:  # cleared by somebody else; the map is as it was
        values = np.asarray(array[index])
        release(array)
    return values
