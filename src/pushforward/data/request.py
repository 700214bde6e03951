"""What a caller wants of a source, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from ..errors import InputError
from .detect import check_kinds
from .found import Crop, Request
from .schema import Schema

__all__ = ["request_of"]


def request_of(
    *,
    columns: Sequence[str] | None,
    size: int | None,
    levels: int | None,
    crop: Crop,
    max_unreadable: int | None,
    shape: tuple[int, ...] | None = None,
    schema: Literal["auto"] | Schema | None = None,
    kinds: Mapping[str, str] | None = None,
) -> Request:
    """The request that these arguments of `open_data` make.

    Raises:
        InputError: one of them is none of those that it may be.
    """
    if isinstance(columns, str):
        raise InputError(f"columns is a list of names; got the string {columns!r}.")
    if size is not None and size < 1:
        raise InputError(f"size must be 1 or more; got {size}.")
    if crop not in ("centre", "random"):
        raise InputError(f"crop is one of centre, random; got {crop!r}.")
    if max_unreadable is not None and max_unreadable < 0:
        raise InputError(f"max_unreadable must be 0 or more; got {max_unreadable}.")
    if schema not in (None, "auto") and not isinstance(schema, Schema):
        raise InputError(f"schema is auto, a Schema or None; got {schema!r}.")
    said = tuple(check_kinds(kinds).items())
    names = None if columns is None else tuple(str(column) for column in columns)
    return Request(
        columns=names,
        size=size,
        levels=levels,
        shape=shape,
        crop=crop,
        max_unreadable=max_unreadable,
        schema="auto" if said and schema is None else schema,
        kinds=said,
    )
