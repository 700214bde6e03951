"""``impute``: fill in the empty cells of a table, or the hidden part of images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from .options import Device, Split

if TYPE_CHECKING:
    from ..flow import Flow
    from ..jobs.imputation.impute import Imputation

__all__ = ["impute"]


def impute(
    model_or_data: Annotated[
        str,
        typer.Argument(
            metavar="[MODEL] DATA",
            help="Folder of a saved model, then any source; or a table alone.",
            show_default=False,
        ),
    ],
    data: Annotated[str | None, typer.Argument(metavar="", hidden=True)] = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Where to write: .csv or .parquet (tables), .npy; .png (images).",
        ),
    ] = Path("filled.csv"),
    draws: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            help="Write K draws from what may be missing instead of its mean: the table K times "
            "in one file, numbered by a last column draw.",
            show_default=False,
        ),
    ] = None,
    best: Annotated[
        bool, typer.Option("--best", help="Fill in the most probable values, not the mean.")
    ] = False,
    spread: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write how sure each filled cell is: mean, sd, 5 % and 95 % quantiles; .csv or "
            ".parquet.",
            show_default=False,
        ),
    ] = None,
    mask: Annotated[
        str | None,
        typer.Option(
            metavar="WHERE",
            help="Of images: left, right, top, bottom, centre, or a .png of their size, white "
            "where to fill in.",
            show_default=False,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            help="Steps of each Markov chain: 60 for tables, 200 for images if not given.",
            show_default=False,
        ),
    ] = None,
    max_time: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Of learning, without a model: 90s, 5m.", show_default=False
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Makes it repeatable.")] = 0,
    device: Device = None,
) -> None:
    """Fill in missing values by what a density says of them, given what is observed.

    Example: pushforward impute table.csv -o filled.csv

    Example: pushforward impute runs/table new.csv --draws 10 -o draws.csv --spread spread.csv

    Example: pushforward impute runs/digits digits --mask bottom --draws 5 -o filled.png

    With a table alone, a density is learned from its incomplete rows first. Empty cells get the
    conditional mean (integers rounded, categories the most probable); cells that are there, the
    order of rows and columns, and columns that the model does not know stay as they are.
    """
    from ..storage import is_model
    from .output import paragraphs, say

    for option, value in (("--draws", draws), ("--steps", steps)):
        if value is not None and value < 1:
            raise InputError(f"{option} takes a whole number from 1; got {value}.")
    if draws is not None and best:
        raise InputError("--draws and --best fill in different values; give one of them.")
    if data is None and not is_model(model_or_data):
        _check_out(out, [".csv", ".parquet", ".npy"], spread)
        from ..jobs.learning import learn
        from .filled_table import check_file

        if out.suffix.lower() != ".npy":
            check_file(model_or_data)
        limits: dict[str, Any] = {} if max_time is None else {"max_time": max_time}
        flow, source = learn(model_or_data, missing="observed", seed=seed, **limits), model_or_data
        say()
        for note in flow.facts["data"].get("notes", ()):
            paragraphs(note)
    else:
        from .reading import open_model

        flow = open_model(Path(model_or_data), device, conditional=True, needs="log_prob")
        source = data or _default_source(flow, model_or_data)
    if len(flow.shape) == 3:
        from .filled_images import fill_images

        fill_images(flow, source, mask, out, draws, best, steps or 200, seed)
        return
    if mask is not None:
        raise InputError("--mask is of images; the missing cells of a table are its empty ones.")
    _check_out(out, [".csv", ".parquet", ".npy"], spread)
    _fill_table(flow, source, out, draws, best, spread, steps or 60, seed)


def _default_source(flow: Flow, model: str) -> str:
    from .reading import default_source

    source = default_source(flow)
    if source is None:
        raise InputError(
            f"{model} did not learn a built-in set, so say what to fill in: "
            f"pushforward impute {model} DATA."
        )
    return source


def _check_out(out: Path, possible: list[str], spread: Path | None) -> None:
    from .writers import check_suffix

    check_suffix(out, possible)
    if spread is not None:
        check_suffix(spread, [".csv", ".parquet"])


def _fill_table(
    flow: Flow,
    source: str,
    out: Path,
    draws: int | None,
    best: bool,
    spread: Path | None,
    steps: int,
    seed: int,
) -> None:
    import numpy as np

    from ..data.schema import Schema
    from ..jobs.imputation.impute import impute as fill_in
    from .filled_table import FilledTable, cells_of_values
    from .output import counted, paragraphs, say
    from .reading import column_names, read_beside
    from .writers import npy_writer

    x, context = read_beside(flow, source, Split.all, missing="keep")
    if context is not None and np.isnan(context).any():
        raise InputError(f"a row of {source} lacks what the model is given; fill that in first.")
    gaps = np.isnan(x)
    names, schema = column_names(flow), Schema.of(flow)
    table = None if out.suffix.lower() == ".npy" else FilledTable(source, names, gaps)
    found = fill_in(flow, x, draws=draws or 1, steps=max(6, steps), seed=seed, context=context)
    if draws is not None:
        filled = list(found.draws)
    else:
        filled = [found.best if best else found.mean]
    if table is None:
        values = np.stack(filled) if draws is not None else filled[0]
        with npy_writer(out, values.shape) as write:
            write(values)
    else:
        cells = [cells_of_values(values, schema) for values in filled]
        table.write(out, cells, numbered=draws is not None)
    if spread is not None:
        _write_spread(spread, found, names)
    _print(found, names, schema)
    say()
    left = [] if table is None else table.left
    if gaps.any() or not left:
        for note in found.notes:
            paragraphs(note)
    if left:
        paragraphs(f"Empty cells of {', '.join(left)} stay empty: no column of the model.")
    empty = int(gaps.all(axis=1).sum())
    if empty:
        say(f"{counted(empty, 'row')} lacked everything and got what is usual")
    say(f"{counted(int(gaps.sum()), 'cell')} filled in; written to {out}")


def _print(found: Imputation, names: list[str], schema: Any) -> None:
    from .output import number, table

    rows = []
    for j, name in enumerate(names):
        gaps = found.missing[:, j]
        if not gaps.any():
            continue
        values, sure = found.mean[gaps, j], found.spread[gaps, j]
        mean, deviation = number(float(values.mean()), 4), number(float(sure.mean()), 4)
        if schema is not None and schema.columns[j].kind in ("category", "boolean"):
            words = schema.columns[j].categories or ("False", "True")
            mean, deviation = _commonest(values, words), ""
        elif schema is not None and schema.columns[j].kind == "date":
            mean = str(_day(float(values.mean())))
            deviation = f"{deviation} days"
        rows.append([name, f"{int(gaps.sum()):,}", mean, deviation])
    if rows:
        table(["column", "missing", "mean filled in", "sd of a cell"], rows)


def _commonest(codes: Any, categories: Any) -> str:
    import numpy as np

    known, counts = np.unique(codes, return_counts=True)
    word = str(categories[int(known[counts.argmax()])])
    return f"{word} ({counts.max() / counts.sum():.0%})"


def _day(days: float) -> Any:
    import numpy as np

    return np.datetime64("1970-01-01") + np.timedelta64(round(days), "D")


def _write_spread(path: Path, found: Imputation, names: list[str]) -> None:
    """One line for each filled cell."""
    import numpy as np

    from .writers import table_writer

    row, column = np.nonzero(found.missing)
    with table_writer(path, ["row", "column", "mean", "sd", "low", "high"]) as append:
        append(
            [
                row,
                np.array(names, dtype=object)[column],
                *(part[row, column] for part in (found.mean, found.spread, found.low, found.high)),
            ]
        )
