"""``score`` and ``encode``: what a model says of each event."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from .options import Data, Device, Model, Part, Split

if TYPE_CHECKING:
    from ..flow import Flow

__all__ = ["encode", "score"]

SHOWN = 10
"""Rows that ``score`` prints when it writes no file."""


def score(
    model: Model,
    data: Data,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Where to write: .parquet or .csv. Without it the first rows are printed.",
            show_default=False,
        ),
    ] = None,
    bits: Annotated[
        bool, typer.Option("--bits", help="Only bits/dim, without log_prob (models of integers).")
    ] = False,
    split: Part = Split.all,
    device: Device = None,
) -> None:
    """Score every row or image by its log-probability, in the order of the source.

    Example: pushforward score runs/table new.csv -o scores.parquet

    Columns: row (from 0), log_prob (nats); for models of integers, such as images, also
    bits_per_dim; for a folder of images also file. A log_prob of real numbers is a log-density and
    may be positive; of a table, categories, integers and other discrete columns count as
    probabilities. Rows with missing values keep their place, without a score, unless the model
    learned from such rows: then it scores what is there.
    """
    from .lacking import count_lacking, lacking_rows
    from .output import say
    from .reading import open_model, read_beside
    from .writers import check_suffix, table_writer

    if out is not None:
        check_suffix(out, [".parquet", ".csv"])
    flow = open_model(model, device, conditional=True, needs="log_prob")
    if bits and flow.levels is None:
        raise InputError(
            f"--bits is for models of integers; {model} is a density of real numbers, in nats."
        )
    names = ["row", "log_prob", "bits_per_dim"] if flow.levels is not None else ["row", "log_prob"]
    if bits:
        names.remove("log_prob")
    x, given = read_beside(flow, data, split, missing="keep")
    lacking = count_lacking(x, given, data, some=flow.takes_missing)
    if out is None:
        _print_scores(flow, x, given, names)
    else:
        files = _files(data, split, len(x))
        if files is not None:
            names.insert(1, "file")
        with table_writer(out, names) as append:
            for columns in _scores(flow, x, given):
                if files is not None:
                    columns["file"] = files[columns["row"]]
                append([columns[name] for name in names])
        say(f"{len(x) - lacking:,} scores written to {out}")
    if lacking:
        say(f"{lacking_rows(lacking, given, some=flow.takes_missing)} no score")


def _files(source: str, split: Split, count: int) -> Any:
    """The names of the images of a folder, ``(N,)``; None where events are not files in order."""
    import numpy as np

    from ..data.paths import image_files

    names = image_files(source) if split is Split.all else None
    if names is None or len(names) != count:
        return None
    # A name may hold bytes that are not UTF-8, which no table takes.
    text = [name.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for name in names]
    return np.array(text, dtype=object)


def _scores(flow: Flow, x: Any, given: Any) -> Iterator[dict[str, Any]]:
    """The columns of scores, batch by batch; masked where a row lacks values."""
    import numpy as np

    from ..data import release
    from ..scoring import batch_for, in_unit
    from ..scoring import score as log_prob
    from .lacking import complete

    size = batch_for(flow)
    for start in range(0, len(x), size):
        part, beside = x[start : start + size], _part(given, start, size)
        known = complete(part, beside, some=flow.takes_missing)
        beside = None if beside is None else beside[known]
        nats = _spread(log_prob(flow, part[known], beside, batch_size=size), known)
        release(x)
        yield {
            "row": np.arange(start, start + len(nats)),
            "log_prob": nats,
            "bits_per_dim": in_unit(flow, nats),
        }


def _part(given: Any, start: int, size: int) -> Any:
    return None if given is None else given[start : start + size]


def _spread(values: Any, known: Any) -> Any:
    """Put the values of the known rows in their places, ``(N, ...)``, the others being masked."""
    import numpy as np

    placed = np.ma.masked_all((len(known), *values.shape[1:]), values.dtype)
    placed[known] = values
    return placed


def _print_scores(flow: Flow, x: Any, given: Any, names: list[str]) -> None:
    import numpy as np

    from .output import number, say, table

    last, columns, parts = names[-1], dict[str, Any](), []
    for batch in _scores(flow, x, given):  # of at least SHOWN rows
        columns = columns or {name: batch[name] for name in names}
        parts.append(batch[last].filled(np.nan))
    values = np.concatenate(parts)
    units = {"row": "", "log_prob": " (nats)", "bits_per_dim": ""}
    rows = [
        [
            f"{i:,}" if name == "row" else "-" if column[i] is np.ma.masked else number(column[i])
            for name, column in columns.items()
        ]
        for i in range(min(SHOWN, len(x)))
    ]
    table([f"{name}{units[name]}" for name in names], rows, left=())
    if len(x) > SHOWN:
        say(f"... and {len(x) - SHOWN:,} more; -o scores.parquet writes all of them")
    say()
    mean, low, high = np.nanmean(values), int(np.nanargmin(values)), int(np.nanargmax(values))
    say(
        f"{last}{units[last]}: mean {number(mean)}, smallest {number(values[low])} at "
        f"row {low:,}, largest {number(values[high])} at row {high:,}"
    )


def encode(
    model: Model,
    data: Data,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Where to write: .npy (events keep their shape), .parquet or .csv (z0, z1, ...).",
            show_default=False,
        ),
    ],
    split: Part = Split.all,
    device: Device = None,
) -> None:
    """Write the latent z of every row or image, in the order of the source.

    Example: pushforward encode runs/digits digits -o z.npy

    For a folder of images a table also has the column file. Rows with missing values keep their
    place, without a latent (NaN in .npy), even of a model that learned from such rows: what is
    unknown has no place in latent space. Fill them in first, with impute.
    """
    from .lacking import count_lacking, lacking_rows
    from .output import say
    from .reading import open_model, read_beside
    from .writers import check_suffix, npy_writer, table_writer

    suffix = check_suffix(out, [".npy", ".parquet", ".csv"])
    flow = open_model(model, device, conditional=True, needs="encode")
    x, given = read_beside(flow, data, split, missing="keep")
    lacking = count_lacking(x, given, data)
    size = math.prod(flow.latent_shape)
    if suffix == ".npy":
        with npy_writer(out, (len(x), *flow.latent_shape)) as write:
            for z in _latents(flow, x, given):
                write(z.filled(float("nan")))
    else:
        files, row = _files(data, split, len(x)), 0
        names = [f"z{i}" for i in range(size)]
        with table_writer(out, names if files is None else ["file", *names]) as append:
            for z in _latents(flow, x, given):
                columns = list(z.reshape(len(z), -1).T)
                append(columns if files is None else [files[row : row + len(z)], *columns])
                row += len(z)
    say(f"{len(x) - lacking:,} latents of {size:,} numbers written to {out}")
    if lacking:
        say(f"{lacking_rows(lacking, given)} no latent")


def _latents(flow: Flow, x: Any, given: Any) -> Iterator[Any]:
    """The latents, batch by batch; masked where a row lacks values."""
    import torch

    from ..data import release
    from ..scoring import batch_for
    from .lacking import complete

    size = batch_for(flow)
    for start in range(0, len(x), size):
        part, beside = x[start : start + size], _part(given, start, size)
        known = complete(part, beside)
        beside = None if beside is None else beside[known]
        with torch.no_grad():
            z = flow.encode(part[known], beside)
        release(x)
        yield _spread(z.cpu().numpy(), known)
