"""How much of a run is left: its steps, its time, and what it has been asked meanwhile."""

from __future__ import annotations

import time

import torch

from .ranks import Ranks
from .settings import FitConfig

__all__ = ["Budget"]


class Budget:
    """The limits of a run and what has been used of them; alike on all ranks.

    Attributes:
        max_steps: None if only time limits the run.
        elapsed: seconds of training, of earlier sessions too; all ranks have rank 0's.
        asked: the signal to stop that all ranks know of.
    """

    def __init__(self, config: FitConfig, max_steps: int | None, ranks: Ranks) -> None:
        self.max_steps, self.max_time, self.ranks = max_steps, config.max_time, ranks
        self.elapsed, self.asked = 0.0, ""
        self.before, self.start = 0.0, time.monotonic()
        self.recent = (0, 0.0)

    def begin(self) -> None:
        """Time runs from here."""
        self.start = time.monotonic()

    def resume(self, elapsed: float) -> None:
        """So many seconds were used by earlier sessions."""
        self.before = self.elapsed = elapsed

    def agree(self, loss: float, wish: str) -> float:
        """Bring loss, time and wishes to stop together over the ranks; the whole loss."""
        elapsed = self.before + time.monotonic() - self.start
        if self.ranks.size == 1:
            self.elapsed, self.asked = elapsed, wish
            return loss
        asked = {"": 0, "interrupted": 1, "terminated": 1000}[wish]
        lead = elapsed if self.ranks.lead else 0.0
        told = self.ranks.add(torch.tensor([loss, lead, asked], dtype=torch.float64))
        loss, self.elapsed, wishes = told.tolist()
        if wishes:
            self.asked = "terminated" if wishes >= 1000 else "interrupted"
        return loss

    def spent(self, step: int) -> float:
        """The share that is used up."""
        by_steps = step / self.max_steps if self.max_steps else 0.0
        by_time = self.elapsed / self.max_time if self.max_time else 0.0
        return min(1.0, max(by_steps, by_time))

    def over(self, step: int) -> str:
        """Why there is no further step; empty if there is one."""
        if self.max_steps is not None and step >= self.max_steps:
            return "all steps done"
        if self.max_time is not None and self.elapsed >= self.max_time:
            return "time is up"
        return self.asked

    def mark(self, step: int) -> None:
        """``speed`` counts from here."""
        self.recent = (step, self.elapsed)

    def speed(self, step: int) -> float:
        """Steps per second since the last ``mark``."""
        before, seconds = self.recent
        return (step - before) / max(self.elapsed - seconds, 1e-9)
