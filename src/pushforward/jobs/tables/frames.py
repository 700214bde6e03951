"""Read any source of rows as a data frame, text and missing cells included."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data import Dataset, open_data
from ...data.arrays import is_frame
from ...data.delimited import csv_frame
from ...data.frames import INDEX
from ...data.schema import as_pandas, is_polars
from ...errors import InputError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["frame_of", "source_name"]

_TEXT = (".csv", ".tsv", ".txt")


def source_name(source: Any) -> str:
    """What messages call a source."""
    if isinstance(source, str | os.PathLike):
        return Path(source).name
    if isinstance(source, Dataset):
        return source.name
    return "the data"


def frame_of(source: Any) -> pd.DataFrame:
    """A table with all its columns, in the source's own order.

    CSV and Parquet files keep text; of other sources there are the columns of numbers, and labels
    as a column ``label``.

    Raises:
        InputError: the source is not there, cannot be read, or holds images.
    """
    import pandas as pd

    if is_frame(source) or is_polars(source):
        return as_pandas(source).reset_index(drop=True)
    if isinstance(source, np.ndarray) and source.ndim == 2:
        return pd.DataFrame(source, columns=pd.Index([f"x{i}" for i in range(source.shape[1])]))
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if path.is_file():
            if any(suffix.lower() in _TEXT for suffix in path.suffixes):
                frame = csv_frame(path)
                return frame.drop(columns=[name for name in frame.columns if name == INDEX])
            if path.suffix.lower() in (".parquet", ".pq"):
                return _parquet(path)
    return _opened(open_data(source))


def _parquet(path: Path) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    try:
        return pd.read_parquet(path).reset_index(drop=True)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read as Parquet: {error}") from None


def _opened(dataset: Dataset) -> pd.DataFrame:
    import pandas as pd

    if dataset.kind != "rows":
        raise InputError(f"{dataset.name} holds images; this takes a table.")
    names = dataset.columns or [f"x{i}" for i in range(dataset.shape[0])]
    frame = pd.DataFrame(dataset.everything, columns=pd.Index(list(names)))
    if dataset.labels:
        labels = np.concatenate([dataset.labels[name] for name in dataset.splits()])
        told = dataset.label_names
        frame["label"] = labels if told is None else [told[label] for label in labels]
    return frame
