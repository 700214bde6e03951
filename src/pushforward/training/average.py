"""An exponential moving average of weights, which evaluates better than the weights themselves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

__all__ = ["WeightAverage"]


class WeightAverage:
    r"""The average of the weights of past steps, older ones counting less.

    .. math:: \bar w \leftarrow \bar w + (1 - d_t)(w - \bar w), \qquad
              d_t = \min\left(d, \tfrac{1+t}{10+t}\right)

    The smaller decay of the first steps forgets the starting weights.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.weights = [p for p in module.parameters() if p.requires_grad]
        self.average = [p.detach().clone() for p in self.weights]

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights as they are now into the average."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        current: list[Tensor] = [p.detach() for p in self.weights]
        torch._foreach_lerp_(self.average, current, 1 - decay)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Let the module hold the average for a while."""
        own = [p.detach().clone() for p in self.weights]
        self._write(self.average)
        try:
            yield
        finally:
            self._write(own)

    def state(self) -> dict[str, Tensor]:
        """The average and its age, by name."""
        values = {str(i): value for i, value in enumerate(self.average)}
        return {**values, "steps": torch.tensor(self.steps)}

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        """Go back to what ``state`` gave."""
        self.steps = int(state["steps"])
        for i, value in enumerate(self.average):
            value.copy_(state[str(i)])

    @torch.no_grad()
    def _write(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self.weights, values, strict=True):
            parameter.copy_(value)
