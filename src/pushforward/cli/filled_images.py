"""Fill in the hidden part of images, and show it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from .options import Split

if TYPE_CHECKING:
    from ..flow import Flow

__all__ = ["fill_images", "hidden_part"]

Array = np.ndarray[Any, np.dtype[Any]]

SHOWN = 8
"""Images of a picture."""

_PARTS = ("left", "right", "top", "bottom", "centre")


def fill_images(
    flow: Flow,
    source: str,
    mask: str | None,
    out: Path,
    draws: int | None,
    best: bool,
    steps: int,
    seed: int,
) -> None:
    """Fill in what ``mask`` hides: a picture of the first images, or an array of all.

    Of each image the picture shows, side by side, what is left of it, and what was filled in.
    """
    from ..jobs.imputation.impute import impute
    from ..pictures import image_grid, write_png
    from .output import counted, paragraphs, say
    from .reading import read_beside
    from .writers import check_suffix, npy_writer

    picture = check_suffix(out, [".png", ".npy"]) == ".png"
    if mask is None:
        raise InputError(
            f"say which part of the images to fill in: --mask {', '.join(_PARTS)}, or a .png of "
            f"their size, white where to fill in."
        )
    missing = hidden_part(mask, flow.shape)
    x, context = read_beside(flow, source, Split.all)
    if picture:
        x = x[:SHOWN]
        context = None if context is None else context[:SHOWN]
    found = impute(
        flow, x, missing=missing, draws=draws or 1, steps=max(6, steps), seed=seed, context=context
    )
    filled = found.draws if draws is not None else (found.best if best else found.mean)[None]
    if picture:
        grey = (np.max(x) + np.min(x)) // 2 if flow.levels is not None else 0.0
        shown = np.stack([np.where(missing, grey, x), *filled], axis=1)  # (N, 1 + K, C, H, W)
        pixels = image_grid(shown.reshape(-1, *flow.shape), flow.levels, columns=shown.shape[1])
        write_png(out, pixels)
    else:
        values = filled if draws is not None else filled[0]
        with npy_writer(out, values.shape) as write:
            write(values)
    for note in found.notes:
        paragraphs(note)
    each = f"{int(missing.sum()):,} numbers each"
    say(f"{counted(len(x), 'image')} filled in, {each}; written to {out}")


def hidden_part(mask: str, shape: tuple[int, ...]) -> Array:
    """What a word or a picture hides of images ``(C, H, W)``: Boolean, True where hidden.

    Raises:
        InputError: neither one of the words nor a picture of that size, or nothing is hidden.
    """
    channels, height, width = shape
    hidden = np.zeros((height, width), dtype=bool)
    if mask in _PARTS:
        quarter = (slice(height // 4, height - height // 4), slice(width // 4, width - width // 4))
        hidden[
            {
                "left": (slice(None), slice(width // 2)),
                "right": (slice(None), slice(width // 2, None)),
                "top": (slice(height // 2), slice(None)),
                "bottom": (slice(height // 2, None), slice(None)),
                "centre": quarter,
            }[mask]
        ] = True
    else:
        hidden = _picture(mask, height, width)
    if not hidden.any():
        raise InputError(f"the mask {mask} hides nothing; it is white where to fill in.")
    return np.broadcast_to(hidden, (channels, height, width)).copy()


def _picture(mask: str, height: int, width: int) -> Array:
    from PIL import Image, UnidentifiedImageError

    if not Path(mask).is_file():
        raise InputError(f"--mask takes {', '.join(_PARTS)} or a picture; there is no file {mask}.")
    try:
        with Image.open(mask) as image:
            pixels = np.asarray(image.convert("L"))
    except (UnidentifiedImageError, OSError) as error:
        raise InputError(f"the mask {mask} cannot be read as a picture: {error}.") from None
    if pixels.shape != (height, width):
        raise InputError(
            f"the mask {mask} has {pixels.shape[0]}x{pixels.shape[1]} pixels, but the images "
            f"{height}x{width}; make it of their size."
        )
    return pixels > 127
