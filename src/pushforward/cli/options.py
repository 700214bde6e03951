"""Arguments and options that several verbs share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError

__all__ = [
    "CACHE",
    "CUTS",
    "Cache",
    "Columns",
    "Crop",
    "Data",
    "Device",
    "Html",
    "Json",
    "Kinds",
    "MaxUnreadable",
    "Model",
    "Part",
    "Size",
    "SomeData",
    "Split",
    "check_html",
]

CACHE = {"auto": None, "always": True, "never": False}
"""The words of --cache, and what ``open_data`` takes for them."""
CUTS = ("centre", "random")


class Split(StrEnum):
    """A part of a data set."""

    test = "test"
    validation = "validation"
    train = "train"
    all = "all"


Model = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL", help="Folder of a run or of a saved model.", show_default=False
    ),
]

_SOURCES = (
    "a built-in name, a CSV, Parquet, npy, npz, idx or tar file, an image, a folder, a quoted "
    "glob, or hf:owner/name"
)

Data = Annotated[
    str, typer.Argument(metavar="DATA", help=f"Any source: {_SOURCES}.", show_default=False)
]

SomeData = Annotated[
    str | None,
    typer.Argument(
        metavar="DATA",
        help=f"Any source: {_SOURCES}. May be left out if the model learned a built-in set.",
        show_default=False,
    ),
]

Part = Annotated[
    Split,
    typer.Option(
        "--split", metavar="PART", help="Take test, validation, train or all of the data."
    ),
]

Device = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="cpu, cuda, cuda:1, ...; cpu if not given.", show_default=False
    ),
]

Json = Annotated[
    Path | None,
    typer.Option(
        "--json",
        metavar="FILE",
        help="Write the numbers to this file too; - prints them instead of the table.",
        show_default=False,
    ),
]

Html = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write a page with tables and pictures.", show_default=False),
]


def check_html(path: Path | None) -> None:
    """Refuse a page whose name says that it is something else.

    Raises:
        InputError: the name does not end in .html.
    """
    if path is not None and path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"--html takes a file that ends in .html; got {path}.")


Size = Annotated[
    int | None,
    typer.Option(help="Bring image files to SIZE x SIZE pixels.", show_default=False),
]

Columns = Annotated[
    str | None,
    typer.Option(
        metavar="A,B",
        help="Columns of a table; all that can be learned if not given.",
        show_default=False,
    ),
]

Kinds = Annotated[
    str | None,
    typer.Option(
        metavar="A=KIND,...",
        help="What columns hold, where the file misleads: number, integer, category, boolean or "
        "date.",
        show_default=False,
    ),
]

Crop = Annotated[
    str,
    typer.Option(
        metavar="WHERE", help="centre or random: the square that --size cuts from an image."
    ),
]

MaxUnreadable = Annotated[
    int, typer.Option(help="Damaged images or lines to leave out before giving up.")
]

Cache = Annotated[
    str,
    typer.Option(
        metavar="WHEN",
        help="auto, always or never: keep decoded data on the disk; auto keeps large sets.",
    ),
]
