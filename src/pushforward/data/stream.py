"""Sources that are read piece by piece, so that they need not fit into memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ..errors import InputError
from .found import counted, listed

__all__ = ["Piece", "Stream", "Unreadable", "all_notes", "none_read"]


@dataclass
class Piece:
    """Some events of a source, in its order.

    Attributes:
        values: ``(n, *shape)`` in the dtype of the stream.
        labels: ``(n,)`` int64, or None where the stream has none.
        keys: ``(n,)`` uint64, a hash of each event's content that decides its split; None lets
            the values themselves be hashed.
        read: how many items of the source went into it, unreadable and incomplete ones included:
            reading goes on at ``start + read``.
    """

    values: np.ndarray
    labels: np.ndarray | None = None
    keys: np.ndarray | None = None
    read: int = 0


class Stream(Protocol):
    """What a reader of large sources offers; looking at the header costs little, pieces cost more.

    Attributes:
        name: what messages call the source.
        splits: the splits that it brings; ``("train",)`` where they are to be drawn.
        columns, label_names, missing, notes: as in ``Found``. ``notes`` and ``missing`` are final
            once all pieces have been read.
        labelled: whether pieces carry labels.
        unreadable: what was skipped so far; ``gather`` and ``store`` note it at the end.
        counters: numbers that ``notes`` and ``missing`` are made of, kept up while reading (grey
            images so far, say). A build that was interrupted puts the saved numbers back before it
            reads on.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def splits(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def dtype(self) -> np.dtype: ...  # noqa: D102
    @property
    def levels(self) -> int | None: ...  # noqa: D102
    @property
    def columns(self) -> tuple[str, ...] | None: ...  # noqa: D102
    @property
    def label_names(self) -> tuple[str, ...] | None: ...  # noqa: D102
    @property
    def missing(self) -> tuple[int, ...] | None: ...  # noqa: D102
    @property
    def notes(self) -> list[str]: ...  # noqa: D102
    @property
    def labelled(self) -> bool: ...  # noqa: D102
    @property
    def size(self) -> int: ...  # noqa: D102
    @property
    def items(self) -> dict[str, int] | None: ...  # noqa: D102

    unreadable: Unreadable
    counters: dict[str, int]

    def pieces(self, split: str, start: int = 0) -> Iterator[Piece]:
        """Read a split from item ``start`` on, always in the same order and in the same pieces."""
        ...

    def files(self) -> list[str]:
        """The files behind it, whose names, sizes and times say whether the source has changed."""
        ...


@dataclass
class Unreadable:
    """Items that could not be read: counted, the first ten named, up to a limit.

    Attributes:
        noun: what an item is called, such as ``image`` or ``row``.
        limit: how many may be skipped; None for any number.
    """

    noun: str
    limit: int | None = 100
    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, item: str) -> None:
        """Skip an item; ``item`` says which it is and what is wrong with it.

        Raises:
            InputError: this is one too many.
        """
        self.count += 1
        if len(self.first) < 10:
            self.first.append(item)
        if self.limit is not None and self.count > self.limit:
            way = "Repair or remove them, or allow more with max_unreadable."
            if self.limit == 0:
                way = "Repair or remove it, or allow some with max_unreadable."
            raise InputError(
                f"more than {counted(self.limit, f'unreadable {self.noun}')}: "
                f"{listed(self.first)}. {way}"
            )

    def note(self) -> str | None:
        """One sentence for the user, or None if all could be read."""
        if not self.count:
            return None
        named = listed(self.first)
        if self.count > len(self.first):
            named += f" and {self.count - len(self.first):,} more"
        return f"{counted(self.count, f'unreadable {self.noun}')} skipped: {named}."


def all_notes(stream: Stream) -> list[str]:
    """Return the notes of a stream that was read to its end, and what was skipped."""
    skipped = stream.unreadable.note()
    notes = stream.notes
    return [*([skipped] if skipped and skipped not in notes else []), *notes]


def none_read(stream: Stream) -> InputError:
    """Return the error for a stream without a single readable event."""
    skipped = f": {listed(stream.unreadable.first)}" if stream.unreadable.count else ""
    return InputError(f"no {stream.unreadable.noun} of {stream.name} could be read{skipped}.")
