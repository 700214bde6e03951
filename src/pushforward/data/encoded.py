"""Where encoded images come from: files of a folder, rows of Parquet, members of a tar."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

__all__ = ["Item", "Items"]


@dataclass(frozen=True)
class Item:
    """One encoded image of a source.

    Attributes:
        encoded: the file or its content; None where the source has none.
        name: what messages call it.
        label: -1 where it has none.
        fault: why it cannot be read, where that is known already.
        read: how many items of the source it stands for: all the rows of a damaged block, say.
    """

    encoded: bytes | Path | None
    name: str
    label: int = -1
    fault: str | None = None
    read: int = 1


class Items(Protocol):
    """Where encoded images come from, in an order that never changes.

    Nothing is to be listed before it is asked for: a source that is cached is only asked for
    ``splits``, ``files`` and ``estimate``.
    """

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that the source brings; ``("train",)`` where it has none."""
        ...

    @property
    def labelled(self) -> bool:
        """Whether items carry labels."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What the user should know about it."""
        ...

    def estimate(self) -> int:
        """How many items there are in all, roughly."""
        ...

    def counts(self) -> dict[str, int]:
        """How many items each split has."""
        ...

    def read(self, split: str, start: int) -> Iterator[Item]:
        """Read a split from item ``start`` on."""
        ...

    def files(self) -> list[str]:
        """The files behind it."""
        ...
