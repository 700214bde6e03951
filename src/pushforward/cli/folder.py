"""Where a run is written: never over a model, unless that was asked for."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from ..errors import InputError

__all__ = ["refuse_taken", "reserved"]


def refuse_taken(out: Path, force: bool) -> None:
    """Say at once, before data are read, if nothing can be saved to ``out``.

    Raises:
        InputError: ``out`` is a file, or holds a model and ``force`` was not given, or a
            ``config.json`` of something else.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file; give the name of a folder.")
    config = out / "config.json"
    if not config.exists():
        return
    if '"pushforward"' not in config.read_text(encoding="utf-8", errors="replace"):
        raise InputError(
            f"{config} is not of a pushforward model and would be overwritten; give another --out."
        )
    if not force:
        raise InputError(
            f"{out} already holds a model; give another --out, or --force to replace it."
        )


@contextlib.contextmanager
def reserved(out: Path | None, name: str) -> Iterator[Path]:
    """Make the folder of a run, ``runs/NAME`` or the first free ``runs/NAME-2``, ... by default.

    If the run fails before anything is in it, it goes again.

    Raises:
        InputError: the folder cannot be made.
    """
    made = out is None or not out.exists()
    try:
        folder = _next_free(name) if out is None else out
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot make the folder {error.filename}: {error.strerror}; give another --out."
        ) from None
    try:
        yield folder
    except BaseException:
        if made:
            with contextlib.suppress(OSError):  # not empty: something was saved
                folder.rmdir()
        raise


def _next_free(name: str) -> Path:
    """Make and return the first free folder; two runs that start at once get two."""
    safe = re.sub(r"[^\w.-]+", "-", name).strip(".-") or "run"
    count = 1
    while True:
        folder = Path("runs", safe if count == 1 else f"{safe}-{count}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if Path("runs").is_file():
                raise
            count += 1
        else:
            return folder
