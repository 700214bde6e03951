"""Which events can be scored: those that hold values, and have all that is given beside them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import InputError
from .output import counted

__all__ = ["batches", "complete", "count_lacking", "lacking_rows", "without_lacking"]


def complete(x: Any, given: Any, *, some: bool = False) -> Any:
    """Which events have all (or ``some``) values and all that is given beside them, ``(N,)``."""
    known = np.ones(len(x), bool)
    if x.dtype.kind == "f":
        missing = np.isnan(x.reshape(len(x), -1))
        known &= ~(missing.all(axis=1) if some else missing.any(axis=1))
    if given is not None:
        known &= ~np.isnan(given).any(axis=1)
    return known


def batches(x: Any, given: Any) -> Iterator[tuple[Any, Any]]:
    """Parts of an array that may be larger than memory, and what is given beside them."""
    from ..data import release

    step = max(1, (1 << 24) // max(1, x[:1].nbytes))
    for start in range(0, len(x), step):
        yield x[start : start + step], None if given is None else given[start : start + step]
        release(x)


def count_lacking(x: Any, given: Any, source: str, *, some: bool = False) -> int:
    """How many events lack values, in themselves or in what is given beside them.

    Where ``some`` values are enough, those without any.

    Raises:
        InputError: all of them.
    """
    parts = (complete(part, beside, some=some) for part, beside in batches(x, given))
    lacking = sum(int((~part).sum()) for part in parts)
    if lacking < len(x) or not len(x):
        return lacking
    if not some:
        raise InputError(
            f"each of the {len(x):,} rows of {source} lacks a value; fill the missing values first."
        )
    what = "they are empty" if given is None else "they are empty, or lack what is given"
    raise InputError(f"none of the {len(x):,} rows of {source} can be scored: {what}.")


def lacking_rows(count: int, given: Any, *, some: bool = False) -> str:
    """The beginning of a sentence: ``3 rows with missing values have``."""
    what = "without any value" if some else "with missing values"
    if some and given is not None:
        what += ", or without all that is given,"
    return f"{counted(count, 'row')} {what} {'has' if count == 1 else 'have'}"


def without_lacking(x: Any, given: Any, source: str, *, some: bool = False) -> tuple[Any, Any, int]:
    """The events that can be scored, what is given beside them, and how many were left out.

    Raises:
        InputError: none can be.
    """
    lacking = count_lacking(x, given, source, some=some)
    if not lacking:
        return x, given, 0
    known = complete(x, given, some=some)
    return x[known], None if given is None else given[known], lacking
