"""What a reader is asked for and what it hands back, before anything is checked or split."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..errors import InputError

if TYPE_CHECKING:
    from .schema import Schema

__all__ = [
    "SPLITS",
    "BrokenFile",
    "Crop",
    "Found",
    "Missing",
    "Part",
    "Request",
    "counted",
    "group_parts",
    "listed",
    "natural",
    "reading",
    "size_of",
    "split_of",
    "stem",
]

SPLITS = ("train", "validation", "test")

Missing = Literal["drop", "raise", "keep"]

Crop = Literal["centre", "random"]

_SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "t10k": "test",
}

_SPLIT_PREFIX = re.compile(r"(train|validation|valid|val|dev|test)(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class Request:
    """What the caller wants of a source; a reader takes from it what concerns its format.

    Attributes:
        columns: the columns to read, in this order; None for every numeric one.
        size: bring encoded images to ``size x size``.
        levels: how many integer levels the values have.
        shape: the event shape of an existing model, which settles every ambiguity of layout.
        missing: what to do with the missing values of a table.
        whole: every row must be read, so an unreadable image is an error, not a note.
        crop: what is cut from an image that is brought to ``size``: its centre, or a place drawn
            by the image's content.
        max_unreadable: how many items may be skipped because they cannot be read.
        schema: read the columns of a table by this, or find out (``auto``) what each of them holds;
            None for numbers alone.
        kinds: what the user says of columns, by name.
    """

    columns: tuple[str, ...] | None = None
    size: int | None = None
    levels: int | None = None
    shape: tuple[int, ...] | None = None
    missing: Missing = "drop"
    whole: bool = False
    crop: Crop = "centre"
    max_unreadable: int | None = 100
    schema: Literal["auto"] | Schema | None = None
    kinds: tuple[tuple[str, str], ...] = ()


@dataclass
class Part:
    """One split of a source: values ``(N, ...)`` in the source's order, and labels ``(N,)``.

    ``keys`` ``(N,)`` uint64 are hashes of the events' content, which draw the splits where a reader
    knows better than the values (the bytes of an image file, before it was resized).
    """

    values: np.ndarray
    labels: np.ndarray | None = None
    keys: np.ndarray | None = None

    def take(self, index: np.ndarray | slice) -> Part:
        """Return the rows that ``index`` selects: values, labels and keys."""
        return Part(
            self.values[index],
            None if self.labels is None else self.labels[index],
            None if self.keys is None else self.keys[index],
        )


@dataclass
class Found:
    """What a reader found.

    Attributes:
        parts: split name -> part. A source without splits of its own is all ``train``.
        columns: names of the columns of rows; None where the source has no names.
        levels: the number of levels, where the format itself tells it.
        splitting: ``hashed``: draw the splits that are lacking by a hash of each event's content;
            ``permuted``: by a seeded permutation; ``tail``: validation is the end of train, as long
            as test; ``fixed``: the splits are final.
        laid_out: values are rows (N, D) or images (N, C, H, W) already, not to be guessed at.
        title: the name of the data set, where messages had better say more (the file's ending).
        schema: what the columns hold, where that was asked for.
        settled: the parts are events of one dtype, checked and divided, perhaps larger than memory.
    """

    name: str
    parts: dict[str, Part]
    columns: tuple[str, ...] | None = None
    levels: int | None = None
    splitting: Literal["hashed", "permuted", "tail", "fixed"] = "hashed"
    laid_out: bool = False
    title: str | None = None
    label_names: tuple[str, ...] | None = None
    missing: tuple[int, ...] | None = None
    notes: list[str] = field(default_factory=list)
    settled: bool = False
    schema: Schema | None = None


class BrokenFile(InputError):
    """A file that cannot be read; one of several may be skipped. ``why`` says it in a few words."""

    def __init__(self, message: str, why: str) -> None:
        super().__init__(message)
        self.why = why


@contextlib.contextmanager
def reading(path: object, kind: str) -> Iterator[None]:
    """Turn whatever a library raises about a broken file into one sentence.

    Keep the body to the library calls that read the file: every exception is taken for the file's.
    """
    try:
        yield
    except (InputError, MemoryError):
        raise
    except PermissionError as error:
        raise InputError(f"cannot read {path}: permission denied.") from error
    except Exception as error:
        said = str(error).strip().splitlines()
        reason = said[0].rstrip(". ") if said else type(error).__name__
        raise BrokenFile(
            f"cannot read {path} as {kind}: {reason}. "
            "Check that the file is whole and that its name tells its format.",
            f"cannot be read as {kind}",
        ) from error


def size_of(path: Path) -> int:
    """Return the bytes of a file; 0 for a link to nothing, which its reader will complain of."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def split_of(word: str) -> str | None:
    """Return the split that a file or folder name stands for: ``val`` -> ``validation``."""
    return _SPLIT_WORDS.get(word.lower())


def group_parts(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """Return the files of a table by split, in natural order.

    Those whose names begin with the word of a split are this split, all others train. Without a
    train file they are simply the data.
    """
    groups: dict[str, list[Path]] = {}
    for path in sorted(paths, key=natural):
        match = _SPLIT_PREFIX.match(path.name)
        groups.setdefault((split_of(match[1]) if match else None) or "train", []).append(path)
    if "train" not in groups:
        return {"train": [path for group in groups.values() for path in group]}
    return groups


def listed(names: Sequence[object], limit: int = 10) -> str:
    """Join names for a message: ``a, b, c and 4 more``."""
    shown = ", ".join(str(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit:,} more"


def counted(count: int, noun: str) -> str:
    """Return ``1 row`` or ``2,000 rows``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def natural(path: Path) -> list[list[str | int]]:
    """Return a sorting key of a path that puts ``part-2`` before ``part-10``."""
    # re.split gives text, digits, text, ...: like is compared with like.
    pieces = [re.split(r"(\d+)", part) for part in path.parts]
    return [[int(s) if i % 2 else s for i, s in enumerate(piece)] for piece in pieces]


def stem(path: Path) -> str:
    """Return the file's name without its endings: ``rows.csv.gz`` -> ``rows``."""
    name = path.name.removesuffix(".gz")
    return Path(name).stem or name
