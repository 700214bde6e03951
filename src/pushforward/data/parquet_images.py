"""Parquet files with a column of encoded images, as Hugging Face writes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from .encoded import Item
from .found import SPLITS, BrokenFile, Request, listed, reading
from .image_stream import ImageStream
from .label_names import label_names

__all__ = ["LABELS", "parquet_images"]

LABELS = ("label", "labels", "fine_label")
"""What an integer column of labels is called; ``fine_label`` is that of CIFAR-100."""

_BATCH = 256


def parquet_images(
    groups: dict[str, list[Path]],
    name: str,
    schema: Any,
    columns: list[str],
    request: Request,
    notes: Sequence[str] = (),
) -> ImageStream:
    """Read the first of ``columns`` of the files of each split as one source of images.

    A file or a block of rows that is damaged counts as one unreadable image, where there are
    others.

    Raises:
        InputError: the only file is broken, or a file lacks the columns of the others.
    """
    label = next(
        (name for name in LABELS if name in schema.names and _is_label(schema, name)), None
    )
    rows = _Rows(groups, columns, label, notes)
    return ImageStream(name, rows, request, label_names(schema, label))


def _is_label(schema: Any, name: str) -> bool:
    from pyarrow import types

    return types.is_integer(schema.field(name).type)


class _Rows:
    """The rows of Parquet files; a file that cannot be opened is one item."""

    def __init__(
        self,
        groups: dict[str, list[Path]],
        columns: list[str],
        label: str | None,
        notes: Sequence[str],
    ) -> None:
        self.groups, self.column, self.label = groups, columns[0], label
        self.splits = tuple(split for split in SPLITS if split in groups)
        self.labelled = label is not None
        self.notes = list(notes)
        if len(columns) > 1:
            self.notes.append(
                f"Images were read from {columns[0]!r}, not from {listed(columns[1:])}."
            )

    def files(self) -> list[str]:
        return [str(path) for split in self.splits for path in self.groups[split]]

    def estimate(self) -> int:
        return sum(self.counts().values())

    def counts(self) -> dict[str, int]:
        return {
            split: sum(len(self._footers[path]) for path in self.groups[split])
            for split in self.splits
        }

    @cached_property
    def _footers(self) -> dict[Path, _Footer]:
        paths = [path for split in self.splits for path in self.groups[split]]
        return {path: self._footer(path, alone=len(paths) == 1) for path in paths}

    def _footer(self, path: Path, *, alone: bool) -> _Footer:
        try:
            file = _open(path)
        except BrokenFile as error:
            if alone:
                raise
            return _Footer([1], error.why)
        with file:
            names = [self.column, *([self.label] if self.label else [])]
            absent = [name for name in names if name not in file.schema_arrow.names]
            if absent:
                raise InputError(
                    f"{path} lacks the column {listed(absent)} that the other files have."
                )
            meta = file.metadata
            return _Footer([meta.row_group(i).num_rows for i in range(meta.num_row_groups)])

    def read(self, split: str, start: int) -> Iterator[Item]:
        for path in self.groups[split]:
            footer = self._footers[path]
            if start < len(footer):
                if footer.fault:
                    yield Item(None, path.name, fault=footer.fault)
                else:
                    yield from self._blocks(path, footer.blocks, start)
            start = max(0, start - len(footer))

    def _blocks(self, path: Path, blocks: list[int], start: int) -> Iterator[Item]:
        first = 0
        with _open(path) as file:
            for i, rows in enumerate(blocks):
                if start < first + rows:
                    yield from self._block(file, path, i, range(first, first + rows), start)
                first += rows

    def _block(self, file: Any, path: Path, block: int, rows: range, start: int) -> Iterator[Item]:
        """Read a row group of rows ``rows``, those from ``start`` on."""
        names = [self.column, *([self.label] if self.label else [])]
        batches = file.iter_batches(batch_size=_BATCH, row_groups=[block], columns=names)
        row = rows.start
        while row < rows.stop:
            try:
                with reading(path, "Parquet"):
                    batch = next(batches)
                    cells, labels = self._cells(batch)
            except BrokenFile as error:
                row = max(row, start)
                which = f"rows {row} to {rows.stop - 1} of {path.name}"
                yield Item(None, which, fault=error.why, read=rows.stop - row)
                return
            for cell, label in zip(cells, labels, strict=True):
                if row >= start:
                    content = cell["bytes"] if isinstance(cell, dict) else cell
                    yield Item(content, f"row {row} of {path.name}", int(label))
                row += 1

    def _cells(self, batch: Any) -> tuple[list[Any], np.ndarray]:
        cells = batch.column(self.column).to_pylist()
        if self.label is None:
            return cells, np.full(len(cells), -1)
        return cells, batch.column(self.label).fill_null(-1).to_numpy(zero_copy_only=False)


@dataclass(frozen=True)
class _Footer:
    """The rows of each block of a file, or why it cannot be opened."""

    blocks: list[int]
    fault: str | None = None

    def __len__(self) -> int:
        return sum(self.blocks)


def _open(path: Path) -> Any:
    import pyarrow.parquet as pq

    with reading(path, "Parquet"):
        if path.stat().st_size == 0:
            raise BrokenFile(f"{path} is an empty file.", "an empty file")
        return pq.ParquetFile(path, page_checksum_verification=True)
