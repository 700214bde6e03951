"""Write events that belong in rows and columns: as a picture, a moving one, a table, an array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError

if TYPE_CHECKING:
    from ..model import Model

__all__ = ["Axis", "list_of_numbers", "strip_path", "write_strips"]


@dataclass(frozen=True)
class Axis:
    """What the rows, or the columns, of events stand for.

    Attributes:
        name: the column of a table that tells it.
        values: one each.
        captions: as they stand in a picture; none are drawn if None.
    """

    name: str
    values: Sequence[Any]
    captions: Sequence[str] | None = None


def strip_path(model: Model, out: Path | None, usual: str, *, gif: bool = True) -> Path:
    """Where to write: ``out``, or the usual name with what suits the model.

    Raises:
        InputError: a format that the events of this model cannot be written in.
    """
    from .writers import check_suffix

    images = len(model.shape) == 3
    if out is None:
        return Path(f"{usual}.png" if images else f"{usual}.csv")
    pictures = [".png", ".gif", ".npy"] if gif else [".png", ".npy"]
    check_suffix(out, pictures if images else [".csv", ".parquet", ".npy"])
    return out


def write_strips(
    path: Path, model: Model, events: Any, rows: Axis, columns: Axis, *, back: bool = True
) -> None:
    """Write events ``(R, K, *shape)`` in the format that the name of the file tells.

    A GIF shows one column after the other, and goes ``back`` the same way or begins anew. Tables
    keep each column within the range that it had.
    """
    from ..data.schema import Schema
    from ..pictures import write_png
    from ..sheets import frames, labelled_grid, write_gif
    from .reading import column_names
    from .writers import npy_writer, table_writer, write_frame

    values = events.detach().cpu().numpy()
    suffix = path.suffix.lower()
    if suffix == ".npy":
        with npy_writer(path, values.shape) as write:
            write(values)
    elif suffix == ".gif":
        pictures = frames(values, model.levels, columns.captions)
        slow = 120 if values.shape[1] > 6 else 500
        write_gif(path, pictures, back=back, milliseconds=slow)
    elif suffix == ".png":
        write_png(path, labelled_grid(values, model.levels, rows.captions, columns.captions))
    else:
        count, across = values.shape[:2]
        flat = values.reshape(count * across, -1)
        first = np.repeat(np.asarray(rows.values), across)
        second = np.tile(np.asarray(columns.values), count)
        beside = {rows.name: first, columns.name: second}
        schema = Schema.of(model)
        if schema is not None and len(schema) == flat.shape[1]:
            frame = schema.decode(flat, clip=True)
            for place, (name, cells) in enumerate(beside.items()):
                frame.insert(place, name, cells, allow_duplicates=True)
            write_frame(path, frame)
            return
        names = [*beside, *column_names(model)]  # type: ignore[arg-type]
        with table_writer(path, names) as append:
            append([*beside.values(), *flat.T])


def list_of_numbers(text: str, option: str, kind: type[int] | type[float] = float) -> list[Any]:
    """The numbers of ``0,3,17``.

    Raises:
        InputError: something else stands there.
    """
    try:
        values = [kind(part) for part in text.split(",")]
        if not np.isfinite(values).all():
            raise ValueError
    except ValueError:
        example = "0,3,17" if kind is int else "0.5,0.7,1"
        what = "whole numbers" if kind is int else "numbers"
        raise InputError(
            f"{option} takes {what} with commas between, such as {example}; got {text!r}."
        ) from None
    return values
