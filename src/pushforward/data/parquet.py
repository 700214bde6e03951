"""Parquet: one file or the parts of a set; numeric columns, or a column of encoded images."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from .found import Found, Part, Request, listed, natural, reading, split_of
from .images import ImageStack, stack_splits
from .tables import ColumnKind, assemble, choose, tidy

__all__ = ["read_parquet"]

_LABELS = ("label", "labels", "fine_label")
_SPLIT_PREFIX = re.compile(r"(train|validation|valid|val|dev|test)(?![a-z])", re.IGNORECASE)


def read_parquet(paths: list[Path], name: str, request: Request) -> Found:
    """Read Parquet files as one source.

    Of several files, those whose names begin with ``test``, or with ``validation``, ``valid``,
    ``val`` or ``dev``, are these splits, as Hugging Face writes them; all others are train.

    Raises:
        InputError: a file is broken, the files do not fit together, or nothing in them is numeric
            or an image.
    """
    groups: dict[str, list[Path]] = {}
    for path in sorted(paths, key=natural):
        groups.setdefault(_split_of(path), []).append(path)
    if "train" not in groups:  # a single test file, say: then it is simply the data
        groups = {"train": [path for group in groups.values() for path in group]}
    schema = _open(next(iter(groups.values()))[0]).schema_arrow
    images = [field.name for field in schema if _is_image(field.type)]
    asked = request.columns if request.shape is None or len(request.shape) == 1 else None
    if asked is not None:
        chosen = [column for column in images if column in asked]
        if not chosen or len(asked) > 1:
            return _read_table(groups, name, schema, request)
        images = chosen
    if images:
        return _read_images(groups, name, schema, images, request)
    return _read_table(groups, name, schema, request)


def _split_of(path: Path) -> str:
    match = _SPLIT_PREFIX.match(path.name)
    return (split_of(match[1]) if match else None) or "train"


def _open(path: Path) -> Any:
    import pyarrow.parquet as pq

    if path.stat().st_size == 0:
        raise InputError(f"{path} is an empty file.")
    with reading(path, "Parquet"):
        return pq.ParquetFile(path)


def _kind(field: Any) -> ColumnKind:
    from pyarrow import types

    if re.fullmatch(r"__index_level_\d+__", field.name):
        return "index"
    if types.is_integer(field.type):
        return "integer"
    if any(is_(field.type) for is_ in (types.is_floating, types.is_boolean, types.is_decimal)):
        return "number"
    return "other"


def _is_image(kind: Any) -> bool:
    from pyarrow import types

    if types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _is_image(kind.field("bytes").type)
    return types.is_binary(kind) or types.is_large_binary(kind)


def _read_table(groups: dict[str, list[Path]], name: str, schema: Any, request: Request) -> Found:
    choice = choose({field.name: _kind(field) for field in schema}, request, name)
    wanted = [*choice.columns, *([choice.label] if choice.label else [])]
    parts = {}
    for split, paths in groups.items():
        tables = [_columns(path, wanted) for path in paths]
        joined = {column: np.concatenate([table[column] for table in tables]) for column in wanted}
        labels = joined[choice.label] if choice.label else None
        parts[split] = Part(assemble([joined[column] for column in choice.columns]), labels)
    found = Found(name, parts, columns=choice.columns, notes=list(choice.notes))
    found.label_names = _label_names(schema, choice.label)
    return tidy(found, request)


def _columns(path: Path, names: list[str]) -> dict[str, np.ndarray]:
    file = _open(path)
    absent = [name for name in names if name not in file.schema_arrow.names]
    if absent:
        raise InputError(f"{path} lacks the column {listed(absent)} that the other files have.")
    with reading(path, "Parquet"):
        table = file.read(columns=names)
        return {name: _numbers(table.column(name)) for name in names}


def _numbers(column: Any) -> np.ndarray:
    import pyarrow as pa

    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    elif pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    return column.to_numpy()  # nulls become NaN


def _read_images(
    groups: dict[str, list[Path]], name: str, schema: Any, images: list[str], request: Request
) -> Found:
    integer = {field.name for field in schema if _kind(field) == "integer"}
    label = next((column for column in _LABELS if column in integer), None)
    stacks = {}
    for split, paths in groups.items():
        stacks[split] = ImageStack(request, labelled=label is not None)
        for path in paths:
            _add_images(stacks[split], path, images[0], label)
    found = stack_splits(name, stacks, request)
    if len(images) > 1:
        found.notes.append(f"Images were read from {images[0]!r}, not from {listed(images[1:])}.")
    found.label_names = _label_names(schema, label)
    return found


def _add_images(stack: ImageStack, path: Path, column: str, label: str | None) -> None:
    file, row = _open(path), 0
    for batch in _batches(file, path, [column, *([label] if label else [])]):
        cells = batch.column(column).to_pylist()
        encoded = [cell["bytes"] if isinstance(cell, dict) else cell for cell in cells]
        labels = batch.column(label).to_numpy(zero_copy_only=False) if label else None
        names = [f"row {row + i} of {path.name}" for i in range(len(encoded))]
        stack.add(encoded, names, labels)
        row += len(encoded)


def _batches(file: Any, path: Path, columns: list[str]) -> Iterator[Any]:
    absent = [column for column in columns if column not in file.schema_arrow.names]
    if absent:
        raise InputError(f"{path} lacks the column {listed(absent)} that the other files have.")
    batches = file.iter_batches(batch_size=512, columns=columns)
    while True:
        with reading(path, "Parquet"):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


def _label_names(schema: Any, label: str | None) -> tuple[str, ...] | None:
    """Read what Hugging Face's ClassLabel feature says about the label column."""
    metadata = (schema.metadata or {}).get(b"huggingface")
    if label is None or metadata is None:
        return None
    try:
        names = json.loads(metadata)["info"]["features"][label]["names"]
    except (ValueError, KeyError, TypeError):
        return None
    return tuple(str(name) for name in names)
