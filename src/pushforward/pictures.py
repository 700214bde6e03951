"""Pictures of events: grids of images, scatter plots of rows."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError
from .files import writing

__all__ = ["as_pixels", "image_grid", "save_images", "scatter_rows", "write_png"]

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


def scatter_rows(
    path: str | os.PathLike[str],
    samples: Any,
    data: Any = None,
    columns: list[str] | None = None,
    most: int = 6,
) -> None:
    """Draw pairs of columns of samples, over the data where given, as a PNG.

    Of more than ``most`` columns the first ones are shown; one column is a histogram.
    """
    from matplotlib.figure import Figure

    samples = np.asarray(samples, dtype=np.float64)[:4000]
    reference = None if data is None else np.asarray(data, dtype=np.float64)[:4000]
    size = min(most, samples.shape[1])
    names = list(columns or [f"x{i + 1}" for i in range(samples.shape[1])])
    side = 4.8 if size <= 2 else 1.9 * size
    figure = Figure(figsize=(side, side), layout="constrained")
    if size == 2:
        axes = figure.add_subplot()
        for values, label, colour in _layers(reference, samples):
            axes.plot(values[:, 0], values[:, 1], ".", ms=2, color=colour, alpha=0.5, label=label)
        axes.set(xlabel=names[0], ylabel=names[1])
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, markerscale=5, loc="upper right")
    else:
        grid = figure.subplots(size, size, squeeze=False)
        for i in range(size):
            for j in range(size):
                axes = grid[i][j]
                for values, label, colour in _layers(reference, samples):
                    if i == j:
                        axes.hist(
                            values[:, i],
                            bins=40,
                            density=True,
                            color=colour,
                            alpha=0.5,
                            label=label,
                        )
                    else:
                        axes.plot(values[:, j], values[:, i], ",", color=colour, alpha=0.5)
                axes.tick_params(labelsize=6, left=False, labelleft=False)
                axes.spines[["top", "right"]].set_visible(False)
                if i == size - 1:
                    axes.set_xlabel(names[j], fontsize=8)
                else:
                    axes.tick_params(labelbottom=False)
                if j == 0:
                    axes.set_ylabel(names[i], fontsize=8)
        grid[0][0].legend(frameon=False, fontsize=7)
    with writing(path) as temporary:
        figure.savefig(temporary, dpi=130)


def _layers(reference: Array | None, samples: Array) -> list[tuple[Array, str, str]]:
    layers = [] if reference is None else [(reference, "data", "0.6")]
    return [*layers, (samples, "samples", "C0")]
