"""Pictures of events: grids of images, scatter plots of rows."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InputError
from .files import writing
from .ticks import mark, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .data.schema import Column, Schema

__all__ = [
    "as_pixels",
    "contact_sheet",
    "image_grid",
    "save_images",
    "scatter_rows",
    "write_png",
]

Array = np.ndarray[Any, np.dtype[Any]]


def as_pixels(images: Any, levels: int | None) -> Array:
    """Images ``(N, C, H, W)`` of integers 0 to levels-1 as 8-bit ``(N, H, W, 1 or 3)``.

    Real-valued images are stretched from their smallest to their largest value. Of two channels
    the first is shown, of more than three the first three.
    """
    images = np.asarray(images, dtype=np.float64)
    if levels is None:
        low, high = (images.min(), images.max()) if images.size else (0.0, 1.0)
        images = (images - low) / max(high - low, 1e-12)
    else:
        images = images / (levels - 1)
    channels = 3 if images.shape[1] >= 3 else 1
    pixels = np.round(images[:, :channels] * 255).clip(0, 255).astype(np.uint8)
    return pixels.transpose(0, 2, 3, 1)  # (N, C, H, W) -> (N, H, W, C)


def image_grid(
    images: Any, levels: int | None, columns: int | None = None, scale: int | None = None
) -> Array:
    """Lay images ``(N, C, H, W)`` out on a grid ``(H', W', 3)``, enlarged so that one can see them.

    Args:
        images: at least one.
        levels: their integer levels; None for real values.
        columns: images in a row; a square grid if None.
        scale: whole-number enlargement; chosen so that an image is about 64 pixels if None.
    """
    pixels = as_pixels(images, levels)
    n, height, width, _ = pixels.shape
    if n == 0:
        raise InputError("there are no images to draw; ask for at least one.")
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    scale = scale or max(1, round(64 / max(height, width)))
    gap = max(1, scale // 2)
    pixels = pixels.repeat(scale, axis=1).repeat(scale, axis=2)
    step_y, step_x = height * scale + gap, width * scale + gap
    grid = np.full((rows * step_y + gap, columns * step_x + gap, 3), 128, dtype=np.uint8)
    for index in range(n):
        y, x = gap + (index // columns) * step_y, gap + (index % columns) * step_x
        grid[y : y + height * scale, x : x + width * scale] = pixels[index]
    return grid


def write_png(path: str | os.PathLike[str], pixels: Array) -> None:
    """Write ``(H, W, 3)`` or ``(H, W, 1)`` 8-bit pixels as a PNG, atomically."""
    from PIL import Image

    if pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    with writing(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")


def save_images(folder: str | os.PathLike[str], images: Any, levels: int | None) -> int:
    """Write each image as ``folder/00000.png`` and so on; return how many."""
    pixels = as_pixels(images, levels)
    digits = max(5, len(str(len(pixels))))
    for index, image in enumerate(pixels):
        write_png(Path(folder) / f"{index:0{digits}d}.png", image)
    return len(pixels)


def contact_sheet(
    images: Any, levels: int | None, captions: Sequence[str] | None = None, columns: int = 8
) -> Array:
    """Images ``(N, C, H, W)`` on a white sheet ``(H', W', 3)``, each with its caption below."""
    if captions is None:
        return image_grid(images, levels, columns=min(columns, len(images)))
    from PIL import Image, ImageDraw, ImageFont

    pixels = as_pixels(images, levels)
    n, height, width, channels = pixels.shape
    scale = max(1, round(72 / max(height, width)))
    wide, high = max(width * scale, 72), height * scale
    gap, line = 8, 18
    across, down = min(columns, n), math.ceil(n / columns)
    size = (gap + across * (wide + gap), gap + down * (high + line + gap))
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for index, (image, caption) in enumerate(zip(pixels, captions, strict=True)):
        x = gap + (index % columns) * (wide + gap)
        y = gap + (index // columns) * (high + line + gap)
        large = Image.fromarray(image[..., 0] if channels == 1 else image)
        large = large.resize((width * scale, high), Image.Resampling.NEAREST)
        sheet.paste(large, (x + (wide - large.width) // 2, y))
        text = caption
        while draw.textlength(text, font=font) > wide and len(text) > 2:
            text = text.removesuffix("…")[:-1] + "…"
        draw.text((x + wide / 2, y + high + 2), text, "#333", font=font, anchor="ma")
    return np.asarray(sheet)


def scatter_rows(
    path: str | os.PathLike[str],
    rows: Any,
    data: Any = None,
    columns: Sequence[str] | None = None,
    *,
    label: str = "samples",
    most: int = 5,
    pairs: bool = False,
    schema: Schema | None = None,
) -> None:
    """Draw pairs of columns of ``rows``, over ``data`` where given, as a PNG.

    Of more than ``most`` columns the first ones are shown; one column is a histogram. Two columns
    are one scatter plot, unless ``pairs`` asks for their histograms too. Axes leave out the most
    extreme thousandths, which would flatten all the rest. With the ``schema`` of the columns,
    categories go by their names and dates by the calendar.
    """
    from matplotlib.figure import Figure

    layers = [(_some(rows), label, "C0")]
    if data is not None:
        layers.insert(0, (_some(data), "data", "0.6"))
    width = layers[0][0].shape[1]
    size = min(most, width)
    names = [plain(str(c)) for c in columns or range(1, width + 1)]
    held = None if schema is None or len(schema) != width else schema.columns
    side = 4.8 if size <= 2 else 1.1 + 1.5 * size
    figure = Figure(figsize=(side * 4 / 3 if size == 1 else side, side), layout="constrained")
    if size == 2 and not pairs:
        _scatter(figure.add_subplot(), layers, 0, 1, 3.0)
        figure.axes[0].set(xlabel=names[0], ylabel=names[1])
        figure.axes[0].legend(frameon=False, markerscale=4, loc="upper right")
        if held is not None:
            mark(figure.axes[0].xaxis, held[0])
            mark(figure.axes[0].yaxis, held[1])
    else:
        _pairs(figure, layers, names[:size], held)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        title = f"{size} of {width:,} columns" if size < width else None
        figure.legend(handles, labels, frameon=False, loc="upper right", title=title)
    with writing(path) as temporary, warnings.catch_warnings():
        # Names in scripts that the font lacks are drawn as boxes, which says enough.
        warnings.filterwarnings("ignore", r"Glyph .* missing from", UserWarning)
        figure.savefig(temporary, dpi=130)


def _some(rows: Any, most: int = 4000) -> Array:
    """At most so many rows, from all over: files are often sorted."""
    if len(rows) > most:
        rows = rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
    return np.asarray(rows, dtype=np.float64)


def _pairs(
    figure: Figure,
    layers: list[tuple[Array, str, str]],
    names: list[str],
    held: Sequence[Column] | None,
) -> None:
    """Histograms on the diagonal, scatter plots below it."""
    size = len(names)
    grid = figure.subplots(size, size, squeeze=False)
    limits = [_limits([values[:, i] for values, _, _ in layers]) for i in range(size)]
    for i, j in np.ndindex(size, size):
        axes: Axes = grid[i][j]  # type: ignore[assignment]
        if j > i:
            axes.set_visible(False)
            continue
        if i == j:
            for values, label, colour in layers:
                style: dict[str, Any] = {"color": colour, "alpha": 0.5, "label": label}
                axes.hist(values[:, i], bins=40, range=limits[i], density=True, **style)
            axes.spines[["top", "right"]].set_visible(False)
        else:
            _scatter(axes, layers, j, i, 1.5)
            axes.set_ylim(*limits[i])
        axes.set_xlim(*limits[j])
        first = j == 0 and i > 0
        axes.tick_params(
            labelsize=6, left=first, labelleft=first, bottom=True, labelbottom=i == size - 1
        )
        axes.locator_params(nbins=4)
        if held is not None and i == size - 1:
            mark(axes.xaxis, held[j])
        if held is not None and first:
            mark(axes.yaxis, held[i])
        if i == size - 1:
            axes.set_xlabel(names[j], fontsize=8)
        if first:
            axes.set_ylabel(names[i], fontsize=8)


def _limits(columns: Sequence[Array]) -> tuple[float, float]:
    """An interval of all but the most extreme values of these columns, never empty."""
    values = np.concatenate(columns)
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = (float(v) for v in np.quantile(values, [0.001, 0.999]))
    margin = 0.04 * (high - low) or max(1e-6, 0.5 * abs(high))
    return low - margin, high + margin


def _scatter(axes: Axes, layers: list[tuple[Array, str, str]], i: int, j: int, size: float) -> None:
    """Column j over column i of each layer; few points are drawn larger."""
    for values, label, colour in layers:
        marker = size * max(1.0, min(3.0, (1000 / max(1, len(values))) ** 0.5))
        style: dict[str, Any] = {"ms": marker, "mew": 0, "alpha": 0.5, "label": label}
        axes.plot(values[:, i], values[:, j], ".", color=colour, **style)
    axes.spines[["top", "right"]].set_visible(False)
