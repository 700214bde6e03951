"""Variational fitting: a flow learns to sample from a density that is known up to a constant."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from ..errors import InputError, NumericalError
from ..flow import Flow
from ..models.settings import checked, settings
from .energy import checked_energy
from .history import Record
from .importance import importance
from .progress import Progress
from .signals import StopRequests
from .variational_run import VariationalRun, weighted_draws

__all__ = ["VariationalConfig", "fit_density"]

_BEGIN = 0.01  # of beta, as in the paper


@dataclass(config=settings, kw_only=True)
class VariationalConfig:
    """What ``fit_density`` can be asked."""

    steps: int = Field(default=5_000, ge=1)
    max_time: float | None = Field(default=None, gt=0)
    """Seconds after which it ends as if all steps were taken."""
    batch_size: int = Field(default=256, ge=1)
    """Samples of the flow in a step."""
    lr: float = Field(default=3e-3, gt=0)
    schedule: Literal["cosine", "constant"] = "cosine"
    """Of the learning rate; ``cosine`` falls to 0 at the last step."""
    anneal: int | None = Field(default=None, ge=0)
    """Steps until the energy counts in full; half of all, but at most the paper's 10,000."""
    clip: float = Field(default=10.0, gt=0)
    """Bound of the gradient's norm."""
    path_gradient: bool = False
    """Leave out the part of the gradient whose mean is zero; costs one more pass a step."""
    validate_every: int = Field(default=250, ge=1)
    validate_on: int = Field(default=2_048, ge=2)
    """Samples, of the same noise each time, whose free energy decides which weights are kept."""
    samples: int = Field(default=20_000, ge=2)
    """Samples for the estimates at the end."""
    rewinds: int = Field(default=3, ge=0)
    """How often to go back to the last good weights, with half the rate, after NaN or infinity."""
    seed: int = Field(default=0, ge=0, lt=2**31)


def fit_density(
    energy: Callable[[Tensor], Tensor], flow: Flow, *, progress: bool = True, **options: Any
) -> VariationalRun:
    r"""Teach a flow q to sample from :math:`p(x) \propto e^{-U(x)}`, given U alone.

    Minimises the free energy by Adam on samples of the flow, with the energy faded in:

    .. math:: F_t = \mathbb{E}_{x \sim q}\bigl[\log q(x) + \beta_t U(x)\bigr], \qquad
              \beta_t = \min\bigl(1,\; 0.01 + t / T\bigr)

    At :math:`\beta = 1` this is :math:`\mathrm{KL}(q \| p) - \log Z`. The weights with the lowest
    free energy stay; Ctrl-C and SIGTERM end early with the best so far. A reverse divergence
    prefers to miss modes of p rather than to cover what lies between: see ``ess``, ``pareto_k``.

    Args:
        energy: U, from ``(N, *shape)`` to ``(N,)``, in torch and differentiable; in the flow's type
            and on its device. A Bayesian posterior is U = -log likelihood - log prior.
        flow: any continuous flow, trained in place and left in evaluation mode. Its sampling
            direction is what is used: ``PlanarFlow(..., direction="sampling")``, ``RealNVP``.
        progress: show a line of progress.
        **options: fields of ``VariationalConfig``: steps, max_time, batch_size, lr, schedule,
            anneal (T), clip, path_gradient, validate_every, validate_on, samples, rewinds, seed.

    Returns:
        free energy, log Z, effective sample size, weighted samples; ``print`` it.

    Raises:
        InputError: the energy has the wrong shape, no gradient or no finite value where the flow
            begins; the flow is over integers or takes a context; an option is impossible.
        NumericalError: NaN or infinity came back more often than ``rewinds``; the best weights so
            far are restored.

    Source: Rezende and Mohamed 2015, equations 15 and 20.
    """
    config = checked(VariationalConfig, options, "fit_density")
    _check_flow(flow)
    energy = checked_energy(energy, flow)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        flow.train()
        with torch.no_grad():
            flow.rsample(2)  # layers that would learn from a first batch take note: there is none
        flow.eval()
        return _Fitting(flow, energy, config, progress).run()


def _check_flow(flow: Any) -> None:
    if not isinstance(flow, Flow):
        raise InputError(f"fit_density fits a Flow; got {type(flow).__name__}.")
    if flow.levels is not None or not flow.exact:
        raise InputError(
            f"{flow.name} is over integers or a bound, and fit_density needs a density of real "
            f"numbers: build the flow without levels=."
        )
    if flow.context:
        raise InputError(
            f"{flow.name} takes a context, and fit_density fits one density: build the flow "
            f"without context=."
        )
    if flow.dtype not in (torch.float32, torch.float64):
        raise InputError(
            f"fit_density fits in float32 or float64; {flow.name} is in "
            f"{str(flow.dtype).removeprefix('torch.')}: call its float() first."
        )


class _Fitting:
    """The state of a run: the optimiser, the last good weights and the best ones."""

    def __init__(
        self, flow: Flow, energy: Callable[[Tensor], Tensor], config: VariationalConfig, shown: bool
    ) -> None:
        self.flow, self.energy, self.config = flow, energy, config
        self.weights = [p for p in flow.parameters() if p.requires_grad]
        if not self.weights:
            raise InputError(f"{flow.name} has no weights that could learn.")
        self.adam = torch.optim.Adam(self.weights, lr=config.lr)
        self.generator = torch.Generator(flow.device).manual_seed(config.seed)
        half = config.steps // 2
        self.horizon = min(10_000, half) if config.anneal is None else config.anneal
        self.factor, self.rewinds = 1.0, 0
        self.records: list[Record] = []
        self.events: list[str] = []
        self.best: Record = {}
        self.best_state = self.good_state = self._state()
        self.progress = Progress(shown, "nats of free energy", config.steps, config.max_time)
        self.begun = time.monotonic()

    def run(self) -> VariationalRun:
        config, step, stopped = self.config, 0, "steps"
        losses: list[float] = []
        try:
            with self.progress, StopRequests() as stop:
                self._look(0, losses)
                while step < config.steps:
                    if stop.asked:
                        stopped = stop.asked
                        break
                    if config.max_time is not None and self._seconds() > config.max_time:
                        stopped = "time"
                        break
                    fault = self._step(step, losses)
                    if fault is not None:
                        self._go_back(step, fault)
                    step += 1
                    if step % config.validate_every == 0 or step == config.steps:
                        self._look(step, losses)
                if step % config.validate_every and step < config.steps:
                    self._look(step, losses)
        finally:
            self.flow.load_state_dict(self.best_state)
            self.flow.zero_grad(set_to_none=True)
        result = self._result(step, stopped)
        self.progress.close(result)
        return result

    def beta(self, step: int) -> float:
        """How much the energy counts."""
        return 1.0 if self.horizon == 0 else min(1.0, _BEGIN + step / self.horizon)

    def _step(self, step: int, losses: list[float]) -> str | None:
        """Take one; say what was wrong if it was not taken."""
        lr = self._rate(step)
        for group in self.adam.param_groups:
            group["lr"] = lr
        x, log_q = self.flow.rsample(self.config.batch_size, generator=self.generator)
        if self.config.path_gradient:
            with _frozen(self.weights):
                log_q = self.flow.log_prob(x, check=False)
        values = self.energy(x)
        loss = (log_q + self.beta(step) * values).mean()
        self.adam.zero_grad(set_to_none=True)
        loss.backward(inputs=self.weights)  # an energy may have weights of its own
        norm = torch.nn.utils.clip_grad_norm_(self.weights, self.config.clip)
        value = loss.item()
        if not math.isfinite(value):
            bad = "the energy" if not bool(torch.isfinite(values).all()) else "the flow"
            return f"{bad} was {'NaN' if math.isnan(value) else 'infinite'}"
        if not bool(torch.isfinite(norm)):
            return "the gradient was not finite"
        self.adam.step()
        losses.append(value)
        seconds = self._seconds()
        rate = (step + 1) * self.config.batch_size / max(seconds, 1e-9)
        self.progress.update(
            step=step + 1, epoch=0.0, seconds=seconds, loss=value, lr=lr, rate=rate
        )
        return None

    def _rate(self, step: int) -> float:
        spent = step / self.config.steps
        if self.config.max_time is not None:
            spent = max(spent, min(1.0, self._seconds() / self.config.max_time))
        fall = 0.5 * (1 + math.cos(math.pi * spent)) if self.config.schedule == "cosine" else 1.0
        return self.config.lr * fall * self.factor

    def _look(self, step: int, losses: list[float]) -> None:
        """Measure the free energy on the same noise as always; keep the weights if it is best."""
        _, log_w = weighted_draws(
            self.flow, self.energy, self.config.validate_on, self.config.seed + 1
        )
        free = float(-log_w.mean())
        seconds = self._seconds()
        record = {
            "step": step,
            "seconds": seconds,
            "train": sum(losses) / len(losses) if losses else free,
            "validation": free,
            "beta": self.beta(step),
            "lr": self._rate(step),
            "items_per_second": step * self.config.batch_size / max(seconds, 1e-9),
        }
        losses.clear()
        if not math.isfinite(free):
            self._go_back(step, "the free energy was not finite")
            return
        self.records.append(record)
        self.good_state = self._state()
        if not self.best or free < self.best["validation"]:
            self.best, self.best_state = record, self.good_state
        self.progress.validated(record, self.best)

    def _go_back(self, step: int, fault: str) -> None:
        self.rewinds += 1
        if self.rewinds > self.config.rewinds:
            raise NumericalError(
                f"fit_density: {fault} at step {step:,}, after {self.config.rewinds} returns to "
                f"good weights; the best so far are kept. Lower lr, give a longer anneal, or check "
                f"the energy far from the origin."
            )
        self.factor /= 2
        self.flow.load_state_dict(self.good_state)
        self.adam = torch.optim.Adam(self.weights, lr=self.config.lr)
        said = f"Step {step:,}: {fault}; back to the last good weights with half the rate."
        self.events.append(said)
        self.progress.say(said)

    def _result(self, step: int, stopped: str) -> VariationalRun:
        x, log_w = weighted_draws(self.flow, self.energy, self.config.samples, self.config.seed + 2)
        return VariationalRun(
            "nats",
            self.records,
            self.best,
            stopped,
            {**vars(self.config), "anneal": self.horizon},
            self.events,
            steps=step,
            flow=self.flow,
            energy=self.energy,
            draws=x,
            log_weights=log_w,
            estimate=importance(log_w.cpu()),
        )

    def _state(self) -> dict[str, Tensor]:
        return {key: value.detach().clone() for key, value in self.flow.state_dict().items()}

    def _seconds(self) -> float:
        return time.monotonic() - self.begun


@contextmanager
def _frozen(weights: list[torch.nn.Parameter]) -> Iterator[None]:
    """Within it, what is computed does not depend on the weights as far as gradients go."""
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)
