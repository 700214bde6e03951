"""What every reproduction shares: where data lie, how time is taken, how a result is kept.

A result is ``results/<name>.json``; ``table.py`` puts all of them into one page.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from pushforward.files import write_text
from pushforward.jobs.environment import environment

__all__ = [
    "PICTURES",
    "RESULTS",
    "Clock",
    "arguments",
    "data_folder",
    "picture",
    "record",
    "recorded",
    "row",
]

HERE = Path(__file__).parent
RESULTS, PICTURES = HERE / "results", HERE / "pictures"


class Clock:
    """Wall and CPU seconds since it was made, on top of those of earlier sessions."""

    def __init__(self, seconds: float = 0.0, cpu_seconds: float = 0.0) -> None:
        self.before = seconds, cpu_seconds
        self.start = time.perf_counter(), time.process_time()

    @property
    def seconds(self) -> float:
        """Wall seconds."""
        return self.before[0] + time.perf_counter() - self.start[0]

    @property
    def cpu_seconds(self) -> float:
        """Processor seconds of all threads of this process."""
        return self.before[1] + time.process_time() - self.start[1]


def data_folder(given: str | os.PathLike[str] | None) -> Path:
    """The folder with ``mnist/``, ``cifar10/`` and ``tabular/``: given, or PUSHFORWARD_DATA."""
    folder = given or os.environ.get("PUSHFORWARD_DATA")
    if not folder:
        sys.exit("give --data FOLDER, or set PUSHFORWARD_DATA, to the folder that holds mnist/.")
    if not Path(folder).is_dir():
        sys.exit(f"{folder} is no folder; give --data the folder that holds mnist/.")
    return Path(folder)


def row(what: str, published: str, ours: str, note: str = "") -> dict[str, str]:
    """A line of the table: what was measured, theirs, ours, and what to know about it."""
    return {"what": what, "published": published, "ours": ours, "note": note}


def record(
    name: str,
    rows: Sequence[dict[str, str]],
    *,
    protocol: str,
    command: str,
    seed: int | Sequence[int],
    clock: Clock | None,
    figures: dict[str, Any] | None = None,
    pictures: Sequence[Path] = (),
    threads: int | None = None,
) -> Path:
    """Write ``results/<name>.json``, with machine, date and time; returns the file.

    Args:
        name: of the reproduction.
        rows: lines of the table, by ``row``.
        protocol: data, model and training in a few sentences.
        command: the one line that repeats it.
        seed: one or several.
        clock: how long it took; None if it was not run.
        figures: everything else that was measured, ready for JSON.
        pictures: files in ``pictures/``.
        threads: CPU threads; torch's number if None.
    """
    RESULTS.mkdir(exist_ok=True)
    content = {
        "name": name,
        "protocol": " ".join(protocol.split()),
        "command": command,
        "seed": seed,
        "date": datetime.now(UTC).date().isoformat(),
        "seconds": None if clock is None else round(clock.seconds, 1),
        "cpu_seconds": None if clock is None else round(clock.cpu_seconds, 1),
        "threads": threads or torch.get_num_threads(),
        "environment": environment(),
        "rows": list(rows),
        "pictures": [path.name for path in pictures],
        "figures": figures or {},
    }
    path = RESULTS / f"{name}.json"
    write_text(path, json.dumps(content, indent=1) + "\n")
    return path


def recorded(name: str) -> dict[str, Any] | None:
    """What ``record`` wrote; None if there is nothing yet."""
    path = RESULTS / f"{name}.json"
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def picture(name: str) -> Path:
    """Where a picture goes."""
    PICTURES.mkdir(exist_ok=True)
    return PICTURES / name


def arguments(description: str, *, data: bool = True, seed: int = 0) -> argparse.ArgumentParser:
    """A parser with the options that every reproduction has."""
    parser = argparse.ArgumentParser(description=description.strip().splitlines()[0])
    if data:
        parser.add_argument("--data", help="folder with mnist/, cifar10/, tabular/")
    parser.add_argument("--seed", type=int, default=seed)
    parser.add_argument("--threads", type=int, help="CPU threads; torch's own number if not given")
    parser.add_argument("--quick", action="store_true", help="a minute's run that shows it works")
    return parser
