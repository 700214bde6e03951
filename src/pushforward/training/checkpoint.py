"""The whole state of a run in one file, so that it goes on as if it had never stopped.

A checkpoint is a safetensors file whose metadata hold everything that is no tensor, as JSON. It is
written aside and renamed, so that it is there whole or not at all; the last two are kept.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from ..errors import InputError
from ..files import writing

__all__ = ["Checkpoint", "alone_in", "list_checkpoints", "newest_checkpoint", "write_checkpoint"]

_FORMAT = 1
_KEPT = 2
_NAME = re.compile(r"step-(\d+)\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """What a run was at a step.

    Attributes:
        tensors: weights, optimiser, averages, best weights, by ``part.name``.
        facts: the rest: step, records, settings and so on, ready for JSON.
    """

    tensors: dict[str, Tensor]
    facts: dict[str, Any]

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors of one part, by their own names."""
        start = f"{name}."
        return {k.removeprefix(start): v for k, v in self.tensors.items() if k.startswith(start)}


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a run's folder, for two runs in one would take each other's checkpoints for their own.

    The system frees the lock of a process that dies.

    Raises:
        InputError: another process is training there, or the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / "checkpoints" / ".lock")
    try:
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(
            f"another process is training in {folder}; wait for it, or give another folder."
        ) from None
    except OSError as error:
        raise InputError(
            f"cannot write to {folder}: {error.strerror}. Choose another folder."
        ) from None
    try:
        yield
    finally:
        lock.release()


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run's folder, the newest last."""
    found = [path for path in (folder / "checkpoints").glob("step-*") if _NAME.fullmatch(path.name)]
    return sorted(found, key=_step)


def _step(path: Path) -> int:
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else -1


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint under ``folder/checkpoints``; then let all but the last two go.

    Raises:
        InputError: the disk will not take it; the checkpoints before are untouched.
    """
    tensors = {k: v.detach().cpu().contiguous() for k, v in checkpoint.tensors.items()}
    facts = {**checkpoint.facts, "format": _FORMAT, "checksum": _checksum(tensors)}
    path = folder / "checkpoints" / f"step-{checkpoint.facts['step']:08}.safetensors"
    with writing(path) as temporary:
        try:
            safetensors.torch.save_file(tensors, temporary, {"run": json.dumps(facts)})
        except safetensors.SafetensorError as error:  # it wraps what the disk said
            raise _as_os_error(error) from error
    others = [other for other in list_checkpoints(folder) if other != path]
    # One of a later step is of a future that did not come about: the run went on from before it.
    later = [other for other in others if _step(other) > _step(path)]
    for old in [*later, *[other for other in others if other not in later][: 1 - _KEPT]]:
        with contextlib.suppress(OSError):
            old.unlink()
    return path


def newest_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that can be read, and a sentence for each newer one that cannot.

    What a killed process left half written is removed.

    Raises:
        InputError: there are checkpoints, but none can be read.
    """
    for stale in (folder / "checkpoints").glob(".step-*.tmp-*"):
        with contextlib.suppress(OSError):
            stale.unlink()
    said: list[str] = []
    paths = list_checkpoints(folder)
    for path in reversed(paths):
        try:
            return _read(path), said
        except _Damaged as error:
            said.append(f"{path} {error}; going on from the one before.")
    if paths:
        raise InputError(
            f"none of the checkpoints in {paths[0].parent} can be read: {said[-1].split(';')[0]}. "
            f"Start anew in another folder."
        )
    return None, said


class _Damaged(Exception):
    """What is wrong with a checkpoint, to go after its name."""


def _read(path: Path) -> Checkpoint:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["run"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, ValueError, KeyError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise _Damaged(f"cannot be read ({reason})") from None
    if facts.get("format", 0) > _FORMAT:
        raise InputError(f"{path} was written by a newer pushforward. Update pushforward.")
    if facts.pop("checksum", None) != _checksum(tensors):
        raise _Damaged("is damaged (its checksum does not agree)")
    return Checkpoint(tensors, facts)


def _checksum(tensors: dict[str, Tensor]) -> int:
    total = 0
    for key in sorted(tensors):
        total = zlib.crc32(key.encode(), total)
        total = zlib.crc32(tensors[key].flatten().numpy().view("u1").data, total)
    return total


def _as_os_error(error: Exception) -> Exception:
    match = re.search(r"\(os error (\d+)\)", str(error))
    return OSError(int(match[1]), os.strerror(int(match[1]))) if match else error
