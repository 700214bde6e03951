"""``models`` and ``data``: what there is to train, and what a source holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from .options import CACHE, CUTS, Cache, Columns, Crop, Kinds, MaxUnreadable, Size

if TYPE_CHECKING:
    from ..data import Dataset

__all__ = ["data", "models"]


def models(
    pattern: Annotated[
        str, typer.Argument(metavar="PATTERN", help="Such as 'realnvp-image*'.")
    ] = "*",
) -> None:
    """List the models that train takes by name.

    Example: pushforward models 'realnvp*'
    """
    from ..models import list_models
    from ..models.registry import PRESETS
    from .output import table

    names = list_models(pattern)
    if not names:
        raise InputError(f"no model matches {pattern!r}; pushforward models lists them all.")
    table(["model", "about"], [(name, PRESETS[name].about) for name in names], left=(0, 1))


def data(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A built-in name, a file, a folder, a quoted glob or hf:owner/name.",
            show_default=False,
        ),
    ],
    sheet: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png",
            help="Draw 64 training images, or columns of the rows against one another.",
            show_default=False,
        ),
    ] = None,
    size: Size = None,
    columns: Columns = None,
    crop: Crop = "centre",
    kinds: Kinds = None,
    max_unreadable: MaxUnreadable = 100,
    cache: Cache = "auto",
) -> None:
    """Show what a source holds: its kind, shape and splits, columns, their kinds, missing values.

    Example: pushforward data table.csv

    Example: pushforward data table.csv --kinds zip=category,year=number

    Example: pushforward data photos/ --size 64 --sheet photos.png

    Built-in: digits (1,797 real images), and the toy densities two-moons, circles, checkerboard,
    spirals and eight-gaussians.
    """
    from ..data import describe, open_data
    from .kinds import read_kinds
    from .output import say
    from .writers import check_suffix

    if sheet is not None:
        check_suffix(sheet, [".png"])
    for option, value, known in (("--crop", crop, CUTS), ("--cache", cache, tuple(CACHE))):
        if value not in known:
            raise InputError(f"{option} is one of {', '.join(known)}; got {value}.")
    names = None if columns is None else [name.strip() for name in columns.split(",")]
    dataset = open_data(
        source,
        columns=names,
        size=size,
        crop=crop,  # type: ignore[arg-type]  # one of CUTS
        max_unreadable=max_unreadable,
        cache=CACHE[cache],
        schema="auto",
        kinds=None if kinds is None else read_kinds(kinds),
        missing="keep",
    )
    _print(describe(dataset))
    if sheet is not None:
        _draw(dataset, sheet)
        say(f"drawn in {sheet}")


def _print(summary: dict[str, Any]) -> None:
    from .output import number, pairs, say, shape_text, table

    counts = summary["counts"]
    what = shape_text(summary["shape"])
    if counts["total"] == 1:
        what = what.replace("rows", "row", 1).replace("images", "image", 1)
    lines = {
        "name": summary["name"],
        "events": f"{counts['total']:,} {what}, {summary['dtype']}",
        "splits": ", ".join(f"{counts[s]:,} {s}" for s in ("train", "validation", "test")),
        "range": f"{number(summary['min'])} to {number(summary['max'])}",
    }
    if summary["levels"] is not None:
        lines["levels"] = f"{summary['levels']:,} (integers 0 to {summary['levels'] - 1:,})"
    if summary["labels"] is not None:
        lines["labels"] = f"{summary['labels']:,} different, never modelled"
    for index, note in enumerate(summary["notes"]):
        lines["notes" if not index else " " * index] = note
    pairs(lines)
    if "columns" not in summary:
        return
    say()
    kinds = ["kind"] if "kind" in summary["columns"][0] else []
    table(
        ["column", *kinds, "mean", "std", "min", "max", "missing"],
        [
            [
                column["name"],
                *(column["about"] for _ in kinds),
                *_moments(column),
                f"{column['missing']:,}",
            ]
            for column in summary["columns"]
        ],
        left=(0, 1) if kinds else (0,),
    )


def _moments(column: dict[str, Any]) -> list[str]:
    """Mean, deviation and ends; of categories and dates only what means something."""
    from .output import number

    if column.get("kind") == "date":
        days = [_day(column[key]) for key in ("mean", "min", "max")]
        return [days[0], f"{number(column['std'], 4)} days", *days[1:]]
    if column.get("kind") == "category":
        return ["", "", "", ""]
    return [number(column[key], 4) for key in ("mean", "std", "min", "max")]


def _day(days: float) -> str:
    import numpy as np

    return str(np.datetime64("1970-01-01") + np.timedelta64(round(days), "D"))


def _draw(dataset: Dataset, path: Path) -> None:
    """Images from all over the training part, with labels if these are few; pairs of columns."""
    import numpy as np

    from ..pictures import contact_sheet, scatter_rows, write_png

    if dataset.kind != "images":
        scatter_rows(
            path,
            dataset.train,
            columns=dataset.columns,
            label="training rows",
            most=8,
            pairs=True,
            schema=dataset.schema,
        )
        return
    count = len(dataset.train)
    index = np.linspace(0, count - 1, min(64, count)).astype(np.int64)
    write_png(path, contact_sheet(dataset.train[index], dataset.levels, _captions(dataset, index)))


def _captions(dataset: Dataset, index: Any) -> list[str] | None:
    """The labels of these images, by name where they have names; None if there are many or none."""
    import numpy as np

    labels = (dataset.labels or {}).get("train")
    if labels is None or len(np.unique(labels)) > 100:
        return None
    names = dataset.label_names
    if names is None:
        return [str(label) for label in labels[index]]
    return [names[label] if 0 <= label < len(names) else "" for label in labels[index].tolist()]
