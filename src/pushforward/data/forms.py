"""Single events from somebody's program: arrays, tensors or images of Pillow, and their form."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from .found import Request
from .image_stream import spoken
from .images import Plan, decode_opened

__all__ = ["Form", "as_array", "form_of", "is_picture", "levels_of"]

_EXACT = 5e-5  # how far 255 x may be from an integer: float32 keeps seven digits


def is_picture(x: Any) -> bool:
    """Say whether ``x`` is an image of Pillow, without importing that."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(x, pillow.Image)


def as_array(x: Any) -> np.ndarray | None:
    """Return an array, a tensor of any device, a number or a list of numbers as an array."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor):
        x = x.detach().cpu()
        x = (x.float() if x.dtype == torch.bfloat16 else x).numpy()
    if not (hasattr(x, "__array__") or isinstance(x, int | float | list | tuple)):
        return None
    try:
        array = np.asarray(x)
    except (ValueError, TypeError):
        return None
    return array if array.dtype.kind in "buif" else None


@dataclass(frozen=True)
class Form:
    """How every item becomes an event.

    Attributes:
        given: the shape of an array that comes in; None for images of Pillow.
        shape, dtype, levels: of the event.
        last: the channels come last.
        divided: the values are 255ths.
        plan: what images of Pillow are brought to.
        keep: missing values of rows stay.
        note: what the user should know.
    """

    given: tuple[int, ...] | None
    shape: tuple[int, ...]
    dtype: np.dtype
    levels: int | None
    last: bool = False
    divided: bool = False
    plan: Plan | None = None
    keep: bool = False
    note: str = ""

    def bring(self, x: Any, name: str) -> np.ndarray:
        """Return ``x`` as an event of ``shape`` and ``dtype``.

        Raises:
            InputError: it is not of the form of those that were looked at first.
        """
        if self.plan is not None:
            return self._picture(x, name)
        if is_picture(x) or x.shape != self.given:
            what = "an image of Pillow" if is_picture(x) else f"of shape {x.shape}"
            raise InputError(
                f"{name} is {what}, the first of shape {self.given}; bring them to one shape."
            )
        if len(self.shape) == 1:
            return self._row(x, name)
        values = self._integers(x, name)
        low, high = int(values.min()), int(values.max())
        if low < 0 or high >= (self.levels or 2):
            raise InputError(
                f"{name} holds values from {low} to {high}, which are not the {self.levels:,} "
                f"levels 0 to {(self.levels or 2) - 1}; give the right levels."
            )
        values = np.moveaxis(values, -1, 0) if self.last else values
        return values.astype(self.dtype).reshape(self.shape)

    def _integers(self, x: np.ndarray, name: str) -> np.ndarray:
        if x.dtype.kind != "f":
            return x
        scaled = x.astype(np.float64) * (255 if self.divided else 1)
        values = np.rint(scaled)
        if not np.isfinite(scaled).all() or (np.abs(scaled - values) > _EXACT).any():
            raise InputError(
                f"{name} holds fractions, which pixels are not; leave out Normalize and other "
                "transforms, and pass the original integers."
            )
        return values

    def _row(self, x: np.ndarray, name: str) -> np.ndarray:
        bad = np.isinf(x) if self.keep else ~np.isfinite(x)
        if bad.any():
            raise InputError(f"{name} has a value that is missing or infinite; drop it first.")
        if self.levels is not None:
            present = x[~np.isnan(x)]
            if ((present != np.floor(present)) | (present < 0) | (present >= self.levels)).any():
                raise InputError(
                    f"{name} does not hold integers from 0 to {self.levels - 1}; leave levels out "
                    "for continuous rows."
                )
        return x.astype(self.dtype).reshape(self.shape)

    def _picture(self, x: Any, name: str) -> np.ndarray:
        assert self.plan is not None
        if not is_picture(x):
            raise InputError(f"{name} is an array, the first an image of Pillow; give one kind.")
        if x.mode in ("I", "F"):
            raise InputError(f"{name} has 32-bit values (mode {x.mode}); give a uint16 array.")
        pixels = decode_opened(
            x, b"" if self.plan.crop == "centre" else x.tobytes(), self.plan
        ).pixels
        if pixels.shape != self.shape or pixels.dtype != self.dtype:
            raise InputError(
                f"{name} is {spoken(pixels.shape)} of {pixels.dtype}, the first "
                f"{spoken(self.shape)} of {self.dtype}; pass size, or bring them to one size and "
                "mode, for example with convert('RGB')."
            )
        return pixels


def form_of(sample: Sequence[Any], request: Request, name: str) -> Form:
    """Find the form of items from the first of them: arrays, or images of Pillow.

    Raises:
        InputError: they are neither rows nor images, or no integers where they are images.
    """
    if is_picture(sample[0]):
        return _form_of_pictures(sample, request)
    first = sample[0]
    if first.ndim < 2:
        wide = first.dtype == np.float64 or (first.dtype.kind in "iu" and first.dtype.itemsize > 2)
        dtype = np.dtype(np.float64 if wide else np.float32)
        keep = request.missing == "keep"
        return Form(first.shape, (first.size,), dtype, request.levels, keep=keep)
    if request.size is not None and request.size not in first.shape:
        raise InputError(
            f"size={request.size} resizes encoded images; {name} gives arrays of shape "
            f"{first.shape}. Resize them before, or leave size out."
        )
    shape, last = _lay_out(first.shape, request.shape, name)
    levels, divided, note = levels_of(sample, request.levels, name)
    if last:
        note = f"{note} The images came channel-last.".strip()
    dtype = np.dtype(np.uint8 if levels <= 256 else np.uint16)
    return Form(first.shape, shape, dtype, levels, last, divided, note=note)


def _form_of_pictures(sample: Sequence[Any], request: Request) -> Form:
    pictures = [x for x in sample if is_picture(x)]
    three = request.shape is not None and request.shape[:1] == (3,)
    plan = Plan(1, size=request.size, crop=request.crop)
    seen = [decode_opened(x, b"", plan).pixels for x in pictures]
    deep = any(pixels.dtype == np.uint16 for pixels in seen)
    channels = 3 if three or any(len(pixels) == 3 for pixels in seen) else 1
    plan = Plan(channels, deep, request.size, request.crop)
    dtype, levels = (np.uint16, 65536) if deep else (np.uint8, 256)
    return Form(None, (channels, *seen[0].shape[1:]), np.dtype(dtype), levels, plan=plan)


def _lay_out(
    given: tuple[int, ...], expected: tuple[int, ...] | None, name: str
) -> tuple[tuple[int, ...], bool]:
    """Return the shape (C, H, W), and whether the channels came last."""
    if len(given) == 2:
        return (1, *given), False
    if len(given) != 3:
        raise InputError(
            f"the items of {name} have shape {given}; give rows (D,) or images (C, H, W)."
        )
    first, middle, channels = given
    last = (channels, first, middle)
    if expected in (given, last):
        return (given, False) if expected == given else (last, True)
    if channels in (1, 3, 4) and first > 4 and middle > 4:
        return last, True
    return given, False


def levels_of(sample: Sequence[np.ndarray], asked: int | None, name: str) -> tuple[int, bool, str]:
    """Return the number of levels of pixels, whether they are 255ths, and a note.

    Raises:
        InputError: they are other fractions, or integers whose levels have to be told.
    """
    kind, width = sample[0].dtype.kind, sample[0].dtype.itemsize
    if kind == "b":
        return asked or 2, False, ""
    if kind == "u" and width <= 2:
        note = "" if width == 1 or asked else "16-bit integers were read with 65,536 levels."
        return asked or 256**width, False, note
    values = np.concatenate([np.ravel(x) for x in sample if not is_picture(x)])
    if not np.isfinite(values).all():
        raise InputError(f"{name} holds images with values that are missing or infinite.")
    low, high = float(values.min()), float(values.max())
    if kind == "f" and low >= 0 and high <= 1:
        scaled = values.astype(np.float64) * 255
        if (values == np.rint(values)).all():
            note = "The images hold only 0 and 1 and were read with 2 levels."
            return asked or 2, False, note
        if (np.abs(scaled - np.rint(scaled)) <= _EXACT).all():
            note = "Values between 0 and 1 were exact 255ths and turned back into 0 to 255."
            return 256, True, note
    if kind == "f" and (values != np.rint(values)).any():
        raise InputError(
            f"{name} holds images of fractions, from {low:g} to {high:g}, whose likelihood depends "
            "on how they were made; leave out Normalize and other transforms, and pass the "
            "original integers."
        )
    if asked is None and high > 255:
        raise InputError(
            f"the images of {name} hold integers up to {high:g}; say how many levels they have, "
            f"for example levels={1 << int(high).bit_length()}."
        )
    return asked or 256, False, ""
