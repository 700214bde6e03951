"""Encoded images, wherever they lie, as a stream of decoded pieces."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, islice
from typing import TypeVar

import numpy as np

from ..errors import InputError
from .encoded import Item, Items
from .found import Request, counted, listed
from .images import Decoded, Header, Mark, Plan, decode, header
from .stream import Piece, Unreadable

__all__ = ["ImageStream", "skipped", "spoken"]

_BATCH = 256
_CHUNK = 16  # images a thread takes at a time: handing over costs as much as decoding a small one
_THREADS = min(16, 2 + (os.cpu_count() or 1))

T = TypeVar("T")
S = TypeVar("S")


class ImageStream:
    """A `Stream` of encoded images: headers are read first, pixels piece by piece.

    Images have one channel if all are grey, else three; a model's ``request.shape`` decides if it
    asks for more. They are uint8, or uint16 if one of them is 16-bit greyscale. Their keys are
    hashes of the encoded bytes, so that neither ``size`` nor the company they are in moves an
    image from one split to another.

    Attributes:
        counters: how many images were changed, by `Mark`.

    Raises:
        InputError: from everything that needs the headers: no image could be read, sizes differ
            and ``request.size`` is not given, or values have 32 bits. From `pieces`: too many are
            unreadable.
    """

    def __init__(
        self,
        name: str,
        items: Items,
        request: Request,
        label_names: tuple[str, ...] | None = None,
    ) -> None:
        self.name = name
        self.source = items
        self.request = request
        self.splits: tuple[str, ...] = items.splits
        self.columns: tuple[str, ...] | None = None
        self.missing: tuple[int, ...] | None = None
        self.label_names = label_names
        self.unreadable = skipped(request)
        self.counters: dict[str, int] = {}

    def files(self) -> list[str]:
        """The files behind it, whose names, sizes and times say whether the source has changed."""
        return self.source.files()

    @cached_property
    def labelled(self) -> bool:
        """Whether pieces carry labels."""
        return self.source.labelled

    @cached_property
    def items(self) -> dict[str, int] | None:
        """How many items each split has."""
        return self.source.counts()

    @cached_property
    def size(self) -> int:
        """How many bytes all values will take, judged by the first images."""
        wanted = self.request.size
        for item in islice(self._all(), _BATCH):
            seen = _look(item, colour=False)
            if isinstance(seen, Header):
                area = seen.height * seen.width if wanted is None else wanted**2
                depth = (1 if seen.grey else 3) * (2 if seen.deep else 1)
                return area * depth * self.source.estimate()
        return 0

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """The event shape ``(C, H, W)``."""
        size, seen = self.request.size, self._survey
        height, width = next(iter(seen.sizes)) if size is None else (size, size)
        return (self._plan.channels, height, width)

    @cached_property
    def dtype(self) -> np.dtype:
        """Uint8, or uint16 where an image has 16 bits."""
        return np.dtype(np.uint16 if self._plan.deep else np.uint8)

    @cached_property
    def levels(self) -> int | None:
        """256, or 65,536."""
        return 65536 if self._plan.deep else 256

    @property
    def notes(self) -> list[str]:
        """What the user should know; final when all pieces have been read."""
        return [*self.source.notes, *self._remarks()]

    @cached_property
    def _plan(self) -> Plan:
        channels = 3 if self._survey.colour else 1
        return Plan(channels, self._survey.deep > 0, self.request.size, self.request.crop)

    def _all(self) -> Iterator[Item]:
        return chain.from_iterable(self.source.read(split, 0) for split in self.splits)

    @cached_property
    def _survey(self) -> _Survey:
        asked = self.request.shape
        survey = _Survey(colour=asked is not None and len(asked) == 3 and asked[0] == 3)

        def look(item: Item) -> Header | str:
            return _look(item, colour=not survey.colour)

        for batch, headers in _in_threads(look, self._all()):
            survey.add(batch, headers)
        survey.check(self.name, self.request.size)
        return survey

    def pieces(self, split: str, start: int = 0) -> Iterator[Piece]:
        """Read a split from item ``start`` on, always in the same order."""
        plan = self._plan

        def bring(item: Item) -> Decoded | str:
            return item.fault or decode(item.encoded, plan)

        for batch, decoded in _in_threads(bring, self.source.read(split, start)):
            yield self._piece(batch, decoded)

    def _piece(self, batch: Sequence[Item], decoded: Sequence[Decoded | str]) -> Piece:
        good: list[Decoded] = []
        labels: list[int] = []
        for item, image in zip(batch, decoded, strict=True):
            if isinstance(image, str):
                self.unreadable.add(f"{item.name} ({image})")
                continue
            if image.pixels.shape != self.shape:  # an orientation that PNG tells behind the pixels
                raise InputError(
                    f"{item.name} is {spoken(image.pixels.shape)}, not {spoken(self.shape)} as "
                    "its header said. Pass size, or save it anew."
                )
            for mark in image.marks:
                self.counters[mark] = self.counters.get(mark, 0) + 1
            good.append(image)
            labels.append(item.label)
        values = np.empty((len(good), *self.shape), self.dtype)
        for i, image in enumerate(good):
            values[i] = image.pixels
        return Piece(
            values,
            np.array(labels, np.int64) if self.labelled else None,
            np.array([image.key for image in good], np.uint64),
            sum(item.read for item in batch),
        )

    def _remarks(self) -> Iterator[str]:
        if self._plan.deep:
            yield "16-bit images were read with 65,536 levels."
        said: dict[Mark, str] = {
            "widened": "{} of 8 bits multiplied by 257, to be as deep as the others.",
            "cut": "{} of 16-bit colour cut to 8 bits, which is all that Pillow reads of it.",
            "alpha": "{} with transparency laid on white.",
        }
        if grey := self.counters.get("grey"):
            yield f"{counted(grey, 'grey image')} converted to RGB."
        for mark, sentence in said.items():
            if count := self.counters.get(mark):
                yield sentence.format(counted(count, "image"))
        if moving := self.counters.get("moving"):
            said_of = counted(moving, "image")
            yield f"Of {said_of} with several frames or pages only the first was taken."


@dataclass
class _Survey:
    """What the headers of all images say; ``colour`` is what is asked for to begin with."""

    colour: bool
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    deep: int = 0
    unreadable: list[str] = field(default_factory=list)

    def add(self, items: Sequence[Item], headers: Sequence[Header | str]) -> None:
        for item, seen in zip(items, headers, strict=True):
            if isinstance(seen, str):
                if len(self.unreadable) < 10:
                    self.unreadable.append(f"{item.name} ({seen})")
                continue
            self.sizes[seen.height, seen.width] += 1
            self.colour |= seen.grey is False
            self.deep += seen.deep

    def check(self, name: str, size: int | None) -> None:
        if not self.sizes:
            named = f": {listed(self.unreadable)}" if self.unreadable else ""
            raise InputError(f"no image of {name} could be read{named}.")
        if len(self.sizes) == 1 or size is not None:
            return
        said = [f"{width}x{height} ({n:,})" for (height, width), n in self.sizes.most_common()]
        smallest = min(min(size) for size in self.sizes)
        raise InputError(
            f"the images differ in size: {listed(said, 5)}. Pass size, for example "
            f"size={smallest}, to resize the shorter side and crop."
        )


def skipped(request: Request) -> Unreadable:
    """Return the count of unreadable images, with the limit that ``request`` sets."""
    return Unreadable("image", 0 if request.whole else request.max_unreadable)


def spoken(shape: Sequence[int]) -> str:
    """Return ``32x24 in 3 channels`` for ``(3, 24, 32)``."""
    return f"{shape[2]}x{shape[1]} in {counted(shape[0], 'channel')}"


def _look(item: Item, *, colour: bool) -> Header | str:
    return item.fault or header(item.encoded, item.name, colour=colour)


def _in_threads(
    work: Callable[[S], T], items: Iterable[S]
) -> Iterator[tuple[Sequence[S], Sequence[T]]]:
    """Do ``work`` on items, on all cores and in their order, in batches."""

    def several(chunk: Sequence[S]) -> list[T]:
        return [work(item) for item in chunk]

    todo = iter(items)
    with ThreadPoolExecutor(_THREADS) as pool:
        while batch := list(islice(todo, _BATCH)):
            chunks = [batch[i : i + _CHUNK] for i in range(0, len(batch), _CHUNK)]
            # Filters of warnings are global: they are back in place before anybody else goes on.
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore"
                )  # Pillow on odd metadata; the pixels are what counts
                done = list(chain.from_iterable(pool.map(several, chunks)))
            yield batch, done
