"""``sample``: draw from a model, into a picture, a folder of pictures, or a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError, NumericalError
from .options import Device, Model

if TYPE_CHECKING:
    from ..flow import Flow
    from .given import Asked

__all__ = ["sample"]


def sample(
    model: Model,
    n: Annotated[
        int | None,
        typer.Option(
            "-n",
            metavar="COUNT",
            help="How many; 64 images or 1,000 rows if not given.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            metavar="PATH",
            help="A .png picture, a folder/ of PNGs (images), .npy, .parquet, or .csv (rows).",
        ),
    ] = "samples.png",
    temperature: Annotated[
        float, typer.Option(help="Spread of the noise: 1 is the density itself, less is tamer.")
    ] = 1.0,
    seed: Annotated[
        int | None, typer.Option(help="Makes the draw repeatable.", show_default=False)
    ] = None,
    columns: Annotated[
        int | None,
        typer.Option(
            help="Images in a row of the picture; a square if not given.", show_default=False
        ),
    ] = None,
    given: Annotated[
        str | None,
        typer.Option(
            metavar="A=X,B=Y",
            help="What is given to a conditional model. Images of every class if not given.",
            show_default=False,
        ),
    ] = None,
    given_from: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="A table of what is given: COUNT samples for each of its rows (1 if not given).",
            show_default=False,
        ),
    ] = None,
    device: Device = None,
) -> None:
    """Draw samples from a model.

    Example: pushforward sample runs/digits -n 64 -o samples.png

    Example: pushforward sample runs/table -n 10000 -o synthetic.csv --seed 0

    Example: pushforward sample runs/table --given y=3,colour=red -n 100 -o red.csv

    Tables come with the column names, types, categories and dates of the source, each column within
    the range that it had there; .npy holds the numbers that stand for them.
    """
    from .given import asked_of
    from .reading import open_model

    for option, value, least in (("-n", n, 1), ("--columns", columns, 1), ("--seed", seed, 0)):
        if value is not None and not least <= value < 2**63:
            raise InputError(f"{option} takes a whole number from {least}; got {value}.")
    flow = open_model(model, device, conditional=True, needs="sample")
    kind = _kind_of(out, images=len(flow.shape) == 3)
    if columns is not None and kind != "grid":
        raise InputError(
            "--columns is of pictures of images: give -o NAME.png and a model of images."
        )
    if kind == "images":
        _check_png(flow)
    asked = asked_of(flow, given, given_from, n)
    count = n or (64 if len(flow.shape) == 3 else 1000)
    if asked is not None:
        count, columns = len(asked.values), columns or asked.across
    values = _draw(flow, count, temperature, seed, None if asked is None else asked.context)
    _write(flow, values, Path(out), kind, columns, asked)
    typer.echo(f"{count:,} sample{'' if count == 1 else 's'} written to {out}")


def _kind_of(out: str, *, images: bool) -> str:
    """What to write: ``grid``, ``scatter``, ``folder``, ``npy``, ``images`` or ``table``."""
    from .writers import check_suffix

    path = Path(out)
    if not out or path.is_dir() or out.endswith("/") or not path.suffix:
        if images and out:
            return "folder"
        raise InputError(
            f"{out or 'an empty name'} names a folder, which is for images; give a file that ends "
            f"in .png, .npy, .parquet or .csv."
        )
    possible = [".png", ".npy", ".parquet"] if images else [".png", ".npy", ".parquet", ".csv"]
    try:
        suffix = check_suffix(path, possible)
    except InputError as error:
        if images:
            raise InputError(f"{str(error)[:-1]}, or name a folder/.") from None
        raise
    if images:
        return {".png": "grid", ".npy": "npy"}.get(suffix, "images")
    return {".png": "scatter", ".npy": "npy"}.get(suffix, "table")


def _check_png(flow: Flow) -> None:
    """Refuse what PNG cannot hold as it is, before anything is drawn."""
    channels = flow.shape[0]
    if channels not in (1, 3):
        raise InputError(
            f"Parquet takes images of 1 or 3 channels, as PNG; those of this model have "
            f"{channels}. Give a name that ends in .npy."
        )
    if flow.levels is None or flow.levels > 256:
        values = "real numbers" if flow.levels is None else f"of {flow.levels:,} levels"
        raise InputError(
            f"Parquet takes images of 8 bits, as PNG; those of this model are {values}. Give a "
            "name that ends in .npy."
        )


def _draw(flow: Flow, count: int, temperature: float, seed: int | None, context: Any) -> Any:
    import numpy as np

    values = flow.sample(count, temperature=temperature, seed=seed, context=context).cpu().numpy()
    finite = np.isfinite(values.reshape(count, -1)).all(axis=1)
    if not finite.all():
        raise NumericalError(
            f"{count - int(finite.sum()):,} of {count:,} samples are not finite numbers; lower "
            f"--temperature, or train the model further."
        )
    return values


def _write(
    flow: Flow, values: Any, out: Path, kind: str, columns: int | None, asked: Asked | None
) -> None:
    from .reading import column_names

    if kind == "grid":
        from ..pictures import image_grid, write_png

        write_png(out, image_grid(values, flow.levels, columns))
    elif kind == "scatter":
        from ..data.schema import Schema
        from ..pictures import scatter_rows

        scatter_rows(out, values, columns=column_names(flow), schema=Schema.of(flow))
    elif kind == "folder":
        from ..pictures import save_images

        save_images(out, values, flow.levels)
    elif kind == "npy":
        from .writers import npy_writer

        with npy_writer(out, values.shape) as write:
            write(values)
    elif kind == "images":
        from .writers import write_images

        write_images(out, values)
    else:
        _write_table(flow, values, out, asked)


def _write_table(flow: Flow, values: Any, out: Path, asked: Asked | None) -> None:
    """Rows with the names, types and categories of the table that the model learned.

    What was given stands beside them, all columns in the order of that table.
    """
    import pandas as pd

    from ..data.schema import Schema
    from .reading import column_names
    from .writers import table_writer, write_frame

    schema = Schema.of(flow)
    if schema is not None:
        frame = schema.decode(values, clip=True)
        if asked is not None:
            frame = pd.concat([frame, asked.frame()], axis=1)[list(asked.given.order)]
        write_frame(out, frame)
        return
    with table_writer(out, column_names(flow)) as append:
        append(list(values.T))
