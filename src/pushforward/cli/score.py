"""``score``, ``encode`` and ``eval``: what a model says of data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from .options import Data, Device, Json, Model, Part, SomeData, Split

if TYPE_CHECKING:
    from ..flow import Flow

__all__ = ["encode", "evaluate", "score"]

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
    may be positive. Rows with missing values keep their place, without a score.
    """
    from .output import say
    from .reading import open_model, read
    from .writers import check_suffix, table_writer

    if out is not None:
        check_suffix(out, [".parquet", ".csv"])
    flow = open_model(model, device, needs="log_prob")
    if bits and flow.levels is None:
        raise InputError(
            f"--bits is for models of integers; {model} is a density of real numbers, in nats."
        )
    names = ["row", "log_prob", "bits_per_dim"] if flow.levels is not None else ["row", "log_prob"]
    if bits:
        names.remove("log_prob")
    x = read(flow, data, split, missing="keep")
    lacking = _count_lacking(x, data)
    if out is None:
        _print_scores(flow, x, names)
    else:
        files = _files(data, split, len(x))
        if files is not None:
            names.insert(1, "file")
        with table_writer(out, names) as append:
            for columns in _scores(flow, x):
                if files is not None:
                    columns["file"] = files[columns["row"]]
                append([columns[name] for name in names])
        say(f"{len(x) - lacking:,} scores written to {out}")
    if lacking:
        say(f"{_lacking_rows(lacking)} no score")


def _count_lacking(x: Any, source: str) -> int:
    """How many rows have missing values.

    Raises:
        InputError: all of them.
    """
    lacking = sum(int((~_complete(part)).sum()) for part in _batches(x))
    if lacking == len(x):
        raise InputError(
            f"each of the {len(x):,} rows of {source} lacks a value; fill the missing values first."
        )
    return lacking


def _complete(x: Any) -> Any:
    """Which events have all their values, ``(N,)``."""
    import numpy as np

    if x.dtype.kind != "f":
        return np.ones(len(x), bool)
    return ~np.isnan(x.reshape(len(x), -1)).any(axis=1)


def _batches(x: Any) -> Iterator[Any]:
    """Parts of an array that may be larger than memory."""
    from ..data import release

    step = max(1, (1 << 24) // max(1, x[:1].nbytes))
    for start in range(0, len(x), step):
        yield x[start : start + step]
        release(x)


def _lacking_rows(count: int) -> str:
    from .output import counted

    return f"{counted(count, 'row')} with missing values {'has' if count == 1 else 'have'}"


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


def _scores(flow: Flow, x: Any) -> Iterator[dict[str, Any]]:
    """The columns of scores, batch by batch; masked where a row lacks values."""
    import numpy as np

    from ..data import release
    from ..scoring import batch_for, in_unit
    from ..scoring import score as log_prob

    size = batch_for(flow)
    for start in range(0, len(x), size):
        part = x[start : start + size]
        complete = _complete(part)
        nats = _spread(log_prob(flow, part[complete], batch_size=size), complete)
        release(x)
        yield {
            "row": np.arange(start, start + len(nats)),
            "log_prob": nats,
            "bits_per_dim": in_unit(flow, nats),
        }


def _spread(values: Any, complete: Any) -> Any:
    """Put the values of complete rows in their places, ``(N, ...)``, the others being masked."""
    import numpy as np

    placed = np.ma.masked_all((len(complete), *values.shape[1:]), values.dtype)
    placed[complete] = values
    return placed


def _print_scores(flow: Flow, x: Any, names: list[str]) -> None:
    import numpy as np

    from .output import number, say, table

    last, columns, parts = names[-1], dict[str, Any](), []
    for batch in _scores(flow, x):  # of at least SHOWN rows
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
    place, without a latent (NaN in .npy).
    """
    from .output import say
    from .reading import open_model, read
    from .writers import check_suffix, npy_writer, table_writer

    suffix = check_suffix(out, [".npy", ".parquet", ".csv"])
    flow = open_model(model, device, needs="encode")
    x = read(flow, data, split, missing="keep")
    lacking = _count_lacking(x, data)
    size = math.prod(flow.latent_shape)
    if suffix == ".npy":
        with npy_writer(out, (len(x), *flow.latent_shape)) as write:
            for z in _latents(flow, x):
                write(z.filled(float("nan")))
    else:
        files, row = _files(data, split, len(x)), 0
        names = [f"z{i}" for i in range(size)]
        with table_writer(out, names if files is None else ["file", *names]) as append:
            for z in _latents(flow, x):
                columns = list(z.reshape(len(z), -1).T)
                append(columns if files is None else [files[row : row + len(z)], *columns])
                row += len(z)
    say(f"{len(x) - lacking:,} latents of {size:,} numbers written to {out}")
    if lacking:
        say(f"{_lacking_rows(lacking)} no latent")


def _latents(flow: Flow, x: Any) -> Iterator[Any]:
    """The latents, batch by batch; masked where a row lacks values."""
    import torch

    from ..data import release
    from ..scoring import batch_for

    size = batch_for(flow)
    for start in range(0, len(x), size):
        part = x[start : start + size]
        complete = _complete(part)
        with torch.no_grad():
            z = flow.encode(part[complete])
        release(x)
        yield _spread(z.cpu().numpy(), complete)


def evaluate(
    model: Model,
    data: SomeData = None,
    split: Part = Split.test,
    samples: Annotated[
        int,
        typer.Option(help="Draws of noise per event; more give a tighter bound (integers)."),
    ] = 1,
    json_file: Json = None,
    device: Device = None,
) -> None:
    """Measure the loss of a model on data, with its unit and standard error.

    Models without a density have another measure: a classifier cross-entropy and error rate on the
    labels of the data, a GAN the distance between samples and data.

    Example: pushforward eval runs/digits

    Example: pushforward eval runs/table other.csv --split all

    With --samples K it also tells the loss by one draw, as papers report it.

    By default on the test part: the split is the one of training, as long as DATA is the source
    that the model learned from. Without DATA, the built-in set that it learned.
    """
    from ..jobs import measure
    from .output import paragraphs, write_json
    from .reading import default_source, open_model, read, read_labelled

    flow = open_model(model, device)
    source = data or default_source(flow)
    if source is None:
        raise InputError(
            f"{model} did not learn a built-in set, so say what to evaluate it on: "
            f"pushforward eval {model} DATA."
        )
    if flow.labels:
        result = measure(flow, *read_labelled(flow, source, split))
    else:
        result = measure(flow, read(flow, source, split), samples=samples)
    content = {"model": str(model), "data": source, "split": split.value, **result.to_dict()}
    if json_file is None or not write_json(json_file, content):
        part = "all" if split is Split.all else f"the {split.value} part"
        paragraphs(f"{model} on {part} of {source}\n{result}")
