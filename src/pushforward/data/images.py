"""One encoded image: what its header tells, and its pixels, brought to what the others are."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..errors import InputError

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Decoded", "Header", "Mark", "Plan", "decode", "decode_opened", "header"]

Mark = Literal["grey", "alpha", "moving", "cut", "widened"]
"""What was done to an image: grey repeated over RGB, transparency laid on white, only the first
frame taken, 16-bit colour cut to 8 bits by Pillow, 8 bits brought to 16."""

_GREY = ("1", "L", "LA", "La")
_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap width and height
_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Header:
    """What can be known of an image without decoding it.

    Attributes:
        height, width: upright, as a viewer shows it.
        grey: whether it has one channel; None where only the pixels tell (a palette).
        deep: whether it is greyscale of 16 bits.
    """

    height: int
    width: int
    grey: bool | None
    deep: bool


@dataclass(frozen=True)
class Plan:
    """What every image of a source is brought to.

    Attributes:
        channels: 1 or 3.
        deep: 16 bits; 8-bit values are multiplied by 257, so that white stays white.
        size: the shorter side is resized to it and a square cut out; None leaves the size alone.
        crop: where the square lies: ``centre``, or ``random``: a place that the image's own bytes
            decide, the same in every run.
    """

    channels: int
    deep: bool = False
    size: int | None = None
    crop: str = "centre"


@dataclass(frozen=True)
class Decoded:
    """Pixels ``(C, H, W)``, uint8 or uint16; the hash of the encoded bytes; what was done."""

    pixels: np.ndarray
    key: int
    marks: tuple[Mark, ...]


def header(encoded: bytes | Path | None, name: str, *, colour: bool) -> Header | str:
    """Read an image's header, or say in a few words why it cannot be read.

    Args:
        encoded: the file or its content.
        name: what messages call the image.
        colour: decode a palette image too, where only its pixels tell whether it is grey.

    Raises:
        InputError: its values have 32 bits, which no density of pixels is defined for here.
    """
    from PIL import Image

    if encoded is None:
        return "no bytes"
    try:
        with Image.open(encoded if isinstance(encoded, Path) else io.BytesIO(encoded)) as opened:
            deep = _is_deep(opened)
            if not deep and opened.mode in ("I", "F"):
                raise InputError(
                    f"{name} has 32-bit values (mode {opened.mode}); read such images into a "
                    "uint16 array (N, C, H, W) and pass that, with its levels."
                )
            width, height = opened.size
            # Not opened.getexif(): that of PNG decodes the whole image to look behind the pixels.
            if width != height and Image.Image.getexif(opened).get(_ORIENTATION) in _TURNED:
                width, height = height, width
            grey: bool | None = deep or opened.mode in _GREY
            if opened.mode == "P":
                grey = None
                if "transparency" in opened.info:
                    grey = False
                elif colour:
                    grey = _plain(opened)[0].mode == "L"
            return Header(height, width, grey, deep)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # decoders raise everything from OSError to struct.error
        return _reason(error)


def decode(encoded: bytes | Path | None, plan: Plan) -> Decoded | str:
    """Decode one image, or say in a few words why it cannot be decoded."""
    from PIL import Image

    if encoded is None:
        return "no bytes"
    try:
        content = encoded.read_bytes() if isinstance(encoded, Path) else encoded
        with Image.open(io.BytesIO(content)) as opened:
            return decode_opened(opened, content, plan)
    except MemoryError:
        raise
    except Exception as error:
        return _reason(error)


def decode_opened(opened: Image.Image, content: bytes, plan: Plan) -> Decoded:
    """Bring an image of Pillow to ``plan``; the hash of ``content`` is its key."""
    from PIL import ImageOps

    digest = hashlib.blake2b(content).digest()
    marks: list[Mark] = []
    if opened.format in ("GIF", "WEBP", "PNG", "TIFF") and getattr(opened, "n_frames", 1) > 1:
        marks.append("moving")
    deep = _is_deep(opened)
    if not deep and ";16" in str(getattr(opened, "tile", "")):  # the raw mode, as in RGB;16B
        marks.append("cut")
    opened.load()
    image = opened
    if opened.getexif().get(_ORIENTATION, 1) != 1:  # as a viewer shows it
        image = ImageOps.exif_transpose(opened)
    if deep:
        pixels, alpha = _deep_pixels(image)
    else:
        image, alpha = _plain(image)
        pixels = np.asarray(image)
    if alpha:
        marks.append("alpha")
    if plan.size is not None:
        place = int.from_bytes(digest[8:16], "little") / 2**64 if plan.crop == "random" else 0.5
        pixels = _square(pixels, plan.size, place)
    if plan.deep and not deep:
        marks.append("widened")
        pixels = pixels.astype(np.uint16) * 257
    if pixels.ndim == 2 and plan.channels == 3:
        marks.append("grey")
    # (H, W, 3) -> (3, H, W); a grey (H, W) is repeated over the channels
    pixels = (
        pixels.transpose(2, 0, 1)
        if pixels.ndim == 3
        else np.broadcast_to(pixels, (plan.channels, *pixels.shape))
    )
    return Decoded(pixels, int.from_bytes(digest[:8], "little"), tuple(marks))


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if type(error).__name__ == "UnidentifiedImageError":
        return "not an image"
    return str(error).splitlines()[0][:80] if str(error) else type(error).__name__


def _is_deep(image: Image.Image) -> bool:
    # Pillow before 11 gave 16-bit grey PNG as I.
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG")


def _deep_pixels(image: Image.Image) -> tuple[np.ndarray, bool]:
    pixels = np.array(image).astype(np.uint16)
    see_through = image.info.get("transparency")  # in 16-bit grey PNG: one value
    if not isinstance(see_through, int) or not (pixels == see_through).any():
        return pixels, False
    return np.where(pixels == see_through, np.uint16(65535), pixels), True


def _square(pixels: np.ndarray, size: int, place: float) -> np.ndarray:
    """Cut a square out of (H, W) or (H, W, 3) at ``place`` (0 to 1) and resize it."""
    from PIL import Image

    height, width = pixels.shape[:2]
    side = min(height, width)
    left, top = (width - side) * place, (height - side) * place
    if place != 0.5:  # whole pixels, so that what is not resized is not blurred either
        left, top = round(left), round(top)
    box = (left, top, left + side, top + side)
    if pixels.dtype == np.uint8:
        image = Image.fromarray(pixels).resize((size, size), Image.Resampling.LANCZOS, box)
        return np.asarray(image)
    # Pillow resizes floats, not 16-bit integers; the filter swings beyond the range at edges.
    wide = Image.fromarray(pixels.astype(np.float32))
    smooth = np.asarray(wide.resize((size, size), Image.Resampling.LANCZOS, box))
    return np.rint(smooth).clip(0, 65535).astype(np.uint16)


def _plain(image: Image.Image) -> tuple[Image.Image, bool]:
    """Return the image as L or RGB, and whether transparency was laid on white."""
    from PIL import Image

    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image, False
    if image.mode == "1":
        return image.convert("L"), False
    if image.has_transparency_data:
        grey = image.mode in _GREY
        image = image.convert("RGBA")
        seen_through = image.getchannel(3).getextrema() != (255, 255)
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        flat = Image.alpha_composite(white, image)
        return _grey_if(flat.convert("RGB"), grey), seen_through
    if image.mode == "P":
        rgb = image.convert("RGB")
        pixels = np.asarray(rgb)
        return _grey_if(rgb, bool((pixels == pixels[..., :1]).all())), False
    return image.convert("RGB"), False


def _grey_if(image: Image.Image, grey: bool) -> Image.Image:
    return image.getchannel(0) if grey else image
