"""Write rows batch by batch, in one of several formats, whole or not at all."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..files import writing

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["check_suffix", "npy_writer", "table_writer", "write_frame", "write_images"]

Array = np.ndarray[Any, np.dtype[Any]]


def check_suffix(path: Path, possible: Sequence[str]) -> str:
    """Return the suffix of ``path`` if it is possible here.

    Raises:
        InputError: it is another one; lists those that are possible.
    """
    suffix = path.suffix.lower()
    if suffix in possible:
        return suffix
    *others, last = possible
    said = f"{', '.join(others)} or {last}" if others else last
    raise InputError(f"cannot tell the format of {path} by its name: it should end in {said}.")


@contextlib.contextmanager
def table_writer(path: Path, names: Sequence[str]) -> Iterator[Callable[[Sequence[Array]], None]]:
    """Give a function that appends columns of equal length to a new Parquet or CSV file.

    The types of the first batch are those of the file; what is masked is left empty. The file
    appears when all is written.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    with writing(path) as temporary, contextlib.ExitStack() as stack:
        sink: Any = None

        def write(columns: Sequence[Array]) -> None:
            nonlocal sink
            arrays = [pa.array(column) for column in columns]
            batch = pa.RecordBatch.from_arrays(arrays, list(names))
            if sink is None and path.suffix.lower() == ".csv":
                file = stack.enter_context(temporary.open("wb"))
                file.write(_csv_line(names))
                options = pa.csv.WriteOptions(include_header=False)
                sink = stack.enter_context(
                    pa.csv.CSVWriter(file, batch.schema, write_options=options)
                )
            elif sink is None:
                sink = stack.enter_context(pa.parquet.ParquetWriter(temporary, batch.schema))
            sink.write_batch(batch)

        yield write


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """Write a data frame as Parquet or CSV; what is missing is left empty."""
    with writing(path) as temporary:
        if path.suffix.lower() == ".csv":
            with temporary.open("w", encoding="utf-8", newline="") as file:
                frame.to_csv(file, index=False, lineterminator="\n")
        else:
            with temporary.open("wb") as binary:
                frame.to_parquet(binary, index=False)


def _csv_line(cells: Sequence[str]) -> bytes:
    """One line of CSV; pyarrow would put every name in quotes."""
    import io

    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode("utf-8")


def write_images(path: Path, images: Array) -> None:
    """Write images ``(N, 1 or 3, H, W)`` of integers 0 to 255 as Hugging Face does: a column
    ``image`` of structs of a PNG and its name. The values are stored as they are.
    """
    import io

    import pyarrow as pa
    import pyarrow.parquet
    from PIL import Image

    def png(pixels: Array) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(buffer, "PNG")
        return buffer.getvalue()

    pixels = images.astype(np.uint8).transpose(0, 2, 3, 1)  # (N, C, H, W) -> (N, H, W, C)
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    features = json.dumps({"info": {"features": {"image": {"_type": "Image"}}}})
    schema = pa.schema({"image": kind}, metadata={"huggingface": features})
    digits = max(5, len(str(len(pixels))))
    with writing(path) as temporary, pa.parquet.ParquetWriter(temporary, schema) as sink:
        for start in range(0, len(pixels), 1000):
            cells = [
                {"bytes": png(image), "path": f"{index:0{digits}d}.png"}
                for index, image in enumerate(pixels[start : start + 1000], start)
            ]
            sink.write_batch(pa.record_batch([pa.array(cells, kind)], schema=schema))


@contextlib.contextmanager
def npy_writer(path: Path, shape: Sequence[int]) -> Iterator[Callable[[Array], None]]:
    """Give a function that appends batches to a new ``.npy`` file of this shape.

    The type of the first batch is that of the file. Memory-mapping would kill the process on a
    full disk; plain writing makes it an error.
    """
    with writing(path) as temporary, temporary.open("wb") as file:
        dtype: np.dtype[Any] | None = None

        def write(values: Array) -> None:
            nonlocal dtype
            if dtype is None:
                dtype = values.dtype
                header = {
                    "descr": np.lib.format.dtype_to_descr(dtype),
                    "fortran_order": False,
                    "shape": tuple(shape),
                }
                np.lib.format.write_array_header_1_0(file, header)
            file.write(np.ascontiguousarray(values, dtype=dtype).tobytes())

        yield write
