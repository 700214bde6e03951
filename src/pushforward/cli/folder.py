"""Where a run is written: never over a run or a model, unless that was asked for."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from ..errors import InputError
from ..jobs.run_folder import is_run, remove_run
from ..training.checkpoint import alone_in

__all__ = ["refuse_taken", "reserved"]


def refuse_taken(out: Path, force: bool) -> None:
    """Say at once, before data are read, if nothing can be saved to ``out``.

    Raises:
        InputError: ``out`` is a file, or holds a run or a model and ``force`` was not given, or
            a file of something else that the run would overwrite.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file; give the name of a folder.")
    run = is_run(out)
    if (out / "config.yaml").exists() and not run:
        raise InputError(
            f"{out / 'config.yaml'} is not of a pushforward run and would be overwritten; give "
            f"another --out."
        )
    models = [path for path in (out / "config.json", out / "best" / "config.json") if path.exists()]
    for path in models:
        if '"pushforward"' not in path.read_text(encoding="utf-8", errors="replace"):
            raise InputError(
                f"{path} is not of a pushforward model and would be overwritten; give another "
                f"--out."
            )
    checkpoints = any((out / "checkpoints").glob("step-*.safetensors"))
    if force or not (run or models or checkpoints):
        return
    if run:
        raise InputError(
            f"{out} already holds a run; give another --out, --resume to go on with it, or --force "
            f"to replace it."
        )
    raise InputError(f"{out} already holds a model; give another --out, or --force to replace it.")


@contextlib.contextmanager
def reserved(out: Path | None, name: str, *, anew: bool = True) -> Iterator[Path]:
    """Make the folder of a run, ``runs/NAME`` or the first free ``runs/NAME-2``, ... by default.

    An earlier run in it is removed, unless that is the one to go on with (``anew`` is False). If
    the run fails before anything has been learned, what was made goes again.

    Raises:
        InputError: the folder cannot be made, or another process is training in it.
    """
    made = out is None or not out.exists()
    try:
        folder = _next_free(name) if out is None else out
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot make the folder {error.filename}: {error.strerror}; give another --out."
        ) from None
    with alone_in(folder):  # fit will hold it again, for as long as it trains
        if anew:
            remove_run(folder)
    try:
        yield folder
    except BaseException:
        if anew and not _has_learned(folder):
            remove_run(folder)
            if made:
                with contextlib.suppress(OSError):  # not empty: it is not ours alone
                    folder.rmdir()
        raise


def _has_learned(folder: Path) -> bool:
    patterns = ("metrics.jsonl", "checkpoints/step-*", "best/config.json")
    return any(path.stat().st_size for pattern in patterns for path in folder.glob(pattern))


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
