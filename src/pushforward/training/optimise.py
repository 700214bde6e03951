"""The optimiser of a run, its learning rate, and what regularises the weights."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from .settings import FitConfig

__all__ = ["Rate", "make_optimiser", "optimiser_state", "restore_optimiser"]


def make_optimiser(module: nn.Module, config: FitConfig) -> torch.optim.Optimizer:
    """Adam, AdamW, Adamax or SGD over all weights that learn; matrices and kernels alone decay."""
    weights = [p for p in module.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [{"params": weights, "weight_decay": 0.0}]
    if config.weight_decay:
        decays = {"params": [p for p in weights if p.ndim >= 2]}
        stays = {"params": [p for p in weights if p.ndim < 2], "weight_decay": 0.0}
        groups = [{**decays, "weight_decay": config.weight_decay}, stays]
    betas = config.momentum, 0.999
    if config.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum)
    if config.optimiser == "adamax":
        return torch.optim.Adamax(groups, lr=config.lr, betas=betas)
    kind = torch.optim.Adam if config.optimiser == "adam" else torch.optim.AdamW
    return kind(groups, lr=config.lr, betas=betas, fused=True)


def optimiser_state(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What the optimiser remembers, by ``number of the weight.name``."""
    state = optimiser.state_dict()["state"]
    return {
        f"{index}.{name}": value
        for index, values in state.items()
        for name, value in values.items()
        if isinstance(value, Tensor)
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, saved: dict[str, Tensor]) -> None:
    """Give the optimiser back what ``optimiser_state`` told."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in saved.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value.clone()
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


class Rate:
    """The learning rate of a step.

    .. math:: \\eta = \\eta_0 \\cdot \\min(1, \\tfrac{t + 1}{w + 1}) \\cdot f(s) \\cdot c

    with w the steps of warm-up, s the share of the budget that is spent, f the schedule, and c
    what plateaus and retreats have left: each halves it.

    Attributes:
        factor: c.
        waited: validations since the last best one or the last halving.
    """

    def __init__(self, config: FitConfig) -> None:
        self.config = config
        self.factor = 1.0
        self.waited = 0

    def __call__(self, step: int, spent: float) -> float:
        """The rate of a step, with the share of the budget that is spent."""
        rise = min(1.0, (step + 1) / (self.config.warmup + 1))
        fall = 1.0
        if self.config.schedule == "linear":
            fall = 1.0 - spent
        elif self.config.schedule == "cosine":
            fall = 0.5 * (1 + math.cos(math.pi * spent))
        elif self.config.schedule == "steps":
            fall = 1.0 if spent < 0.5 else 0.1 if spent < 0.75 else 0.01
        return self.config.lr * rise * fall * self.factor

    def halve(self) -> None:
        """From now on half of it."""
        self.factor /= 2
        self.waited = 0

    def validated(self, is_best: bool) -> None:
        """Take note of a validation; on a plateau five without a best halve the rate."""
        self.waited = 0 if is_best else self.waited + 1
        if self.config.schedule == "plateau" and self.waited >= 5:
            self.halve()
