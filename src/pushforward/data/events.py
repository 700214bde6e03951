"""Bring the raw numbers of a source into events: the layout, the dtype, the levels, the checks."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from .found import Found, Request, listed

if TYPE_CHECKING:
    from .dataset import Kind

__all__ = ["default_columns", "expect", "settle"]

_MAX_LEVELS = 65536


def default_columns(count: int) -> tuple[str, ...]:
    """Return the names of columns that have none: x0, x1, ..."""
    return tuple(f"x{i}" for i in range(count))


def settle(found: Found, request: Request) -> Kind:
    """Bring the parts of ``found``, in place, to events of one shape and dtype; return their kind.

    Images become uint8 or uint16 ``(N, C, H, W)`` with ``found.levels`` set, rows float32 or
    float64 ``(N, D)`` with ``found.columns`` set.

    Raises:
        InputError: the numbers are not real, finite and plenty, or not integers where they are
            images, or ``request`` does not fit them.
    """
    for split, part in found.parts.items():
        _check_type(part.values, found.name)
        if found.laid_out:
            continue
        values, moved = _lay_out(part.values, request.shape, found.name)
        found.parts[split] = replace(part, values=values)
        if moved:
            note = f"The images came channel-last, as (N, H, W, {values.shape[1]})."
            found.notes = [*(other for other in found.notes if other != note), note]
    shapes = {split: part.values.shape[1:] for split, part in found.parts.items()}
    if len(set(shapes.values())) > 1:
        said = ", ".join(f"{split} {shape}" for split, shape in shapes.items())
        raise InputError(f"the splits of {found.name} differ in shape: {said}.")
    shape = next(iter(shapes.values()))
    if any(len(part.values) == 0 for part in found.parts.values()) and found.splitting != "fixed":
        empty = [split for split, part in found.parts.items() if len(part.values) == 0]
        raise InputError(f"{found.name} holds no data: its {listed(empty)} part has zero rows.")
    if prod(shape) == 0:
        raise InputError(f"{found.name} holds no numbers: its event shape is {shape}.")
    if len(shape) == 1:
        _settle_rows(found, request)
        return "rows"
    _settle_images(found, request)
    return "images"


def expect(found: Found, request: Request) -> None:
    """Check settled parts against the shape of a model.

    Raises:
        InputError: the shapes differ; the message names both and the way out.
    """
    shape = next(iter(found.parts.values())).values.shape[1:]
    if request.shape is None or shape == request.shape:
        return
    takes = _in_words(request.shape)
    if len(shape) == 1 and len(request.shape) == 1:
        names = "" if found.columns is None else f" ({listed(found.columns, 20)})"
        way_out = (
            f"Choose {request.shape[0]} of them with columns."
            if shape[0] > request.shape[0]
            else "Give the columns that the model was trained on."
        )
        raise InputError(
            f"the model takes {takes}; {found.name} has {shape[0]} numeric columns{names}. "
            f"{way_out}"
        )
    way_out = f"Train a model of shape {shape}, or give {takes}."
    if prod(shape) == prod(request.shape) and 1 in (len(shape), len(request.shape)):
        way_out = f"Reshape them to (N, {', '.join(map(str, request.shape))})."
    elif shape[0] == request.shape[0]:
        way_out = f"Resize them to {request.shape[1]}x{request.shape[2]} (size, for image files)."
    elif shape[0] == 3 and request.shape[0] == 1:
        way_out = "Convert them to greyscale."
    raise InputError(f"the model takes {takes}; {found.name} holds {_in_words(shape)}. {way_out}")


def _in_words(shape: tuple[int, ...]) -> str:
    if len(shape) == 1:
        return f"rows of {shape[0]} numbers" if shape[0] != 1 else "rows of 1 number"
    return f"images of shape {shape}"


def _check_type(values: np.ndarray, name: str) -> None:
    if values.dtype.kind in "buif":
        return
    what = {
        "c": "complex numbers; split them into real and imaginary columns",
        "O": "Python objects (or rows of different lengths); give one array of numbers",
        "V": "records; give one array of numbers, or a pandas data frame",
        "M": "dates; turn them into numbers first",
        "m": "time spans; turn them into numbers first",
    }.get(values.dtype.kind, "text; give numbers")
    raise InputError(f"{name} holds {what}.")


def _lay_out(
    values: np.ndarray, expected: tuple[int, ...] | None, name: str
) -> tuple[np.ndarray, bool]:
    """Return values as (N, D) or (N, C, H, W), and whether the channels came last."""
    if expected is not None:
        last = (*expected[1:], expected[0])  # (H, W, C)
        grey = expected[1:] if expected[0] == 1 and len(expected) == 3 else None
        if values.shape[1:] == expected:
            return values, False
        if values.shape == expected and expected != (1,):
            return values[None], False  # one event
        if len(expected) == 3 and last in (values.shape, values.shape[1:]):
            return np.moveaxis(values.reshape(-1, *last), -1, 1), True
        if grey in (values.shape, values.shape[1:]):
            return values.reshape(-1, *expected), False
    if values.ndim in (1, 3):  # numbers -> rows of one; (N, H, W) -> grey images
        return values[:, None], False
    if values.ndim == 2:
        return values, False
    if values.ndim == 4:
        _, first, middle, channels = values.shape
        if channels in (1, 3, 4) and first > 4 and middle > 4:
            return np.moveaxis(values, -1, 1), True  # (N, H, W, C) -> (N, C, H, W)
        return values, False
    raise InputError(
        f"{name} has shape {values.shape}; give rows (N, D), grey images (N, H, W) or images "
        "(N, C, H, W)."
    )


def _settle_rows(found: Found, request: Request) -> None:
    count = next(iter(found.parts.values())).values.shape[1]
    if found.columns is None:
        found.columns = default_columns(count)
        # With a model's shape, names do not matter where the number of columns fits.
        if request.columns is not None and request.shape != (count,):
            _pick(found, request.columns)
    if request.size is not None:
        raise InputError(f"size is for images; {found.name} holds rows of {count} numbers.")
    for split, part in found.parts.items():
        _check_finite(part.values, found, allow_nan=request.missing == "keep")
        if request.levels is not None and not _is_integer(_present(part.values)):
            raise InputError(
                f"levels={request.levels} says that {found.name} holds integers, but it has "
                "fractions; leave levels out for continuous rows."
            )
        found.parts[split] = replace(part, values=_as_float(part.values))
    if request.levels is not None:
        present = [_present(part.values) for part in found.parts.values()]
        low, high = _range(present) if any(values.size for values in present) else (0, 0)
        _check_levels(request.levels, low, high, found.name)
    found.levels = request.levels
    # One dtype for all splits, whatever files they came from.
    dtype = np.result_type(*(part.values.dtype for part in found.parts.values()))
    for part in found.parts.values():
        part.values = part.values.astype(dtype, copy=False)


def _pick(found: Found, columns: tuple[str, ...]) -> None:
    names = found.columns or ()
    absent = [column for column in columns if column not in names]
    if absent:
        raise InputError(
            f"the columns of {found.name} came without names and are called {listed(names, 20)}; "
            f"there is no {listed([repr(column) for column in absent])}."
        )
    index = [names.index(column) for column in columns]
    for part in found.parts.values():
        part.values = part.values[:, index]
    found.columns = columns


def _as_float(values: np.ndarray) -> np.ndarray:
    """Float32, or float64 where the source has more digits than float32 holds."""
    wide = values.dtype.kind == "f" and values.dtype.itemsize > 4
    if values.dtype.kind in "ui" and values.dtype.itemsize > 2 and values.size:
        wide = max(abs(int(values.min())), abs(int(values.max()))) > 2**24
    return values.astype(np.float64 if wide else np.float32, copy=False)


def _settle_images(found: Found, request: Request) -> None:
    if request.columns is not None and not found.laid_out and request.shape is None:
        raise InputError(f"columns are for rows; {found.name} holds images.")
    found.columns = None
    arrays = [part.values for part in found.parts.values()]
    height, width = arrays[0].shape[2:]
    if request.size is not None and (height, width) != (request.size, request.size):
        raise InputError(
            f"size={request.size} resizes image files; {found.name} is an array of images of "
            f"{height}x{width}. Resize it before, or leave size out."
        )
    for values in arrays:
        _check_finite(values, found, allow_nan=False)
        _check_pixels(values, found.name)
    low, high = _range(arrays)
    known = found.levels
    if known and request.shape is not None and request.levels not in (None, known):
        raise InputError(
            f"the model takes images of {request.levels} levels; {found.name} has {known}."
        )
    found.levels = request.levels or known or _guess_levels(arrays[0].dtype, high, found)
    _check_levels(found.levels, low, high, found.name)
    dtype = np.uint8 if found.levels <= 256 else np.uint16
    for part in found.parts.values():
        part.values = part.values.astype(dtype, copy=False)


def _guess_levels(dtype: np.dtype, high: int, found: Found) -> int:
    if dtype.kind == "b":
        return 2
    if dtype.kind == "f" and high <= 1:
        found.notes.append("The images hold only 0 and 1 and were read as images of 2 levels.")
        return 2
    if high <= 255 and dtype != np.uint16:
        return 256
    if dtype == np.uint16:
        found.notes.append("16-bit integers were read as images of 65,536 levels.")
        return _MAX_LEVELS
    raise InputError(
        f"the images of {found.name} hold integers up to {high}; say how many levels they have, "
        f"for example levels={1 << int(high).bit_length()}."
    )


def _check_levels(levels: int, low: int, high: int, name: str) -> None:
    if not 2 <= levels <= _MAX_LEVELS:
        raise InputError(f"levels must be between 2 and {_MAX_LEVELS:,}; got {levels}.")
    if low < 0 or high >= levels:
        raise InputError(
            f"{levels} levels are the integers 0 to {levels - 1}; {name} holds values from "
            f"{low} to {high}."
        )


def _present(values: np.ndarray) -> np.ndarray:
    """The values that are not missing; some may be where the request is to keep them."""
    missing = np.isnan(values)
    return values[~missing] if missing.any() else values


def _is_integer(values: np.ndarray) -> bool:
    return values.dtype.kind != "f" or bool((values == np.floor(values)).all())


def _check_pixels(values: np.ndarray, name: str) -> None:
    if _is_integer(values):
        return
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high <= 1:
        raise InputError(
            f"{name} holds images as fractions between 0 and 1, whose likelihood depends on how "
            "they were made; pass the integers, for example (x * 255).round().astype('uint8')."
        )
    raise InputError(
        f"{name} should hold integers, as pixels are, but has fractions, from {low:g} to "
        f"{high:g}; pass the original integers."
    )


def _check_finite(values: np.ndarray, found: Found, *, allow_nan: bool) -> None:
    if values.dtype.kind != "f":
        return
    bad = np.isinf(values) if allow_nan else ~np.isfinite(values)
    if not bad.any():
        return
    at = np.unravel_index(int(bad.argmax()), bad.shape)
    what = "a missing value (NaN)" if np.isnan(values[at]) else "an infinite value"
    if values.ndim == 2:
        column = found.columns[at[1]] if found.columns else at[1]
        where = f"row {at[0]} (the first is 0), column {column!r}"
    else:
        where = f"image {at[0]} (the first is 0), channel, row and column {tuple(map(int, at[1:]))}"
    raise InputError(
        f"{found.name} has {what} at {where}, {int(bad.sum()):,} in all; drop or fill them first."
    )


def _range(arrays: list[np.ndarray]) -> tuple[int, int]:
    filled = [values for values in arrays if values.size]
    return int(min(values.min() for values in filled)), int(max(values.max() for values in filled))
