"""The result of fitting a flow to an unnormalised density."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..files import writing
from ..flow import Flow
from .history import Run, loss_window
from .importance import Importance, check_weights
from .progress import clock

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["VariationalRun", "weighted_draws"]

_CHUNK = 4096


@dataclass(repr=False)
class VariationalRun(Run):
    """The record of ``fit_density``, and what the fitted flow says about the density.

    ``records`` has one dictionary per look: step, seconds, train (mean annealed loss since the
    last one), validation (free energy of fixed noise), beta, lr, items_per_second.

    Attributes:
        flow: the fitted flow.
        energy: U.
        draws: samples of the flow ``(n, *shape)``.
        log_weights: ``(n,)``, -U(x) - log q(x).
        estimate: free energy, log Z, effective sample size and Pareto k of these samples.
    """

    flow: Flow = field(kw_only=True)
    energy: Callable[[Tensor], Tensor] = field(kw_only=True)
    draws: Tensor = field(kw_only=True)
    log_weights: Tensor = field(kw_only=True)
    estimate: Importance = field(kw_only=True)

    @property
    def free_energy(self) -> float:
        """E_q[U + log q] in nats: what was minimised; at least -log Z, but for its noise."""
        return self.estimate.free_energy

    @property
    def elbo(self) -> float:
        """The evidence lower bound, -free_energy: a lower bound on log Z, in nats."""
        return -self.estimate.free_energy

    @property
    def log_z(self) -> float:
        """The logarithm of the integral of exp(-U), by importance weights, in nats."""
        return self.estimate.log_z

    @property
    def log_z_error(self) -> float:
        """The standard error of ``log_z``; means something only where ``pareto_k`` is below 0.5."""
        return self.estimate.log_z_error

    @property
    def ess(self) -> float:
        """Effective sample size as a fraction of the samples: 1 if the flow is the density."""
        return self.estimate.ess

    @property
    def pareto_k(self) -> float:
        """Above 0.7 nothing that rests on the weights can be trusted, above 0.5 not log_z_error."""
        return self.estimate.pareto_k

    def sample(self, n: int, *, seed: int | None = None) -> tuple[Tensor, Tensor]:
        """Draw ``n`` events of the flow with self-normalised weights: ``(n, *shape)``, ``(n,)``.

        The weights add up to 1; weighted means over the events are means under the density.

        Raises:
            NumericalError: a weight that is NaN or infinite, or no weight above 0.
        """
        x, log_weights = weighted_draws(self.flow, self.energy, n, seed)
        check_weights(log_weights.cpu())
        return x, torch.softmax(log_weights, dim=0)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Weighted mean and standard deviation of each number of an event: two ``(*shape)``."""
        weights = torch.softmax(self.log_weights, dim=0)
        flat = self.draws.double().flatten(1)
        mean = weights @ flat
        std = (weights @ (flat - mean).square()).sqrt()
        return mean.reshape(self.flow.shape), std.reshape(self.flow.shape)

    def summary(self) -> str:
        """A few lines for a person."""
        e = self.estimate
        seconds = self.records[-1]["seconds"] if self.records else 0.0
        return "\n".join(
            (
                f"{self.flow.name} fitted to an unnormalised density: {self.steps:,} steps in "
                f"{clock(seconds)} ({self.stopped})",
                f"  free energy        {e.free_energy:.4f} ± {e.free_energy_error:.4f} nats",
                f"  log Z at least     {-e.free_energy:.4f} nats, the evidence lower bound",
                f"  log Z              {e.log_z:.4f} ± {e.log_z_error:.4f} nats, by importance "
                f"weights of {e.samples:,} samples",
                f"  effective samples  {e.ess:.1%}",
                f"  Pareto k           {e.pareto_k:.2f}, {_trust(e.pareto_k)}",
            )
        )

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        return f"<VariationalRun of {self.flow.name}, free energy {self.free_energy:.4f} nats>"

    def plot(self, path: str | os.PathLike[str] | None = None) -> Axes:
        """Draw the free energy over steps, above -log Z; write a picture if ``path`` is given."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        axes = figure.add_subplot()
        steps = [record["step"] for record in self.records]
        axes.plot(steps, [record["validation"] for record in self.records], label="free energy")
        if self.best:
            axes.plot(self.best["step"], self.best["validation"], "o", color="C3", label="kept")
        if math.isfinite(self.log_z):
            axes.axhline(-self.log_z, color="0.5", ls="--", label="-log Z (estimate)")
        late = [r for r in self.records if r["step"] >= self.steps / 10]
        window = loss_window([{**r, "train": -self.log_z} for r in late])
        if window is not None:
            axes.set_ylim(*window)
        axes.set(xlabel="step", ylabel="free energy (nats)")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="0.92")
        axes.legend(frameon=False)
        if path is not None:
            with writing(path) as temporary:
                figure.savefig(temporary, dpi=120)
        return axes


def _trust(k: float) -> str:
    if math.isnan(k):
        return "not enough samples to say"
    if k > 0.7:
        return "above 0.7: log Z and weighted means cannot be trusted; fit longer or deeper"
    if k > 0.5:
        return "above 0.5: the weights can be trusted, the error of log Z cannot"
    return "below 0.5: the weights can be trusted"


@torch.no_grad()
def weighted_draws(
    flow: Flow, energy: Callable[[Tensor], Tensor], n: int, seed: int | None
) -> tuple[Tensor, Tensor]:
    """Samples of the flow ``(n, *shape)`` and log-weights -U - log q ``(n,)``, float64."""
    generator = None if seed is None else torch.Generator(flow.device).manual_seed(seed)
    events, log_weights = [], []
    with flow.evaluating():
        for start in range(0, max(n, 1), _CHUNK):
            x, log_q = flow.rsample(min(_CHUNK, n - start), generator=generator)
            events.append(x)
            log_weights.append(-energy(x).double() - log_q.double())
    return torch.cat(events), torch.cat(log_weights)
