"""The folder of a run: what lies in it, and what of that may be taken away again."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

__all__ = [
    "WRITTEN",
    "is_run",
    "newest_step",
    "remove_run",
    "resume_command",
    "saved_facts",
    "shell_path",
]

WRITTEN = "# Written by pushforward"
"""The beginning of every config.yaml of a run."""

_MODEL = ("model.safetensors", "model.safetensors.new", "config.json", "README.md")
_OWN = (
    "config.yaml",
    "metrics.jsonl",
    "history.jsonl",
    "curves.png",
    "samples.png",
    "report.html",
    *(f"best/{name}" for name in _MODEL),
)
_OWN_PATTERNS = (
    "checkpoints/step-*",
    "checkpoints/.step-*",
    "checkpoints/.lock",
    "tensorboard/events.out.tfevents.*",
)


def is_run(folder: Path) -> bool:
    """Whether ``train`` has written its settings to this folder."""
    try:
        with (folder / "config.yaml").open(encoding="utf-8", errors="replace") as file:
            return file.readline().startswith(WRITTEN)
    except OSError:
        return False


def newest_step(folder: Path) -> int | None:
    """The step of the newest checkpoint; None if there is none."""
    names = [path.name for path in (folder / "checkpoints").glob("step-*.safetensors")]
    found = [re.fullmatch(r"step-(\d+)\.safetensors", name) for name in names]
    return max((int(match[1]) for match in found if match), default=None)


def saved_facts(folder: Path) -> dict[str, Any]:
    """What ``best/`` knows of its training, without reading its weights; empty if nothing yet."""
    try:
        content = json.loads((folder / "best" / "config.json").read_text(encoding="utf-8"))
        facts = content["facts"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return facts if isinstance(facts, dict) else {}


def resume_command(folder: Path) -> str:
    """What to type to go on with the run, ready for a shell."""
    processes = os.environ.get("LOCAL_WORLD_SIZE", "1")
    program = "pushforward"
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        program = f"torchrun --nproc-per-node {processes} -m pushforward"
    return f"{program} train --out {shell_path(folder)} --resume"


def shell_path(path: Path) -> str:
    """A path as one types it: quoted where that is needed, a leading ``~`` never."""
    home, rest = ("~/", str(path)[2:]) if str(path).startswith("~/") else ("", str(path))
    return home + shlex.quote(rest)


def remove_run(folder: Path) -> None:
    """Remove what a run, or a model, has written to ``folder``; all other files stay."""
    own = [folder / name for name in (*_OWN, *_MODEL)]
    own += [path for pattern in _OWN_PATTERNS for path in folder.glob(pattern)]
    for path in own:
        if path.is_file() or path.is_symlink():
            path.unlink()
    for name in ("best", "checkpoints", "tensorboard"):
        with contextlib.suppress(OSError):  # not there, or something else is in it
            (folder / name).rmdir()
