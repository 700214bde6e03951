"""``cache``: the decoded data that are kept on the disk, and how to be rid of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError

if TYPE_CHECKING:
    from ..data.cache import Entry

__all__ = ["cache", "size_text"]


def cache(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="With --clear: only these.", show_default=False),
    ] = None,
    clear: Annotated[
        bool, typer.Option("--clear", help="Remove the entries that are named.")
    ] = False,
    clear_all: Annotated[bool, typer.Option("--clear-all", help="Remove every entry.")] = False,
) -> None:
    """List the data sets that are kept decoded on the disk, or remove some.

    Example: pushforward cache

    Example: pushforward cache --clear photos

    Nothing is lost by removing an entry: it is made again from its source when that is opened
    next. Entries are in the folder that the environment variable PUSHFORWARD_CACHE names.
    """
    from ..data import cache as kept
    from .output import say, table

    if clear and clear_all:
        raise InputError("--clear removes what is named and --clear-all everything; give one.")
    if names and not clear:
        raise InputError(f"to remove entries, write: pushforward cache --clear {' '.join(names)}")
    entries = kept.cached()
    if clear and not names:
        raise InputError(f"--clear takes names ({_listed(entries)}); --clear-all removes all.")
    if clear or clear_all:
        chosen = [entry.name for entry in entries]
        if names:
            chosen = list(dict.fromkeys(one for name in names for one in _called(name, entries)))
        gone = kept.clear(chosen)
        freed = size_text(sum(entry.bytes for entry in gone))
        say(f"{len(gone):,} entr{'y' if len(gone) == 1 else 'ies'} removed, {freed} freed")
        for name in sorted(set(chosen) - {entry.name for entry in gone}):
            say(f"{name} stays: another process is building it now")
        return
    if not entries:
        say(f"nothing is kept in {kept.cache_folder()}")
        return
    table(
        ["name", "size", "events", "last used", "source"],
        [
            [
                entry.name,
                size_text(entry.bytes),
                f"{entry.events:,}" if entry.complete else "unfinished",
                f"{datetime.fromtimestamp(entry.used):%Y-%m-%d %H:%M}",
                entry.source,
            ]
            for entry in entries
        ],
        left=(0, 4),
        whole=(0,),
    )
    say(f"\n{size_text(sum(entry.bytes for entry in entries))} in {kept.cache_folder()}")


def _called(name: str, entries: Sequence[Entry]) -> list[str]:
    """The entries of this name; what follows the last hyphen of theirs may be left out."""
    found = [e.name for e in entries if name in (e.name, e.name.rpartition("-")[0])]
    if not found:
        raise InputError(f"the cache has no entry {name!r}; it has {_listed(entries)}.")
    return found


def _listed(entries: Sequence[Entry]) -> str:
    return ", ".join(entry.name for entry in entries) or "none"


def size_text(size: float) -> str:
    """``512 B``, ``3.4 MiB``, ``120 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.3g} {unit}" if size < 100 else f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:,.3g} TiB"
