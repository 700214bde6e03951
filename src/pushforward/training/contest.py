"""The gradients of a GAN's two networks and the steps along them, with the face of ``Learner``."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..models.gan import GAN
from ..moments import has_batch_norms
from .average import WeightAverage
from .feed import Batch
from .learner import reseed, take_apart
from .optimise import make_optimiser, optimiser_state, restore_optimiser
from .ranks import Ranks, portion
from .settings import FitConfig

__all__ = ["Contest"]


class Contest:
    r"""Two networks with an optimiser each, and the average of the generator's weights.

    Both gradients are taken where both networks stand, D's by its own loss alone, on made events
    that are cut off from G, and G's by its own alone. Then each takes its step.

    .. math:: \theta_D \leftarrow \theta_D - \eta\, \nabla_{\theta_D} L_D, \qquad
              \theta_G \leftarrow \theta_G - \eta\, \nabla_{\theta_G} L_G

    Raises:
        InputError: several processes, which would each play against another opponent.
    """

    loss_name = "discriminator"

    def __init__(self, flow: GAN, config: FitConfig, ranks: Ranks) -> None:
        if ranks.size > 1:
            raise InputError(
                f"{flow.name} learns in one process only, for its batch norms see whole batches; "
                f"start it without torchrun."
            )
        if config.compile:
            raise InputError(f"{flow.name} is trained without compile=True; leave it out.")
        self.flow, self.config, self.ranks = flow, config, ranks
        self.players: list[nn.Module] = [flow.discriminator, flow.generator]
        self.optimisers = [make_optimiser(player, config) for player in self.players]
        generator = self.players[1]
        self.average = WeightAverage(generator, config.ema) if config.ema else None

    def gradient(self, batch: Batch, step: int) -> tuple[float, Tensor]:
        """Leave each network's gradient of its own mean loss in its weights.

        Returns:
            D's loss in nats, and the norm of both gradients together.
        """
        reseed(self.flow, self.config.seed, step, self.ranks.rank)
        weights = [list(player.parameters()) for player in self.players]
        total, count = 0.0, self.config.accumulate
        if len(batch) < 2 * count and has_batch_norms(self.flow):
            raise InputError(
                f"{self.flow.name} has batch norms, which make one event alone a constant: give "
                f"them 2 or more at a time; got a batch of {len(batch)} in parts of "
                f"{len(batch) / count:g}."
            )
        for own in weights:
            for weight in own:
                weight.grad = None
        for i in range(count):
            part = batch.part(portion(len(batch), i, count))
            losses = [loss.sum() / len(batch) for loss in self.flow.contest(part.x)]
            total += float(losses[0].detach())
            for loss, own in zip(losses, weights, strict=True):
                for weight, found in zip(own, torch.autograd.grad(loss, own), strict=True):
                    weight.grad = found if weight.grad is None else weight.grad + found
        return total, nn.utils.get_total_norm(
            [w.grad for own in weights for w in own if w.grad is not None]
        )

    def step(self, rate: float, clip: float, norm: Tensor) -> None:
        """Let each follow its gradient, no longer than ``clip``."""
        for player, optimiser in zip(self.players, self.optimisers, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = rate
            nn.utils.clip_grad_norm_(player.parameters(), clip)
            optimiser.step()
        if self.average is not None:
            self.average.update()

    # State -----------------------------------------------------------------------------------

    def state(self) -> dict[str, Tensor]:
        """All tensors by ``part.name``; a copy, which later steps leave alone."""
        state = {f"flow.{key}": value for key, value in self.flow.state_dict().items()}
        for number, optimiser in enumerate(self.optimisers):
            remembered = optimiser_state(optimiser)
            state |= {f"optimiser{number}.{key}": value for key, value in remembered.items()}
        if self.average is not None:
            state |= {f"average.{key}": value for key, value in self.average.state().items()}
        return {key: value.detach().clone() for key, value in state.items()}

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        """Go back to what ``state`` gave."""
        parts = take_apart(state)
        self.flow.load_state_dict(parts["flow"])
        for number, optimiser in enumerate(self.optimisers):
            restore_optimiser(optimiser, parts.get(f"optimiser{number}", {}))
        if self.average is not None:
            self.average.restore(parts["average"])
