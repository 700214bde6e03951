"""Hugging Face: ``datasets.Dataset`` and ``DatasetDict``, and sets that the hub has by name."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import InputError
from .columns import ColumnKind, cells_of
from .encoded import Item
from .found import SPLITS, Request, listed, split_of
from .image_stream import ImageStream
from .parquet_images import LABELS
from .table_stream import Chunk, TableStream

__all__ = ["from_huggingface", "is_huggingface", "load_named"]

_BATCH = 256
_ROWS = 65536


def is_huggingface(source: Any) -> bool:
    """Say whether ``source`` is an object of ``datasets``, without importing that package."""
    datasets = sys.modules.get("datasets")
    kinds = ("Dataset", "DatasetDict", "IterableDataset", "IterableDatasetDict")
    found = tuple(kind for name in kinds if (kind := getattr(datasets, name, None)) is not None)
    return bool(found) and isinstance(source, found)


def load_named(text: str, request: Request) -> ImageStream | TableStream:
    """Download ``hf:owner/name`` or ``hf:owner/name/config`` from the hub, once, and read it.

    Raises:
        InputError: ``datasets`` is not installed, the name is unknown or the hub out of reach.
    """
    parts = text[len("hf:") :].split("/")
    if not all(parts) or len(parts) > 3:
        raise InputError(
            f"{text!r} is no name on the hub; write hf:owner/name or hf:owner/name/config."
        )
    name, config = "/".join(parts[:2]), parts[2:]
    try:
        import datasets
    except ImportError as error:
        raise InputError(
            f"{text} needs the package datasets: pip install 'pushforward[hf]'."
        ) from error
    try:
        loaded = datasets.load_dataset(name, *config)
    except Exception as error:  # requests, the hub and fsspec each raise their own
        said = " ".join(str(error).split())[:300].rstrip(". ")
        reason = said or type(error).__name__
        raise InputError(
            f"cannot load {text} from the Hugging Face hub: {reason}. Check the name and the "
            "network, or download its Parquet files and open their folder."
        ) from error
    groups, notes = _groups(loaded)
    # As loaded, the set is all that is in its files; whoever passes an object may have chosen rows.
    files = [file["filename"] for data in groups.values() for file in data.cache_files]
    return _stream(groups, name, request, notes, files)


def from_huggingface(source: Any, request: Request) -> ImageStream | TableStream:
    """Read a ``Dataset``, or the splits of a ``DatasetDict``.

    A set with an ``Image`` feature is images (the first such column, or the one in
    ``request.columns``); any other is rows of its numeric columns. A ``ClassLabel`` column gives
    the labels and their names.

    Raises:
        InputError: the set is streamed, has several splits but no train, or nothing in it is
            numeric or an image.
    """
    groups, notes = _groups(source)
    first = next(iter(groups.values()))
    name = str(getattr(first.info, "dataset_name", None) or "dataset")
    return _stream(groups, name, request, notes, [])


def _stream(
    groups: dict[str, Any], name: str, request: Request, notes: list[str], files: list[str]
) -> ImageStream | TableStream:
    first = next(iter(groups.values()))
    images = [column for column, kind in first.features.items() if _called(kind, "Image")]
    asked = request.columns if request.shape is None or len(request.shape) == 1 else None
    if asked is not None:
        images = [column for column in images if asked == (column,)]
    if not images:
        return _rows(groups, name, request, notes, files)
    label = _label(first.features)
    if len(images) > 1:
        notes.append(f"Images were read from {images[0]!r}, not from {listed(images[1:])}.")
    cells = _Cells(groups, images[0], label, notes, files)
    return ImageStream(name, cells, request, _label_names(first.features, label))


def _groups(source: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the data of each split, and a note on splits that are none of ours."""
    if "Iterable" in type(source).__name__:
        raise InputError(
            f"a {type(source).__name__} is a stream without a length; load it with streaming=False."
        )
    if not isinstance(source, dict):
        return {"train": source.with_format(None)}, []
    groups: dict[str, Any] = {}
    others: list[str] = []
    for word, part in source.items():
        split = split_of(str(word))
        if split is None or split in groups:
            others.append(repr(str(word)))
        else:
            groups[split] = part.with_format(None)
    if len(source) == 1:
        return {"train": next(iter(source.values())).with_format(None)}, []
    if "train" not in groups:
        raise InputError(
            f"the data set has the splits {listed(list(source))}, but no train; "
            "pass the one to read, such as data['test']."
        )
    if not others:
        return groups, []
    return groups, [f"Of the data set, {listed(others)} was not read; pass it by itself."]


def _called(feature: Any, name: str) -> bool:
    return type(feature).__name__ == name


def _label(features: dict[str, Any]) -> str | None:
    for column in (*LABELS, *features):
        if column in features and _called(features[column], "ClassLabel"):
            return str(column)
    return next((name for name in LABELS if name in features and _integer(features[name])), None)


def _label_names(features: dict[str, Any], label: str | None) -> tuple[str, ...] | None:
    if label is None or not _called(features[label], "ClassLabel"):
        return None
    return tuple(str(name) for name in features[label].names)


def _integer(feature: Any) -> bool:
    kind = str(getattr(feature, "dtype", ""))
    return _called(feature, "ClassLabel") or kind.startswith(("int", "uint"))


class _Cells:
    """The encoded images of one column."""

    def __init__(
        self,
        groups: dict[str, Any],
        column: str,
        label: str | None,
        notes: list[str],
        files: list[str],
    ) -> None:
        from datasets import Image

        names = [column, *([label] if label else [])]
        self.groups = {
            split: data.select_columns(names).cast_column(column, Image(decode=False))
            for split, data in groups.items()
        }
        self.column, self.label = column, label
        self.splits = tuple(split for split in SPLITS if split in groups)
        self.labelled = label is not None
        self.notes, self._files = notes, files

    def estimate(self) -> int:
        return sum(self.counts().values())

    def counts(self) -> dict[str, int]:
        return {split: len(self.groups[split]) for split in self.splits}

    def read(self, split: str, start: int) -> Iterator[Item]:
        data = self.groups[split]
        for first in range(start, len(data), _BATCH):
            batch = data[first : first + _BATCH]
            cells = batch[self.column]
            labels = batch[self.label] if self.label else [None] * len(cells)
            for i, (cell, label) in enumerate(zip(cells, labels, strict=True)):
                name = f"row {first + i} of the {split} split"
                yield Item(_encoded(cell), name, -1 if label is None else int(label))

    def files(self) -> list[str]:
        return self._files


def _encoded(cell: dict[str, Any] | None) -> bytes | Path | None:
    if cell is None:
        return None
    if cell["bytes"] is not None:
        return bytes(cell["bytes"])
    return Path(cell["path"]) if cell["path"] else None


def _rows(
    groups: dict[str, Any], name: str, request: Request, notes: list[str], files: list[str]
) -> TableStream:
    features = next(iter(groups.values())).features
    return TableStream(
        name,
        {
            split: [_Table(data, split, request.schema is not None)]
            for split, data in groups.items()
        },
        request,
        paths=[Path(file) for file in files],
        notes=notes,
        estimate=8 * len(features) * sum(map(len, groups.values())),
        names_of_labels=lambda label: _label_names(features, label),
    )


class _Table:
    """One split of a table."""

    def __init__(self, data: Any, split: str, mixed: bool) -> None:
        self.data, self.split, self.name = data, split, f"the {split} split"
        self.mixed = mixed

    def dtypes(self) -> dict[str, str]:
        """None: the cells of its frames tell."""
        return {}

    def as_text(self, columns: Collection[str]) -> None:
        """Nothing: the set has its types."""

    def kinds(self) -> dict[str, ColumnKind | None]:
        """The features tell."""
        return {str(column): _kind(feature) for column, feature in self.data.features.items()}

    def chunks(self, columns: Sequence[str] | None, start: int = 0) -> Iterator[Chunk]:
        if columns is None:
            columns = [c for c, kind in self.kinds().items() if kind != "other" or self._single(c)]
        data = self.data.select_columns(list(columns)).with_format("pandas")
        for first in range(start, len(data), _ROWS):
            frame = data[first : first + _ROWS]
            cells = {column: cells_of(frame[column]) for column in columns}
            if self.mixed:
                for column, held in cells.items():
                    held.series = frame[column]
            where = partial(_row, first, self.name)
            yield Chunk(cells, len(frame), len(frame), where)

    def _single(self, column: str) -> bool:
        """Whether a table of all kinds may take the column: its cells are single values."""
        dtype = str(getattr(self.data.features[column], "dtype", ""))
        return self.mixed and dtype.startswith(("string", "large_string", "date", "timestamp"))


def _row(first: int, name: str, row: int) -> str:
    return f"row {first + row} of {name}"


def _kind(feature: Any) -> ColumnKind:
    if _integer(feature):
        return "integer"
    number = _called(feature, "Value") and str(feature.dtype).startswith(("float", "bool"))
    return "number" if number else "other"
