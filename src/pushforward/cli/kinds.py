"""The kinds of columns as they are said on the command line."""

from __future__ import annotations

from ..errors import InputError

__all__ = ["read_kinds"]


def read_kinds(text: str, option: str = "--kinds") -> dict[str, str]:
    """Read ``age=number,city=category``; which kinds there are is for the reader of data to say.

    Raises:
        InputError: no name or no kind in a part.
    """
    kinds = {}
    for item in text.split(","):
        name, _, kind = (part.strip() for part in item.rpartition("="))
        if not name or not kind:
            raise InputError(
                f"{option} takes columns and their kinds, as age=number,city=category; got "
                f"{item!r}."
            )
        kinds[name] = kind
    return kinds
