"""Parquet: one file or the parts of a set; numeric columns, or a column of encoded images."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from .columns import Cells, ColumnKind, cells_of
from .found import BrokenFile, Request, group_parts, listed, reading
from .label_names import label_names
from .stream import Stream
from .table_stream import Chunk, TableStream
from .tables import refuse_twins

__all__ = ["read_parquet"]

_BLOCK = 1 << 19  # cells that are read at a time: 4 MiB


def read_parquet(
    paths: list[Path], name: str, request: Request, notes: Sequence[str] = ()
) -> Stream:
    """Read Parquet files as one source.

    Of several files, those whose names begin with ``test``, or with ``validation``, ``valid``,
    ``val`` or ``dev``, are these splits, as Hugging Face writes them; all others are train.

    Raises:
        InputError: a file is broken, the files do not fit together, or nothing in them is numeric
            or an image.
    """
    groups = group_parts(paths)
    schema = _first_schema(groups)
    refuse_twins(schema.names, name)
    images = [field.name for field in schema if _is_image(field.type)]
    asked = request.columns if request.shape is None or len(request.shape) == 1 else None
    if asked is not None:
        chosen = [column for column in images if column in asked]
        images = chosen if len(asked) == 1 else []
    if images:
        from .parquet_images import parquet_images

        return parquet_images(groups, name, schema, images, request, notes)
    notes = [*notes, *_of_folders(paths)]
    mixed = request.schema is not None
    parts = {split: [_Parquet(path, mixed) for path in group] for split, group in groups.items()}
    return TableStream(
        name,
        parts,
        request,
        paths=paths,
        estimate=sum(part.estimate() for group in parts.values() for part in group),
        notes=notes,
        names_of_labels=lambda label: label_names(schema, label),
    )


def _of_folders(paths: Sequence[Path]) -> list[str]:
    """Note the columns that only the names of folders hold, as in ``year=2024/part.parquet``."""
    values: dict[str, set[str]] = {}
    for path in paths:
        for part in path.parts[:-1]:
            if match := re.fullmatch(r"(\w+)=(.*)", part):
                values.setdefault(match[1], set()).add(match[2])
    columns = [column for column, known in values.items() if len(known) > 1]
    said = f"Columns that only the names of folders hold were not read: {listed(columns)}."
    return [said] if columns else []


def _first_schema(groups: dict[str, list[Path]]) -> Any:
    """Return the schema of the first file that can be read."""
    paths = [path for group in groups.values() for path in group]
    for path in paths[:-1]:
        try:
            with _opened(path) as file:
                return file.schema_arrow
        except BrokenFile:
            continue
    with _opened(paths[-1]) as file:
        return file.schema_arrow


def _opened(path: Path) -> Any:
    import pyarrow.parquet as pq

    with reading(path, "Parquet"):
        if path.stat().st_size == 0:
            raise BrokenFile(f"{path} is an empty file.", "an empty file")
        # Otherwise Arrow holds all compressed bytes of the file until the end.
        return pq.ParquetFile(
            path, pre_buffer=False, buffer_size=1 << 20, page_checksum_verification=True
        )


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


class _Parquet:
    """One file of a table."""

    def __init__(self, path: Path, mixed: bool) -> None:
        self.path, self.name, self.mixed = path, path.name, mixed

    def dtypes(self) -> dict[str, str]:
        """The types of its columns, as pandas calls them."""
        with _opened(self.path) as file:
            return {field.name: _dtype(field.type) for field in file.schema_arrow}

    def as_text(self, columns: Collection[str]) -> None:
        """Nothing: the file has its types."""

    def estimate(self) -> int:
        """Return the bytes of its numbers; 0 for a broken file."""
        try:
            with _opened(self.path) as file:
                numeric = [kind for kind in self.kinds().values() if kind != "other"]
                return 8 * file.metadata.num_rows * len(numeric)
        except BrokenFile:
            return 0

    def kinds(self) -> dict[str, ColumnKind | None]:
        """The schema tells."""
        with _opened(self.path) as file:
            return {field.name: _kind(field) for field in file.schema_arrow}

    def chunks(self, columns: Sequence[str] | None, start: int = 0) -> Iterator[Chunk]:
        if columns is None:
            columns = [name for name, kind in self.kinds().items() if self._readable(name, kind)]
        with _opened(self.path) as file:
            rows = _rows_at_a_time(file.schema_arrow)
            batches = file.iter_batches(rows, columns=list(columns), use_threads=False)
            first = 0
            while True:
                with reading(self.path, "Parquet"):
                    batch = next(batches, None)
                    if batch is None:
                        return
                    read = len(batch)
                    cells = {name: _cells(batch.column(name), self.mixed) for name in columns}
                first += read
                if first > start:
                    where = partial(_row, first - read, self.name)
                    yield Chunk(cells, read, read, where)

    def _readable(self, name: str, kind: ColumnKind | None) -> bool:
        return kind in ("integer", "number") or (
            self.mixed and kind == "other" and bool(self._dtypes.get(name))
        )

    @cached_property
    def _dtypes(self) -> dict[str, str]:
        return self.dtypes()


def _row(first: int, name: str, row: int) -> str:
    return f"row {first + row} of {name}"


def _rows_at_a_time(schema: Any) -> int:
    """The same for every choice of columns, so that an interrupted reading meets its own pieces."""
    return max(1024, min(1 << 16, _BLOCK // max(len(schema), 1)))


def _dtype(kind: Any) -> str:
    """The type of pandas for a type of Arrow; empty for one that holds no single values."""
    import pyarrow as pa
    from pyarrow import types

    if types.is_dictionary(kind):
        return "category" if _dtype(kind.value_type) else ""
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "str"
    if types.is_date(kind):
        return "date"
    if types.is_timestamp(kind):
        return f"datetime64[{kind.unit}{f', {kind.tz}' if kind.tz else ''}]"
    if types.is_decimal(kind):
        return "float64"
    if types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind):
        return str(pa.DataType.to_pandas_dtype(kind)().dtype)
    return ""


def _cells(column: Any, mixed: bool) -> Cells:
    import pyarrow as pa

    if mixed:
        return _mixed_cells(column)

    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    elif pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    numbers: np.ndarray = column.to_numpy(zero_copy_only=False)  # nulls become NaN
    return Cells(numbers)


def _mixed_cells(column: Any) -> Cells:
    import pandas as pd
    import pyarrow as pa

    if pa.types.is_boolean(column.type) and column.null_count:
        series: Any = pd.Series(column.to_pylist(), dtype="boolean")
    elif pa.types.is_decimal(column.type):
        series = column.cast(pa.float64()).to_pandas()
    else:
        series = column.to_pandas()
    cells = cells_of(series)
    cells.series = series
    return cells
