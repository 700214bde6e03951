"""Decide what a column of a table holds, from a sketch of its cells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import InputError
from .encoding import WORDS, shown
from .found import listed
from .schema import KINDS, Column, Schema, as_pandas
from .sketch import MOST_CATEGORIES, Sketch

__all__ = ["check_kinds", "column_of", "detect"]

_STEPS = (1.0, 0.5, 0.25, 0.1, 0.05, 0.01, 0.005, 0.001, 0.0001)
_ENOUGH = 100  # numbers from which a shape can be told
_HEAVY = 7.0  # a normal has 3.8, an exponential 4.8, Student's t of 3 degrees of freedom 7.6
_FAR = 100.0  # lognormals that are not heavy by the first rule end near 30


def check_kinds(kinds: Mapping[str, str] | None) -> dict[str, str]:
    """Return what the user says of columns, checked.

    Raises:
        InputError: a kind that there is not.
    """
    for name, kind in (kinds or {}).items():
        if kind not in KINDS:
            raise InputError(
                f"the kind of column {name!r} is one of {listed(KINDS)}; got {kind!r}."
            )
    return dict(kinds or {})


def detect(frame: Any, kinds: Mapping[str, str] | None = None) -> Schema:
    """Find the kinds of all columns of a data frame that a model could learn.

    Args:
        frame: of pandas or polars.
        kinds: column -> kind, where the user knows better.

    Raises:
        InputError: a kind that there is not, or that the cells contradict.
    """
    frame = as_pandas(frame)
    frame = frame.set_axis([str(name) for name in frame.columns], axis=1)
    wanted = check_kinds(kinds)
    columns = []
    for name in frame.columns:
        sketch = Sketch(name, wanted=wanted.get(name), dtype=str(frame[name].dtype))
        sketch.add(frame[name])
        column = column_of(sketch)
        if isinstance(column, Column):
            columns.append(column)
    return Schema(tuple(columns))


def column_of(sketch: Sketch, numeric: bool | None = None) -> Column | str:
    """Return the column, or why it is left out, as the end of a sentence.

    Args:
        numeric: whether it counts as numbers although some cells are text; by the cells
            themselves if None.

    Raises:
        InputError: the user says it is of a kind that its cells contradict.
    """
    if sketch.wanted is not None:
        return _as_wanted(sketch, sketch.wanted)
    if numeric or (sketch.numeric and numeric is None and not sketch.worded) or not sketch.given:
        return _of_numbers(sketch)
    if sketch.truths == sketch.given:
        return _of_truths(sketch)
    if sketch.dates == sketch.given:
        return _of_dates(sketch)
    if sketch.texts is None or _all_different(sketch):
        some = (
            f"more than {MOST_CATEGORIES:,}" if sketch.texts is None else f"{len(sketch.texts):,}"
        )
        return f"text with {some} different values in {sketch.given:,} rows"
    return _of_texts(sketch)


def _all_different(sketch: Sketch) -> bool:
    count = len(sketch.texts or ())
    return count > 10 and count > sketch.given / 2 and sketch.order is None


def _as_wanted(sketch: Sketch, kind: str) -> Column:
    if kind == "date" and sketch.dates == sketch.given:
        return _of_dates(sketch)
    if kind in ("number", "integer") and sketch.numeric and not sketch.worded:
        column = _of_numbers(sketch)
        if kind == "integer" and not sketch.whole:
            raise InputError(
                f"column {sketch.name!r} is to be an integer, but it holds fractions; call it a "
                "number."
            )
        # As numbers they are continuous: that is what asking for it can mean.
        return column if kind == "integer" else replace(column, kind="number", step=None)
    if kind == "number" and sketch.truths == sketch.given:
        return replace(_of_truths(sketch), kind="number", dtype="float64", step=None)
    if kind == "category" and sketch.texts is not None:
        return _of_texts(sketch, boolean=False)
    if kind == "boolean" and sketch.truths == sketch.given:
        return _of_truths(sketch)
    if kind == "boolean" and sketch.texts is not None and len(sketch.texts) <= 2:
        return replace(_of_texts(sketch), kind="boolean")
    held = "more than two values" if kind == "boolean" else "cells that are none"
    if kind == "category":
        held = f"more than {100 * MOST_CATEGORIES:,} different values"
    first = next(iter(sketch.texts or ()), None)
    such = f", such as {shown(first)}" if first is not None else ""
    raise InputError(
        f"column {sketch.name!r} is to be {'an' if kind == 'integer' else 'a'} {kind}, but it "
        f"holds {held}{such}; give it another kind."
    )


def _type(sketch: Sketch, text: str, nullable: str) -> str:
    """The type that the source tells, without its storage; nullable where a cell lacks."""
    told = (sketch.dtype or text).removesuffix("[pyarrow]")
    told = {"double": "float64", "float": "float32", "bool": "bool"}.get(told, told)
    return nullable if sketch.missing and told in (text, "object") else told


def _of_truths(sketch: Sketch) -> Column:
    dtype = _type(sketch, "bool", "boolean")
    return Column(
        name=sketch.name,
        kind="boolean",
        dtype=dtype if dtype in ("bool", "boolean") else "boolean" if sketch.missing else "bool",
        step=1.0,
        missing=sketch.missing,
        least=0.0,
        most=1.0,
    )


def _of_texts(sketch: Sketch, *, boolean: bool = True) -> Column:
    texts = sketch.texts or {}
    words = sketch.order
    if words is None:
        words = tuple(sorted(texts, key=lambda text: (-texts[text], text)))
        if not sketch.worded and not sketch.truths:
            words = tuple(sorted(texts, key=float))
    pair = _pair(words) if boolean and sketch.order is None else None
    dtype = sketch.dtype or ("str" if sketch.worded else "float64" if sketch.pointed else "int64")
    if dtype == "category" and sketch.ordered:
        dtype = "category, ordered"
    if sketch.truths == sketch.given:
        dtype = "str"
    return Column(
        name=sketch.name,
        kind="category" if pair is None else "boolean",
        dtype=dtype.removesuffix("[pyarrow]"),
        step=1.0,
        categories=pair or words,
        missing=sketch.missing,
        least=0.0,
        most=float(max(1, len(words) - 1)),
    )


def _of_dates(sketch: Sketch) -> Column:
    days = sketch.numbers
    step = next((s for s in (1.0, 1 / 1440, 1 / 86400) if _on_grid(days, s)), None)
    dtype = sketch.dtype or ""
    if dtype.startswith("timestamp["):
        dtype = dtype.removesuffix("[pyarrow]").replace("timestamp", "datetime64")
    if sketch.plain_days and not dtype.startswith("datetime64"):
        dtype = "date"
    elif not dtype.startswith("datetime64"):
        dtype = "datetime64[us, UTC]" if sketch.zoned else "datetime64[us]"
    return _shaped(sketch, Column(name=sketch.name, kind="date", dtype=dtype, step=step), days)


def _of_numbers(sketch: Sketch) -> Column:
    numbers = sketch.numbers
    dtype = _type(sketch, "int64", "Int64")
    if sketch.dtype is None:
        dtype = "int64" if sketch.whole and not sketch.pointed else "float64"
        dtype = "Int64" if dtype == "int64" and sketch.missing else dtype
    elif dtype.startswith(("int", "uint")) and sketch.missing:
        dtype = dtype.replace("u", "U").replace("i", "I") if dtype[0] == "i" else "UI" + dtype[2:]
    whole = sketch.whole and sketch.given > 0
    column = Column(name=sketch.name, kind="integer" if whole else "number", dtype=dtype)
    if whole:
        return _shaped(sketch, replace(column, step=1.0), numbers)
    tolerance = 4 * float(np.finfo(np.float32 if "32" in dtype else np.float64).eps)
    step = next((s for s in _STEPS if _on_grid(numbers, s, tolerance)), None)
    decimals = None if step is None else max(0, len(f"{step:g}".partition(".")[2]))
    if step == 0.0001:
        decimals = 4
    distinct = len(np.unique(numbers))
    if step is not None and distinct > len(numbers) / 4:
        step = None  # few ties: as good as continuous
    return _shaped(sketch, replace(column, step=step, decimals=decimals), numbers)


def _shaped(sketch: Sketch, column: Column, numbers: np.ndarray) -> Column:
    """The column with its range, its bounds and its tails."""
    low, high = sketch.ends
    known = replace(column, missing=sketch.missing)
    if not len(numbers):
        return known
    known = replace(known, least=low, most=high)
    if column.kind == "number" and column.step is None and len(numbers) >= _ENOUGH:
        percent = re.search(r"percent|pct|%", sketch.name, re.IGNORECASE) is not None
        top = 100.0 if percent else 1.0
        # Both ends are neared, neither is reached: a share, and no number that is just small.
        if 0 < low < 0.05 * top and 0.95 * top < high < top:
            return replace(known, low=0.0, high=top)
    if column.kind in ("number", "integer"):
        known = replace(known, heavy=_is_heavy(numbers, low, high))
    return known


def _pair(words: tuple[str, ...]) -> tuple[str, str] | None:
    """The two words as no and yes, if that is what they are."""
    low = {word.lower(): word for word in words}
    pairs = (pair for pair in WORDS if set(pair) == set(low) and len(words) == 2)
    return next(((low[no], low[yes]) for no, yes in pairs), None)


def _on_grid(numbers: np.ndarray, step: float, tolerance: float = 1e-15) -> bool:
    """Whether all numbers are multiples of ``step``, as exactly as their type can say so."""
    if not len(numbers):
        return False
    places = numbers / step
    margin = np.maximum(1e-6, np.abs(places) * tolerance)
    off = np.abs(places - np.rint(places))
    return bool((off <= margin).all() and margin.max() < 0.05)


def _is_heavy(numbers: np.ndarray, low: float, high: float) -> bool:
    r"""Whether the tails are far out by the spread of the middle half.

    .. math:: (q_{0.995} - q_{0.005}) / (q_{0.75} - q_{0.25}) > 7

    or the ends of all cells a hundred times that spread apart: one such value is enough to decide
    the mean, the deviation and the validation of a whole table.
    """
    if len(numbers) < _ENOUGH:
        return False
    ends = np.quantile(numbers, [0.005, 0.25, 0.75, 0.995])
    outer, inner = ends[3] - ends[0], ends[2] - ends[1]
    if inner > 0:
        return bool(outer > _HEAVY * inner or high - low > _FAR * inner)
    # Most cells are one and the same value: an amount that is mostly zero, say.
    return bool(outer > 0 and len(np.unique(numbers)) > 20)
