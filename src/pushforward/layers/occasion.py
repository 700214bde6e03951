"""What a forward pass depends on besides its input, so that it can be run once more just so."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Occasion"]

_SETTINGS = ("training", "precision", "group")
"""What a module may carry that changes its result and may be changed before the second pass: its
mode, the conditioner's type (``conditioners_in``), who shares moments (``sharing_statistics``)."""


class Occasion:
    """One forward pass of some modules: ``first`` watches it, ``again`` repeats it.

    Within ``again`` the same modes, types and random numbers (dropout) hold as within ``first``.
    Afterwards the modules' buffers and the random state are what they were before: the running
    averages of a batch norm are updated once.
    """

    def __init__(self, modules: Sequence[nn.Module], device: torch.device) -> None:
        self.device = device
        self.settings: list[tuple[nn.Module, str, Any]] = []
        self.written: list[Tensor] = []
        self.random: list[Tensor] | None = None
        self.modules = modules
        kind = device.type
        self.autocast, self.lower = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)

    @contextlib.contextmanager
    def first(self) -> Iterator[None]:
        """Take note of how things stand, and of what the pass changes."""
        parts = [part for module in self.modules for part in module.modules()]
        self.settings = [(p, n, p.__dict__[n]) for p in parts for n in _SETTINGS if n in p.__dict__]
        buffers = [list(part.buffers(recurse=False)) for part in parts]
        versions = [[buffer._version for buffer in group] for group in buffers]
        random = self._random_state()
        with self._precision():
            yield
        # All of a module's if one was: torch's batch norm does not tell of every write.
        for group, before in zip(buffers, versions, strict=True):
            if [buffer._version for buffer in group] != before:
                self.written += group
        # Most passes draw nothing, and a state is 5 kB.
        drew = any(not torch.equal(a, b) for a, b in zip(random, self._random_state(), strict=True))
        self.random = random if drew else None

    @property
    def coarse(self) -> bool:
        """Whether networks computed in a lower precision than the flow."""
        set_lower = (n == "precision" and value is not None for _, n, value in self.settings)
        return self.autocast or any(set_lower)

    @contextlib.contextmanager
    def again(self) -> Iterator[None]:
        """Let everything be as it was, for a while."""
        present = [(part, name, part.__dict__[name]) for part, name, _ in self.settings]
        kept = [buffer.clone() for buffer in self.written]
        try:
            for part, name, value in self.settings:
                part.__dict__[name] = value
            with self._precision(), self._same_numbers():
                yield
        finally:
            for part, name, value in present:
                part.__dict__[name] = value
            with torch.no_grad():
                for buffer, value in zip(self.written, kept, strict=True):
                    buffer.copy_(value)

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        kind = self.device.type
        if not self.autocast and not torch.is_autocast_enabled(kind):
            return contextlib.nullcontext()
        # Without its cache: weights that were cast without a graph must not be met by others.
        return torch.autocast(kind, self.lower, self.autocast, cache_enabled=False)

    def _random_state(self) -> list[Tensor]:
        states = [torch.get_rng_state()]
        if self.device.type == "cuda":
            states.append(torch.cuda.get_rng_state(self.device))
        return states

    @contextlib.contextmanager
    def _same_numbers(self) -> Iterator[None]:
        if self.random is None:
            yield
            return
        with forked_random(self.device):
            torch.set_rng_state(self.random[0])
            if self.device.type == "cuda":
                torch.cuda.set_rng_state(self.random[1], self.device)
            yield


def forked_random(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Within it, random numbers are drawn as after it."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])
