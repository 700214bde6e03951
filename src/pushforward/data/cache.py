"""The folder of sets that were too large for memory: names, locks, what is in it, clearing it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from .found import Request
from .progress import say
from .stream import Stream

__all__ = ["Entry", "cache_folder", "cached", "clear", "entry_of", "locked"]

FORMAT = 3
"""Part of every fingerprint: what another format wrote is built anew."""


@dataclass(frozen=True)
class Entry:
    """One set in the cache.

    Attributes:
        name: its folder, what `clear` calls it.
        source: the file or folder that it was read from.
        bytes: how much it takes on disk.
        events: how many events it holds (so far, if it is not complete).
        used: when it was last opened, in seconds since 1970.
        complete: whether it is ready; a build that was interrupted goes on where it stopped.
    """

    name: str
    source: str
    bytes: int
    events: int
    used: float
    complete: bool


def cache_folder() -> Path:
    """Return ``$PUSHFORWARD_CACHE``, or else ``pushforward`` in ``$XDG_CACHE_HOME``, ``~/.cache``.

    It need not exist.
    """
    if own := os.environ.get("PUSHFORWARD_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pushforward"


def entry_of(
    stream: Stream, request: Request, split_seed: int, fractions: tuple[float, float]
) -> Path:
    """Return the folder for what this request makes of these files, as they are now."""
    files = [(os.path.realpath(file), *_state(file)) for file in stream.files()]
    asked = [FORMAT, files, asdict(request), split_seed, list(fractions)]
    digest = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]
    readable = re.sub(r"[^\w.-]+", "_", stream.name).strip("._")[:40] or "set"
    return cache_folder() / f"{readable}-{digest}"


def _state(file: str) -> tuple[int, int]:
    try:
        state = Path(file).stat()
    except OSError:  # a link to nothing: the reader says what to do about it
        return -1, 0
    return state.st_size, state.st_mtime_ns


@contextlib.contextmanager
def locked(folder: Path, name: str) -> Iterator[None]:
    """Hold the lock of an entry; a process that has to wait for another says so, once.

    The system frees the lock of a process that dies.

    Raises:
        InputError: the cache cannot be written.
    """
    from filelock import Timeout

    lock = _lock(folder)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"Another process is reading {name} into the cache; waiting for it.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _lock(folder: Path) -> Any:
    from filelock import FileLock

    # Beside the entry, not in it, so that the entry can be removed while its lock is held.
    locks = folder.parent / "locks"
    try:
        locks.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot write to the cache {folder.parent}: {error.strerror}. Set PUSHFORWARD_CACHE "
            "to a folder that can be written."
        ) from error
    return FileLock(locks / f"{folder.name}.lock")


def cached() -> list[Entry]:
    """Return what is in the cache, what was used last first."""
    folder = cache_folder()
    if not folder.is_dir():
        return []
    abouts = sorted(folder.glob("*/about.json"))
    entries = [entry for about in abouts if (entry := _entry(about.parent)) is not None]
    return sorted(entries, key=lambda entry: -entry.used)


def _entry(folder: Path) -> Entry | None:
    try:
        about = json.loads((folder / "about.json").read_text("utf-8"))
        complete = (folder / "meta.json").exists()
        state = folder / ("meta.json" if complete else "journal.json")
        events = json.loads(state.read_text("utf-8"))["events"] if state.exists() else {}
        return Entry(
            folder.name,
            about["source"],
            sum(file.stat().st_size for file in folder.iterdir()),
            sum(events.values()),
            (folder / "about.json").stat().st_mtime,
            complete,
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None  # another process is clearing it, or it is none of ours


def touch(folder: Path) -> None:
    """Note that an entry is used now."""
    with contextlib.suppress(OSError):
        os.utime(folder / "about.json", (time.time(),) * 2)


def clear(names: Sequence[str] | None = None) -> list[Entry]:
    """Remove entries by name, or all; return those that are gone.

    What another process is building stays. What a process has open stays readable for it.

    Raises:
        InputError: there is no entry of a name.
    """
    from filelock import Timeout

    entries = {entry.name: entry for entry in cached()}
    for name in names or ():
        if name not in entries:
            raise InputError(f"nothing in the cache is called {name!r}; list what there is first.")
    gone = []
    for name in entries if names is None else dict.fromkeys(names):
        folder = cache_folder() / name
        lock = _lock(folder)
        try:
            with lock.acquire(timeout=0):
                shutil.rmtree(folder)
                gone.append(entries[name])
        except Timeout:
            continue
        except OSError as error:
            raise InputError(f"cannot remove {folder}: {error.strerror}.") from error
    return gone
