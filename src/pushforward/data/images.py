"""Decode image files to one array: one size, one number of channels, 8 bits."""

from __future__ import annotations

import io
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from .found import Found, Part, Request, counted, listed

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["ImageStack", "stack_splits"]

_BATCH = 256
_DEEP = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")


@dataclass(frozen=True)
class _Decoded:
    pixels: np.ndarray  # (H, W) grey or (H, W, 3), uint8
    alpha: bool
    moving: bool


class ImageStack:
    """Collects decoded images, batch by batch, and stacks them at the end.

    Raises:
        InputError: from `add`, when sizes differ and ``request.size`` is not given, when an image
            has more than 8 bits, or when one is unreadable and ``request.whole`` is set.
    """

    def __init__(self, request: Request, *, labelled: bool = False) -> None:
        self.request = request
        self.pixels: list[np.ndarray] = []
        self.labels: list[object] | None = [] if labelled else None
        self.sizes: Counter[tuple[int, int]] = Counter()
        self.unreadable: list[str] = []
        self.alpha = self.moving = self.colour = 0

    def add(
        self,
        encoded: Sequence[bytes | Path | None],
        names: Sequence[str],
        labels: Sequence[object] | np.ndarray | None = None,
    ) -> None:
        """Decode images, on all cores, in their order; ``names`` are what messages call them."""
        with warnings.catch_warnings(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            warnings.simplefilter("ignore")  # Pillow on odd metadata; the pixels are what counts
            for start in range(0, len(encoded), _BATCH):
                span = slice(start, start + _BATCH)
                sizes = [self.request.size] * len(encoded[span])
                decoded = list(pool.map(_try_decode, encoded[span], names[span], sizes))
                self._collect(decoded, names[span], None if labels is None else labels[span])

    def _collect(
        self,
        decoded: Sequence[_Decoded | str],
        names: Sequence[str],
        labels: Sequence[object] | np.ndarray | None,
    ) -> None:
        for i, image in enumerate(decoded):
            if isinstance(image, str):
                self.unreadable.append(f"{names[i]} ({image})")
                continue
            self.pixels.append(image.pixels)
            self.sizes[image.pixels.shape[0], image.pixels.shape[1]] += 1
            self.alpha += image.alpha
            self.moving += image.moving
            self.colour += image.pixels.ndim == 3
            if self.labels is not None and labels is not None:
                self.labels.append(labels[i])
        if self.unreadable and self.request.whole:
            raise InputError(
                f"unreadable images: {listed(self.unreadable)}. Remove or repair them, so that "
                "every result belongs to an image."
            )
        _check_one_size(self.sizes)

    def stack(self, channels: int) -> Part:
        """Return the images as uint8 ``(N, channels, H, W)``."""
        height, width = next(iter(self.sizes), (0, 0))
        values = np.empty((len(self.pixels), channels, height, width), np.uint8)
        for i, pixels in enumerate(self.pixels):
            # (H, W, 3) -> (3, H, W); a grey (H, W) is repeated over the channels
            values[i] = np.moveaxis(pixels, -1, 0) if pixels.ndim == 3 else pixels
        self.pixels.clear()
        return Part(values, None if self.labels is None else np.asarray(self.labels))


def _check_one_size(sizes: Counter[tuple[int, int]]) -> None:
    if len(sizes) < 2:
        return
    said = [f"{width}x{height} ({count:,})" for (height, width), count in sizes.most_common()]
    smallest = min(min(size) for size in sizes)
    raise InputError(
        f"the images differ in size: {listed(said, 5)} among those read first. Pass size, for "
        f"example size={smallest}, to resize the shorter side and crop the centre."
    )


def stack_splits(name: str, stacks: dict[str, ImageStack], request: Request) -> Found:
    """Join the stacks of all splits into what was found, with notes on what was changed.

    Images have one channel if all are grey, else three; a model's ``request.shape`` decides if it
    is known and asks for more.

    Raises:
        InputError: no image could be read, or the splits differ in size.
    """
    unreadable = [file for stack in stacks.values() for file in stack.unreadable]
    readable = {split: stack for split, stack in stacks.items() if stack.pixels}
    if not readable:
        said = f": {listed(unreadable)}" if unreadable else ""
        raise InputError(f"no image of {name} could be read{said}.")
    _check_one_size(sum((stack.sizes for stack in readable.values()), Counter()))
    count = sum(len(stack.pixels) for stack in readable.values())
    colour, alpha, moving = (
        sum(getattr(stack, what) for stack in readable.values())
        for what in ("colour", "alpha", "moving")
    )
    asked = request.shape[0] if request.shape is not None and len(request.shape) == 3 else 1
    channels = 3 if colour or asked == 3 else 1
    notes = []
    if unreadable:
        notes.append(
            f"{counted(len(unreadable), 'unreadable image')} skipped: {listed(unreadable)}."
        )
    if channels == 3 and colour < count:
        notes.append(f"{counted(count - colour, 'grey image')} converted to RGB.")
    if alpha:
        notes.append(f"{counted(alpha, 'image')} with transparency laid on white.")
    if moving:
        notes.append(f"Of {counted(moving, 'moving image')} only the first frame was taken.")
    parts = {split: stack.stack(channels) for split, stack in readable.items()}
    return Found(name, parts, levels=256, laid_out=True, notes=notes)


def _try_decode(encoded: bytes | Path | None, name: str, size: int | None) -> _Decoded | str:
    """Decode one image, or say in a few words why it cannot be decoded."""
    if encoded is None:
        return "no bytes"
    try:
        return _decode(encoded, name, size)
    except InputError:
        raise
    except Exception as error:  # decoders raise everything from OSError to struct.error
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
        if type(error).__name__ == "UnidentifiedImageError":
            return "not an image"
        return str(error).splitlines()[0][:80] if str(error) else type(error).__name__


def _decode(encoded: bytes | Path, name: str, size: int | None) -> _Decoded:
    from PIL import Image, ImageOps

    with Image.open(encoded if isinstance(encoded, Path) else io.BytesIO(encoded)) as opened:
        if opened.mode in _DEEP or _is_deep_png(opened, encoded):
            raise InputError(
                f"{name} has more than 8 bits per value (mode {opened.mode}); read such images "
                "into a uint16 array (N, C, H, W) and pass that, with its levels."
            )
        moving = opened.format in ("GIF", "WEBP", "PNG") and getattr(opened, "n_frames", 1) > 1
        image = ImageOps.exif_transpose(opened)  # as a viewer shows it
        image, alpha = _plain(image)
        if size is not None:
            image = ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)
        return _Decoded(np.array(image), alpha, moving)


def _is_deep_png(image: Image.Image, encoded: bytes | Path) -> bool:
    """Pillow would cut 16-bit colour PNG to 8 bits without a word; the header tells."""
    if image.format != "PNG":
        return False
    if isinstance(encoded, Path):
        with encoded.open("rb") as file:
            header = file.read(25)
    else:
        header = encoded[:25]
    return header[24] == 16  # IHDR: bit depth


def _plain(image: Image.Image) -> tuple[Image.Image, bool]:
    """Return the image as L or RGB, and whether transparency was laid on white."""
    from PIL import Image

    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image, False
    if image.mode == "1":
        return image.convert("L"), False
    if image.has_transparency_data:
        grey = image.mode in ("L", "LA", "La")
        image = image.convert("RGBA")
        seen_through = image.getchannel(3).getextrema() != (255, 255)
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        flat = Image.alpha_composite(white, image)
        return _grey_if(flat.convert("RGB"), grey), seen_through
    if image.mode == "P":
        rgb = image.convert("RGB")
        pixels = np.asarray(rgb)
        grey = bool((pixels == pixels[..., :1]).all())
        return _grey_if(rgb, grey), False
    return image.convert("RGB"), False


def _grey_if(image: Image.Image, grey: bool) -> Image.Image:
    return image.getchannel(0) if grey else image
