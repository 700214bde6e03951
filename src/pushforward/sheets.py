"""Images in rows and columns with captions, and moving pictures of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InputError
from .files import writing
from .pictures import as_pixels, image_grid

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

__all__ = ["frames", "labelled_grid", "write_gif"]

Array = np.ndarray[Any, np.dtype[Any]]

_GAP = 4
_LINE = 18
"""Pixels between images, and of a line of captions."""


def labelled_grid(
    images: Any,
    levels: int | None,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    scale: int | None = None,
) -> Array:
    """Images ``(R, K, C, H, W)`` in R rows of K on a white sheet ``(H', W', 3)``.

    Args:
        images: at least one.
        levels: their integer levels; None for real values.
        rows: captions, one to the left of each row.
        columns: captions, one above each column; cut short where they are too long.
        scale: whole-number enlargement by nearest neighbours; chosen so that an image is about 64
            pixels if None.
    """
    from PIL import Image, ImageDraw, ImageFont

    images = np.asarray(images)
    count, across = images.shape[:2]
    if not count * across:
        raise InputError("there are no images to draw; ask for at least one.")
    pixels = as_pixels(images.reshape(-1, *images.shape[2:]), levels)
    _, height, width, channels = pixels.shape
    scale = scale or max(1, round(64 / max(height, width)))
    high, wide = height * scale, width * scale
    font = ImageFont.load_default(12)
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    left = _GAP
    if rows:
        left += round(max(measure.textlength(text, font=font) for text in rows)) + 2 * _GAP
    top = _GAP + (_LINE if columns else 0)
    size = (left + across * (wide + _GAP), top + count * (high + _GAP))
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for index, image in enumerate(pixels):
        large = Image.fromarray(image[..., 0] if channels == 1 else image)
        large = large.resize((wide, high), Image.Resampling.NEAREST)
        place = (left + index % across * (wide + _GAP), top + index // across * (high + _GAP))
        sheet.paste(large, place)
    for i, text in enumerate(rows or ()):
        middle = top + i * (high + _GAP) + high / 2
        draw.text((left - 2 * _GAP, middle), text, "#333", font=font, anchor="rm")
    for j, text in enumerate(columns or ()):
        middle = left + j * (wide + _GAP) + wide / 2
        draw.text((middle, _GAP), _fitting(text, wide, draw, font), "#333", font=font, anchor="ma")
    return np.asarray(sheet)


def _fitting(text: str, wide: int, draw: ImageDraw, font: FreeTypeFont | ImageFont) -> str:
    """The text, or as much of it as is not wider than its column."""
    while draw.textlength(text, font=font) > wide and len(text) > 2:
        text = text.removesuffix("…")[:-1] + "…"
    return text


def frames(images: Any, levels: int | None, columns: Sequence[str] | None = None) -> list[Array]:
    """One picture for each column of images ``(R, K, C, H, W)``, its R images side by side.

    The caption of the column is to the left; more than ten images are a square without one.
    Values that are stretched are stretched alike in all pictures.
    """
    images = np.asarray(images)
    if levels is None:  # one range for all, or the light would flicker
        low, high = images.min(), images.max()
        images, levels = (images - low) * (255 / max(high - low, 1e-12)), 256
    count, steps = images.shape[:2]
    if count > 10:
        return [image_grid(images[:, k], levels) for k in range(steps)]
    widest = max(columns or [""], key=len)  # the same margin for all
    captions = [[text.rjust(len(widest))] for text in columns] if columns else [None] * steps
    pictures = [labelled_grid(images[None, :, k], levels, captions[k]) for k in range(steps)]
    return _aligned(pictures)


def _aligned(pictures: list[Array]) -> list[Array]:
    """Pictures of one width, those that are narrower with a margin to the left."""
    wide = max(picture.shape[1] for picture in pictures)
    return [
        np.pad(p, ((0, 0), (wide - p.shape[1], 0), (0, 0)), constant_values=255) for p in pictures
    ]


def write_gif(
    path: str | os.PathLike[str],
    pictures: Sequence[Array],
    *,
    milliseconds: int = 120,
    back: bool = False,
) -> None:
    """Write 8-bit pictures ``(H, W, 3)`` as a GIF that goes round for ever, atomically.

    Args:
        path: where.
        pictures: of one size. Greys are kept; of colours each picture has its best 256.
        milliseconds: of each picture.
        back: after the last, go back to the first the same way; both ends are shown longer.
    """
    from PIL import Image

    if not len(pictures):
        raise InputError("a moving picture takes at least one picture.")
    order = list(pictures)
    shown = [milliseconds] * len(order)
    if back and len(order) > 1:
        shown[0] = shown[-1] = 5 * milliseconds
        order, shown = order + order[-2:0:-1], shown + shown[-2:0:-1]
    grey = all((p == p[..., :1]).all() for p in order)
    drawn = [
        Image.fromarray(p[..., 0])
        if grey
        else Image.fromarray(p).quantize(256, dither=Image.Dither.NONE)
        for p in (np.ascontiguousarray(picture) for picture in order)
    ]
    first, *rest = drawn
    with writing(path) as temporary:
        first.save(
            temporary, "GIF", save_all=True, append_images=rest, duration=shown, loop=0, disposal=2
        )
