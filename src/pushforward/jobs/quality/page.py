"""The page on synthetic rows: the table, marginals, associations, nearest neighbours."""

from __future__ import annotations

import html
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...files import write_text
from ..figures import bars, figure_html, histograms, label
from ..page import grid, page, section
from ..tables.marginals import associations
from .quality import Quality

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["write_quality"]

Array = np.ndarray[Any, np.dtype[Any]]

_SHOWN = 12
"""Marginals on the page: the worst ones."""
_MATRIX = 40
"""Columns in a picture of associations, beyond which nobody sees anything."""


def write_quality(path: str | os.PathLike[str], quality: Quality, name: str, command: str) -> Path:
    """Write the page, which needs nothing beside it, and return its path.

    Args:
        path: of the page.
        quality: made by ``synthetic_quality`` in this process: it keeps the rows to draw.
        name: of the synthetic rows.
        command: what repeats it.

    Raises:
        InputError: it cannot be written.
    """
    title = f"How good are {name}?"
    warned = quality.warning
    lines = [f"<h1>{html.escape(title)}</h1>"]
    auc = quality.synthetic.auc
    lines.append(
        f'<p class="headline">{auc:.3f} <small>AUC against real rows; 0.5 is best</small></p>'
    )
    if warned:
        lines.append(f'<p class="best">{html.escape(warned)}</p>')
    said = "".join(f"<li>{html.escape(s)}</li>" for s in quality.sentences if s != warned)
    sections = [
        f"<header>{''.join(lines)}</header>",
        section(
            "Beside SMOTE and other real rows", grid(quality.header, quality.rows(), numbers=True)
        ),
        section("How to read it", f"<ul>{said}</ul>"),
        section("Marginals", _marginals(quality)),
        section("Associations", _associations(quality)),
        section("Nearest training row", _nearest(quality)),
        section("Repeat", f"<dl><dd><code>{html.escape(command)}</code></dd></dl>"),
    ]
    target = Path(path)
    write_text(target, page(title, sections, broad=True))
    return target


def _marginals(quality: Quality) -> str:
    from matplotlib.figure import Figure

    rows, table = quality.pictures, quality.pictures["table"]
    order = np.argsort([-distance for distance in quality.columns.values()])[:_SHOWN]
    across = min(3, len(order))
    down = math.ceil(len(order) / across)
    figure = Figure(figsize=(3.2 * across, 2.2 * down), layout="constrained")
    panels: list[Axes] = list(figure.subplots(down, across, squeeze=False).flat)
    for axes in panels[len(order) :]:
        axes.set_visible(False)
    for axes, i in zip(panels, order, strict=False):
        column = table.columns[i]
        both = {"real": rows["real"][:, i], "synthetic": rows["synthetic"][:, i]}
        if column.kind == "category":
            bars(axes, both, column.levels)
        else:
            histograms(axes, both)
        distance = quality.columns[column.name]
        axes.set_title(f"{label(column.name)}: {distance:.3f}", fontsize=9)
    panels[0].legend(frameon=False, fontsize=7)
    hidden = len(table.columns) - len(order)
    rest = f" {hidden:,} columns that are nearer are not shown." if hidden else ""
    caption = f"The columns that are furthest apart, with their distance.{rest}"
    return figure_html(figure, "Histograms of real and synthetic columns", caption)


def _associations(quality: Quality) -> str:
    from matplotlib.figure import Figure

    rows, table = quality.pictures, quality.pictures["table"]
    real, made = (associations(table, rows[name]) for name in ("real", "synthetic"))
    size = min(len(real), _MATRIX)
    if size < 2:
        return ""
    figure = Figure(figsize=(10.2, 3.9), layout="constrained")
    panels: list[Axes] = list(figure.subplots(1, 3))
    parts = (("real", real), ("synthetic", made), ("synthetic less real", made - real))
    for axes, (name, matrix) in zip(panels, parts, strict=True):
        image = axes.imshow(matrix[:size, :size], cmap="RdBu_r", vmin=-1, vmax=1)
        axes.set_title(name, fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
    if size <= 20:
        names = [label(name, 18) for name in table.names[:size]]
        panels[0].set_yticks(range(size), names, fontsize=6)
    figure.colorbar(image, ax=panels, shrink=0.7)
    more = f" The first {size} of {len(table.columns)} columns." if size < len(real) else ""
    caption = (
        "Correlation of two numbers, correlation ratio of a number and a category, Cramér's V of "
        f"two categories.{more}"
    )
    return figure_html(figure, "Associations of real and synthetic columns", caption)


def _nearest(quality: Quality) -> str:
    from matplotlib.figure import Figure

    near = quality.pictures["near"]
    figure = Figure(figsize=(7.2, 3.0), layout="constrained")
    axes: Axes = figure.add_subplot()
    named = {"unseen real rows": near["real"]} | {n: near[n] for n in ("synthetic", "SMOTE")}
    histograms(axes, named)
    axes.set(xlabel="distance to the nearest training row, standard deviations", ylabel="share")
    axes.legend(frameon=False, fontsize=8)
    caption = (
        "Rows learned by heart pile up at the left; rows that are new lie where unseen real rows "
        "do. SMOTE always lies near, as it draws between neighbours."
    )
    return figure_html(figure, "Distances to the nearest training row", caption)
