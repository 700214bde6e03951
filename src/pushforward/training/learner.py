"""The gradient of a batch and the step along it: the flow, its optimiser, its average."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..layers import Noisy
from ..model import Model
from ..models.realnvp_paper import paper_decayed
from ..scoring import in_unit
from .average import WeightAverage
from .feed import Batch
from .optimise import make_optimiser, optimiser_state, restore_optimiser
from .order import seed_of
from .ranks import Ranks, portion
from .settings import FitConfig

__all__ = ["Learner", "reseed", "take_apart"]


class _Objective(nn.Module):
    """The model's objective as a module's call, which is what DDP and torch.compile wrap."""

    def __init__(self, flow: Model) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        # The data have been checked once; a look at every batch would cost a wait on GPUs.
        return self.flow.objective(x, context)


class Learner:
    """Everything that a training step changes, of a model with one objective.

    All that is random in a step (dequantisation, dropout) is drawn by seeds of its own, so that
    a step depends on the weights and its number alone.
    """

    loss_name = "train"
    """What the loss of a step is called in the records of a run."""

    def __init__(self, flow: Model, config: FitConfig, ranks: Ranks) -> None:
        self.flow, self.config, self.ranks = flow, config, ranks
        objective: nn.Module = _Objective(flow)
        if ranks.size > 1:  # rank 0's weights go to all
            from torch.nn.parallel import DistributedDataParallel

            with warnings.catch_warnings():  # the argument's new name is not in torch 2.11
                warnings.simplefilter("ignore", FutureWarning)
                self.shared = DistributedDataParallel(objective, broadcast_buffers=False)
            objective = self.shared
        self.objective = torch.compile(objective) if config.compile else objective
        self.weights = [p for p in flow.parameters() if p.requires_grad]
        self.optimiser = make_optimiser(flow, config)
        self.average = WeightAverage(flow, config.ema) if config.ema else None
        self.scale = float(in_unit(flow, 1.0))
        self.decayed = paper_decayed(flow) if config.l2 else []
        self.noisy = [m for m in flow.modules() if isinstance(m, Noisy)]

    def gradient(self, batch: Batch, step: int) -> tuple[float, Tensor]:
        """Leave the gradient of the whole batch's mean loss in the weights.

        Returns:
            this rank's share of the loss, in its unit, and the norm of the common gradient.
        """
        reseed(self.flow, self.config.seed, step, self.ranks.rank)
        self.optimiser.zero_grad(set_to_none=True)
        total = torch.zeros((), dtype=torch.float64)
        mine = batch.part(self.ranks.part(len(batch)))
        for number, part in enumerate(self._parts(mine)):
            for layer in self.noisy:
                draw = step * self.config.accumulate + number
                layer.passes.fill_((self.config.seed << 32) + draw)
            last = number == self.config.accumulate - 1
            quiet = self.ranks.size > 1 and not last
            with self.shared.no_sync() if quiet else contextlib.nullcontext():
                loss = self.objective(part.x, part.context).sum() * (self.scale / len(batch))
                # DDP takes the mean over the ranks; the loss is a sum over their shares.
                (loss * self.ranks.size).backward()
            total += loss.detach().double().cpu()
        for weight in self.decayed:  # the paper's penalty: l2 times a sum of squares, in nats
            if weight.grad is not None:
                weight.grad.add_(weight.detach(), alpha=2 * self.config.l2 * -self.scale)
        gradients = [p.grad for p in self.weights if p.grad is not None]
        return float(total), nn.utils.get_total_norm(gradients)

    def step(self, rate: float, clip: float, norm: Tensor) -> None:
        """Follow the gradient, no longer than ``clip``."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        moved = [p for p in self.weights if p.grad is not None]
        nn.utils.clip_grads_with_norm_(moved, clip, norm)
        self.optimiser.step()
        if self.average is not None:
            self.average.update()

    def _parts(self, batch: Batch) -> Iterator[Batch]:
        """The batch in as many parts as it is to go through the flow in; some may be empty."""
        for i in range(self.config.accumulate):
            yield batch.part(portion(len(batch), i, self.config.accumulate))

    # State -----------------------------------------------------------------------------------

    def state(self) -> dict[str, Tensor]:
        """All tensors by ``part.name``; a copy, which later steps leave alone."""
        state = {f"flow.{key}": value for key, value in self.flow.state_dict().items()}
        remembered = optimiser_state(self.optimiser)
        state |= {f"optimiser.{key}": value for key, value in remembered.items()}
        if self.average is not None:
            state |= {f"average.{key}": value for key, value in self.average.state().items()}
        return {key: value.detach().clone() for key, value in state.items()}

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        """Go back to what ``state`` gave."""
        parts = take_apart(state)
        self.flow.load_state_dict(parts["flow"])
        restore_optimiser(self.optimiser, parts.get("optimiser", {}))
        if self.average is not None:
            self.average.restore(parts["average"])


def reseed(flow: Model, seed: int, step: int, rank: int) -> None:
    """Let dropout, and all else that torch draws, draw what belongs to this step."""
    seed = seed_of(seed, step, rank, 2)
    # torch.manual_seed seeds every device there may be, which takes longer than a small step
    torch.default_generator.manual_seed(seed)
    if flow.device.type == "cuda":
        torch.cuda.manual_seed(seed)


def take_apart(state: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """From ``part.name`` to the tensors of each part."""
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        part, name = key.split(".", 1)
        parts.setdefault(part, {})[name] = value
    return parts
