"""Read a stream into a folder of the cache, so that it can be stopped at any moment and goes on."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import InputError
from ..files import write_bytes, write_text
from .events import expect, settle
from .found import SPLITS, Found, Part, Request, listed
from .mapped import mapped
from .progress import Telling
from .remarks import note_columns
from .splitting import DRAWN, draw, hashes, lacking, places
from .stream import Piece, Stream, all_notes, none_read

__all__ = ["build"]

_EVERY = 5.0  # seconds between two journals


@dataclass
class _Journal:
    """How far a build is. What the files hold beyond ``bytes`` was written after it.

    Attributes:
        bytes: file -> how long it is.
        read: split of the source -> items read.
        events: split -> events written.
        counters, skipped, first: the stream's own, and its tally of unreadable items.
        decided: the splits of all events stand in ``splits.bin``, because hashes left one empty.
        like: shape, dtype, levels, columns and whether there are labels.
    """

    bytes: dict[str, int] = field(default_factory=dict)
    read: dict[str, int] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    counters: dict[str, int] = field(default_factory=dict)
    skipped: int = 0
    first: list[str] = field(default_factory=list)
    decided: bool = False
    like: dict[str, Any] = field(default_factory=dict)


def build(
    folder: Path,
    stream: Stream,
    request: Request,
    split_seed: int,
    fractions: tuple[float, float],
) -> None:
    """Write the splits of a stream as raw files and, last of all, ``meta.json``.

    The caller holds the lock of the folder. A journal is kept: after a kill, a full disk or an
    error the next build goes on from it, and ends with the same bytes.

    Raises:
        InputError: the stream cannot be read, does not fit the request, or the disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        about = {"name": stream.name, "source": _source(stream)}
        write_text(folder / "about.json", json.dumps(about))
        _Build(folder, stream, request, split_seed, fractions).run()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(
                f"cannot read {stream.name} into the cache {folder}: {error.strerror or error}. "
                "Set PUSHFORWARD_CACHE to another place."
            ) from error
        raise InputError(
            f"the disk of {folder} is full; what was read of {stream.name} stays there, and the "
            "next run goes on from it. Free some space, or set PUSHFORWARD_CACHE to another place."
        ) from error


def _source(stream: Stream) -> str:
    files = stream.files()
    return str(Path(files[0] if len(files) == 1 else os.path.commonpath(files)).absolute())


class _Build:
    def __init__(
        self,
        folder: Path,
        stream: Stream,
        request: Request,
        seed: int,
        fractions: tuple[float, float],
    ) -> None:
        self.folder, self.stream, self.request, self.seed = folder, stream, request, seed
        self.splits = stream.splits if "train" in stream.splits else ("train",)
        self.shares = lacking(self.splits, fractions)
        self.files: dict[str, BinaryIO] = {}
        self.decided: np.ndarray | None = None

    def run(self) -> None:
        stream = self.stream
        with Telling(self._start()) as telling:
            items = stream.items  # may take long
            telling.total = None if items is None else sum(items.values())
            unreadable = stream.unreadable
            self.fresh = dict(stream.counters), unreadable.count, list(unreadable.first)
            self.journal = self._resumed() or _Journal()
            self._check_room()
            self._read(telling)
            self._check_parts()
            if self._one_is_empty():
                self._decide()
                self._read(telling)
            self._finish()
            telling.end(f"Read {sum(self.journal.events.values()):,} events into the cache.")

    def _start(self) -> str:
        size, place = _in_units(self.stream.size), self.folder.parent
        free = _in_units(shutil.disk_usage(self.folder).free)
        return (
            f"Reading {self.stream.name} into the cache, once: about "
            f"{size} in {place}, where {free} are free."
        )

    def _resumed(self) -> _Journal | None:
        """Return the journal of an earlier build, if there is one and its files are whole."""
        try:
            text = (self.folder / "journal.json").read_text("utf-8")
            journal = _Journal(**json.loads(text))
            sizes = {name: (self.folder / name).stat().st_size for name in journal.bytes}
        except (OSError, ValueError, TypeError):
            return None
        if any(sizes[name] < size for name, size in journal.bytes.items()):
            return None
        if journal.decided:
            self.decided = np.fromfile(self.folder / "splits.bin", np.int8)
        self.stream.counters.update(journal.counters)
        self.stream.unreadable.count = journal.skipped
        self.stream.unreadable.first[:] = journal.first
        return journal

    def _check_room(self) -> None:
        needed = max(self.stream.size - sum(self.journal.bytes.values()), 0)
        free, place = shutil.disk_usage(self.folder).free, self.folder.parent
        if needed > free:
            raise InputError(
                f"reading {self.stream.name} into the cache takes about {_in_units(needed)}, but "
                f"{place} has {_in_units(free)} free. Free some space, or set PUSHFORWARD_CACHE to "
                "another place."
            )

    def _read(self, telling: Telling) -> None:
        journal, stream = self.journal, self.stream
        saved = time.monotonic()
        try:
            for split in stream.splits:
                for piece in stream.pieces(split, journal.read.get(split, 0)):
                    self._add(split if split in self.splits else "train", piece)
                    journal.read[split] = journal.read.get(split, 0) + piece.read
                    telling.at(sum(journal.read.values()))
                    if time.monotonic() - saved >= _EVERY:
                        self._save()
                        saved = time.monotonic()
            self._save()
        finally:
            for file in self.files.values():
                with contextlib.suppress(OSError):
                    file.close()
            self.files.clear()

    def _add(self, split: str, piece: Piece) -> None:
        """Write the events of a piece to the files of their splits."""
        if not len(piece.values):
            return
        found = Found(
            self.stream.name,
            {"train": Part(piece.values, piece.labels, piece.keys)},
            columns=self.stream.columns,
            levels=self.stream.levels,
            splitting="fixed",
            laid_out=True,
        )
        settle(found, self.request)
        expect(found, self.request)
        part = found.parts["train"]
        self.journal.like = {
            "shape": part.values.shape[1:],
            "dtype": part.values.dtype.str,
            "levels": found.levels,
            "columns": found.columns,
            "labelled": part.labels is not None,
        }
        if split != "train" or not self.shares:
            self._write(split, part)
            return
        schema = getattr(self.stream, "schema", None)  # tables have one
        keys = hashes(part.values, schema) if piece.keys is None else piece.keys
        numbers = places(keys, self.shares, self.seed)
        if self.decided is not None:
            at = self.journal.bytes.get("keys.bin", 0) // 8
            numbers = self.decided[at : at + len(keys)]
        self._append("keys.bin", keys)
        for number, name in enumerate(DRAWN):
            self._write(name, part.take(np.flatnonzero(numbers == number)))

    def _write(self, split: str, part: Part) -> None:
        self._append(f"{split}.bin", part.values)
        if part.labels is not None:
            self._append(f"{split}.labels", part.labels.astype(np.int64, copy=False))
        self.journal.events[split] += len(part.values)

    def _append(self, name: str, values: np.ndarray) -> None:
        size = self.journal.bytes.setdefault(name, 0)
        if name not in self.files:
            path = self.folder / name
            file = path.open("r+b" if path.exists() else "w+b")
            file.truncate(size)  # what an interrupted build wrote after its journal
            file.seek(size)
            self.files[name] = file
        if len(values):
            self.files[name].write(np.ascontiguousarray(values).data)
            self.journal.bytes[name] = size + values.nbytes

    def _save(self) -> None:
        """Make what was written durable, then say so in the journal."""
        for file in self.files.values():
            file.flush()
            os.fsync(file.fileno())
        journal, stream = self.journal, self.stream
        journal.counters = dict(stream.counters)
        journal.skipped, journal.first = stream.unreadable.count, list(stream.unreadable.first)
        write_text(self.folder / "journal.json", json.dumps(asdict(journal)))

    def _check_parts(self) -> None:
        if not self.journal.like:
            raise none_read(self.stream)
        drawn = {split: split if split in self.splits else "train" for split in SPLITS}
        full = {drawn[split] for split, count in self.journal.events.items() if count}
        if empty := [split for split in self.splits if split not in full]:
            name = self.stream.name
            raise InputError(f"{name} holds no data: its {listed(empty)} part has zero rows.")

    def _one_is_empty(self) -> bool:
        if self.decided is not None or not self.shares:
            return False
        events = self.journal.events
        enough = sum(events[split] for split in DRAWN if split in {*self.shares, "train"}) >= 10
        return not events["train"] or (enough and any(not events[split] for split in self.shares))

    def _decide(self) -> None:
        """Draw the splits with all keys at hand, and read once more from the start.

        Rare: it takes few events, or a tiny share, for the hashes to leave a split empty.
        """
        path = self.folder / "keys.bin"
        keys = np.fromfile(path, np.uint64) if path.exists() else np.empty(0, np.uint64)
        self.decided = draw(keys, self.shares, self.seed)
        write_bytes(self.folder / "splits.bin", self.decided.tobytes())
        counters, count, first = self.fresh
        self.stream.counters.clear()
        self.stream.counters.update(counters)
        self.stream.unreadable.count = count
        self.stream.unreadable.first[:] = first
        self.journal = _Journal(decided=True)
        self._save()

    def _finish(self) -> None:
        """Write ``meta.json``, which makes the entry complete, and tidy up."""
        meta = {
            "name": self.stream.name,
            **self.journal.like,
            "events": self.journal.events,
            "label_names": self.stream.label_names,
            "missing": self.stream.missing,
            "notes": all_notes(self.stream),
        }
        schema = getattr(self.stream, "schema", None)  # tables have one
        if schema is not None:
            meta["schema"] = schema.to_json()
        found = mapped(self.folder, meta)
        if len(meta["shape"]) == 1:
            note_columns(found, found.parts)
        meta["notes"] = found.notes
        write_text(self.folder / "meta.json", json.dumps(meta))
        needless = [self.folder / name for name in ("journal.json", "keys.bin", "splits.bin")]
        for path in (*needless, *self.folder.glob(".*.tmp-*")):  # the latter of killed builds
            path.unlink(missing_ok=True)


def _in_units(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"
