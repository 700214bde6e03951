"""The processes of one training run: one, or as many as torchrun has started."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from ..errors import LostProcess

__all__ = ["Ranks", "joined", "portion", "speaking"]

_PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others; a long test on one of them must fit in."""


@dataclass(frozen=True)
class Ranks:
    """Which of the run's processes this one is, and how it talks with the others.

    Attributes:
        rank: 0 for the one that prints and writes.
        size: how many there are.
        local: its number on this machine, which picks its GPU.
    """

    rank: int = 0
    size: int = 1
    local: int = 0

    @property
    def lead(self) -> bool:
        """Whether this process prints and writes."""
        return self.rank == 0

    def share(self, value: Any) -> Any:
        """Rank 0's ``value``, on every rank."""
        if self.size == 1:
            return value
        box = [value]
        with speaking():
            dist.broadcast_object_list(box, src=0)
        return box[0]

    def gather(self, value: Any) -> list[Any]:
        """The ``value`` of every rank, in order, on every rank."""
        if self.size == 1:
            return [value]
        box: list[Any] = [None] * self.size
        with speaking():
            dist.all_gather_object(box, value)
        return box

    def add(self, numbers: torch.Tensor) -> torch.Tensor:
        """The sum of ``numbers`` over the ranks, in place."""
        if self.size > 1:
            with speaking():
                dist.all_reduce(numbers)
        return numbers

    def part(self, count: int) -> slice:
        """This rank's share of ``count`` items."""
        return portion(count, self.rank, self.size)


def portion(count: int, index: int, parts: int) -> slice:
    """One of so many parts of ``count`` items: runs whose lengths differ by one at most."""
    return slice(index * count // parts, (index + 1) * count // parts)


@contextlib.contextmanager
def joined() -> Iterator[Ranks]:
    """Join the processes that torchrun has started; alone, there is nothing to join.

    A process group that the caller has set up is used and left as it is.
    """
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if dist.is_available() and dist.is_initialized():
        yield Ranks(dist.get_rank(), dist.get_world_size(), local)
        return
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield Ranks()
        return
    cuda = torch.cuda.is_available() and torch.cuda.device_count() > local
    if cuda:
        torch.cuda.set_device(local)
    with speaking():
        backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
        dist.init_process_group(backend, timeout=_PATIENCE)
    # It stays for the next run of this process: the same processes cannot meet a second time, and
    # to take a group down under what DDP still holds may wait for ever.
    yield Ranks(dist.get_rank(), dist.get_world_size(), local)


_SIGNS = ("gloo", "nccl", "peer", "connection", "timed out", "socket", "store")


@contextlib.contextmanager
def speaking() -> Iterator[None]:
    """Say it in a sentence if another process of the run is gone.

    Raises:
        LostProcess: it is.
    """
    try:
        yield
    except RuntimeError as error:
        if not any(sign in str(error).lower() for sign in _SIGNS):
            raise
        reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else "no reason"
        raise LostProcess(
            f"another process of this run has ended or cannot be reached ({reason}); all of them "
            f"end."
        ) from error
