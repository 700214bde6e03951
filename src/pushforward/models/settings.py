"""How model configurations are declared and checked."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Sequence
from typing import Any, TypeVar

import pydantic

from ..errors import InputError

__all__ = ["checked", "event_shape", "settings", "validation_message"]

T = TypeVar("T")

settings = pydantic.ConfigDict(extra="forbid", validate_assignment=False)
"""For ``@pydantic.dataclasses.dataclass``: an unknown field is an error, not a silent wish."""


def checked(config: type[T], values: dict[str, Any], what: str) -> T:
    """Build ``config`` from ``values``; an invalid field becomes one sentence that names it."""
    try:
        return config(**values)
    except pydantic.ValidationError as error:
        known = [field.name for field in dataclasses.fields(config)]  # type: ignore[arg-type]
        raise InputError(validation_message(error, what, known)) from None


def validation_message(error: pydantic.ValidationError, what: str, known: Sequence[str]) -> str:
    """The first problem of a validation error as one sentence."""
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"])
    if first["type"] == "unexpected_keyword_argument":
        return f"{what} has no setting {path!r}; it has {', '.join(known)}."
    if first["type"] in ("missing", "missing_argument"):
        return f"{what} needs the setting {path!r}."
    return f"{what}: {path} = {first['input']!r} will not do: {first['msg']}."


def event_shape(shape: Any, what: str) -> tuple[int, ...]:
    """``(D,)`` or ``(C, H, W)`` from an int, a list or a tuple, all sizes at least 1."""
    try:
        given = [shape] if isinstance(shape, int) else shape
        sizes = tuple(operator.index(size) for size in given)
    except TypeError:  # no sequence, or of something else than integers
        sizes = ()
    if len(sizes) not in (1, 3) or min(sizes) < 1:
        raise InputError(
            f"{what} takes a shape (D,) for rows or (C, H, W) for images, each at least 1; got "
            f"{shape!r}."
        )
    return sizes
