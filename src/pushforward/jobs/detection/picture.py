"""The most unusual images beside the places that make them so."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InputError
from ...files import writing

if TYPE_CHECKING:
    from .record import Anomalies

__all__ = ["write_picture"]

_ACROSS = 4


def write_picture(path: str | os.PathLike[str], found: Anomalies, most: int = 16) -> None:
    """Draw pairs of an image and its heat map, the most unusual first, as a PNG.

    A map is scaled by its own largest value: it shows where, the p-value above it how much.

    Raises:
        InputError: these are rows, nothing was explained, or no image is asked for.
    """
    if len(found.flow.shape) != 3 or found.attribution is None:
        raise InputError("a picture is of images that have heat maps; these are rows or have none.")
    if most < 1:
        raise InputError(f"a picture needs at least one image; got {most}.")
    from ...pictures import as_pixels

    shown = found.explained[:most]
    pixels = as_pixels(found.events[shown], found.levels)
    with writing(path) as temporary:
        _draw(temporary, found, shown, pixels)


def _draw(path: Any, found: Anomalies, shown: Any, pixels: Any) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    across = min(_ACROSS, len(shown))
    down = -(-len(shown) // across)
    figure = Figure(figsize=(2.9 * across, 1.75 * down), dpi=100)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        down, 3 * across, width_ratios=[1, 1, 0.15] * across, wspace=0.05, hspace=0.25
    )
    figure.subplots_adjust(left=0.01, right=1.0, top=1 - 0.35 / (1.75 * down), bottom=0.02)
    assert found.attribution is not None
    for k, event in enumerate(shown):
        y, x = divmod(k, across)
        left, right = figure.add_subplot(grid[y, 3 * x]), figure.add_subplot(grid[y, 3 * x + 1])
        image = pixels[k]
        grey = image.shape[-1] == 1
        left.imshow(image[..., 0] if grey else image, cmap="gray", vmin=0, vmax=255)
        heat = np.asarray(found.attribution[k])
        right.imshow(heat, cmap="inferno", vmin=0, vmax=max(float(heat.max()), 1e-12))
        if not heat.max() > 0:  # too plain, say: no patch of another image would do better
            middle = (heat.shape[1] - 1) / 2, (heat.shape[0] - 1) / 2
            right.text(*middle, "no place", color="white", fontsize=9, ha="center", va="center")
        left.set_title(f"{event}: p {found.p_values[event]:.3g}", fontsize=9, loc="left", pad=3)
        for axes in (left, right):
            axes.set_axis_off()
    figure.savefig(path, format="png")
