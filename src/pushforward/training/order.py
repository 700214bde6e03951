"""Which events make up the batch of a step: a function of the seed and the step alone.

Nothing has to be remembered to go on in the middle of an epoch, and every process of a run knows
the whole batch of which it takes its part.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Order", "Window", "seed_of"]


def seed_of(*numbers: int) -> int:
    """One seed from several numbers; sequences that differ anywhere give unrelated seeds.

    The finaliser of splitmix64 (Steele et al. 2014), applied number by number.
    """
    state = 0x9E3779B97F4A7C15
    for number in numbers:
        state = (state ^ number) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        state = (state ^ state >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state >> 1  # torch takes 63 bits


@dataclass(frozen=True, eq=False)
class Window:
    """Events that are mixed with one another.

    Attributes:
        events: their positions, block by block.
        mix: the order in which they come, as positions in ``events``.
    """

    events: Tensor
    mix: Tensor


class Order:
    """Random batches for ever, each event once an epoch.

    Sets on disk are shuffled in blocks, so that what is read together lies together: the blocks
    are permuted, and the events of some ``together`` consecutive ones are mixed. With blocks of
    one event this is a plain permutation of all.

    Args:
        n: how many events there are.
        batch_size: events in a batch; the last of an epoch may be smaller, but is left out if it
            is a single event among larger batches, which batch norm could not bear.
        seed: of all permutations.
        block: events that lie together.
        together: blocks that are mixed with one another.
    """

    def __init__(
        self, n: int, batch_size: int, seed: int, *, block: int = 1, together: int = 1024
    ) -> None:
        self.n, self.batch_size, self.seed = n, batch_size, seed
        self.block = block
        self.blocks = -(-n // block)
        self.together = self.blocks if block == 1 else together
        smallest = min(2, batch_size)
        self.per_epoch = max(1, n // batch_size + (n % batch_size >= smallest))
        self._epoch: tuple[int, Tensor, Tensor] | None = None
        self._windows: dict[tuple[int, int], Window] = {}

    def batch(self, step: int) -> Tensor:
        """The positions of the events of a step, counted from 0."""
        parts = [window.events[window.mix[which]] for window, which in self.pieces(step)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def pieces(self, step: int) -> list[tuple[Window, slice]]:
        """The windows that a step takes its events from, and which of the mixed ones it takes."""
        epoch, within = divmod(step, self.per_epoch)
        first = within * self.batch_size
        last = min(first + self.batch_size, self.n)
        starts = self._starts(epoch)
        number = int(torch.searchsorted(starts, first, right=True)) - 1
        parts = []
        while first < last:
            begin, end = int(starts[number]), int(starts[number + 1])
            which = slice(first - begin, min(last, end) - begin)
            parts.append((self._window(epoch, number), which))
            first, number = min(last, end), number + 1
        return parts

    def _starts(self, epoch: int) -> Tensor:
        """Where each window of the epoch begins, and the end of the last."""
        if self._epoch is None or self._epoch[0] != epoch:
            generator = torch.Generator().manual_seed(seed_of(self.seed, epoch))
            order = torch.randperm(self.blocks, generator=generator)
            sizes = torch.full((self.blocks,), self.block)
            sizes[-1] = self.n - (self.blocks - 1) * self.block
            ends = torch.cumsum(sizes[order], 0)
            last = torch.arange(self.together, self.blocks + self.together, self.together)
            ends = ends[last.clamp(max=self.blocks) - 1]
            self._epoch = epoch, order, torch.cat((torch.zeros(1, dtype=ends.dtype), ends))
            self._windows.clear()
        return self._epoch[2]

    def _window(self, epoch: int, number: int) -> Window:
        if (epoch, number) not in self._windows:
            if len(self._windows) >= 2:  # a batch may straddle two
                self._windows.pop(min(self._windows))
            assert self._epoch is not None  # _starts came before
            events = self._epoch[1][number * self.together : (number + 1) * self.together]
            mix = torch.arange(len(events))
            if self.block > 1:
                events = (events[:, None] * self.block + torch.arange(self.block)).flatten()
                events = events[events < self.n]
                generator = torch.Generator().manual_seed(seed_of(self.seed, epoch, number))
                mix = torch.randperm(len(events), generator=generator)
            self._windows[epoch, number] = Window(events, mix)
        return self._windows[epoch, number]
