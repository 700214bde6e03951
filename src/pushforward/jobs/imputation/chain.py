"""Markov chains whose stationary law is exactly what a flow says of missing numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...gaussians.conditional import Conditional
from .space import FillingSpace

__all__ = ["Chains"]

_WISHED = {"walk": 0.35, "climb": 0.57}
"""The share of steps to accept, which step sizes are adapted to (Roberts and Rosenthal 2001)."""


@dataclass
class Tally:
    """How often a kind of step was tried after the warm-up, and how often it was accepted."""

    tried: int = 0
    accepted: Tensor | float = 0.0

    @property
    def rate(self) -> float:
        """The share accepted; NaN if none was tried."""
        return float(self.accepted) / self.tried if self.tried else math.nan


@dataclass
class Chains:
    r"""Chains over the missing u of N rows, C for each, all moved at once.

    Three kinds of step, each of which leaves :math:`p(u_m \mid u_o)` as it is (Metropolis and
    Hastings: u' is accepted with probability :math:`\min(1, \alpha)`):

    - *leap*: u' from the conditional q of a mixture of normals, whatever u is;
      :math:`\alpha = \frac{p(u')\, q(u)}{p(u)\, q(u')}`. It goes from mode to mode.
    - *walk*: of a normal :math:`N(m, \Sigma)` of that mixture, drawn by its weight,
      :math:`u' = m + \sqrt{1 - s^2}\,(u - m) + s\, \Sigma^{1/2} \epsilon`, which is reversible for
      that normal; :math:`\alpha = \frac{p(u')\, N(u)}{p(u)\, N(u')}` (Cotter et al. 2013).
    - *climb*: :math:`u' = u + \tfrac{s^2}{2} \Sigma \nabla \log p(u) + s\, \Sigma^{1/2} \epsilon`,
      corrected by the densities of the two ways (MALA, Roberts and Tweedie 1996).

    Where a row has discrete observed values, *shake* draws their places within the cells anew.
    The sizes s are adapted during the warm-up only, for each row. Proposals made by perturbing the
    whole latent (Cannella et al. 2020) move the observed numbers too, and are exact only for an
    augmented density; in u those stay what they are.

    Attributes:
        u: ``(C, N, D)``, observed numbers included.
        missing: ``(N, D)``.
        q: the conditional of each row; None for rows too wide, which only climb, with
            :math:`\Sigma = I`.
    """

    space: FillingSpace
    u: Tensor
    missing: Tensor
    q: Conditional | None
    context: Tensor | None
    generator: torch.Generator
    events: Tensor | None = None
    """Rows ``(N, D)`` with NaN, for ``shake``; None if nothing is to be shaken."""
    log_observed: Tensor | float = 0.0
    """The log-det of the observed numbers at their places, ``(C, N)``."""
    log_prob: Tensor = field(init=False)
    tally: dict[str, Tally] = field(default_factory=dict)
    recent: dict[str, float] = field(default_factory=dict)
    """The share of each kind that was accepted last, of the warm-up."""
    warm: bool = True

    def __post_init__(self) -> None:
        """Score where the chains begin."""
        self.count, self.rows = self.u.shape[:2]
        self.size = {kind: self.u.new_full((self.rows,), 0.5) for kind in _WISHED}
        if self.q is None:
            self.size["climb"].fill_(0.1)
        self.log_prob = self._score(self.u)

    def step(self, kind: str) -> None:
        """One step of every chain."""
        getattr(self, f"_{kind}")()

    # The steps -------------------------------------------------------------------------------

    def _leap(self) -> None:
        assert self.q is not None
        values = self.q.sample(self.count, self.generator)
        proposed = self._with(values)
        back, forth = self.q.log_prob(self._values()), self.q.log_prob(values)
        self._accept("leap", proposed, self._score(proposed), back - forth)

    def _walk(self) -> None:
        assert self.q is not None
        q, now = self.q, self._values()
        which = q.choose(self.count, self.generator)
        row = torch.arange(self.rows, device=now.device)
        s = self.size["walk"].to(now)[:, None]
        centre = q.means[row, which]
        drawn = q.place(self._noise(now), which)
        values = centre + torch.sqrt(1 - s.square()) * (now - centre) + s * (drawn - centre)
        proposed = self._with(values)
        take = which[..., None]
        back, forth = (q.log_normals(v).gather(-1, take)[..., 0] for v in (now, values))
        self._accept("walk", proposed, self._score(proposed), back - forth)

    def _climb(self) -> None:
        gaps = self.missing
        _, slope = self._slope(self.u)
        s = self.size["climb"]
        if self.q is None:
            s = s[:, None]
            noise = torch.where(gaps, self._noise(self.u), 0)
            proposed = self.u + torch.where(gaps, 0.5 * s.square() * slope, 0) + s * noise
            after, slope_after = self._slope(proposed)
            away = torch.where(gaps, self.u - proposed - 0.5 * s.square() * slope_after, 0) / s
            ratio = 0.5 * (noise.square() - away.square()).sum(2)
            self._accept("climb", proposed, after, ratio)
            return
        q, now, s = self.q, self._values(), s.to(self.q.means)[:, None]
        which = q.choose(self.count, self.generator)
        factor = q.factor[torch.arange(self.rows, device=now.device), which]
        noise = self._noise(now) * q.there
        forth = now + 0.5 * s.square() * self._shaped(factor, slope)
        values = forth + s * torch.linalg.solve_triangular(
            factor.mT, noise[..., None], upper=True
        ).squeeze(-1)
        proposed = self._with(values)
        after, slope_after = self._slope(proposed)
        back = values + 0.5 * s.square() * self._shaped(factor, slope_after)
        away = torch.where(q.there, now - back, 0)[..., None, :] @ factor / s[..., None]
        ratio = 0.5 * (noise.square() - away.squeeze(-2).square()).sum(-1)
        self._accept("climb", proposed, after, ratio)

    def _shake(self) -> None:
        assert self.events is not None
        places, log_det = self.space.shake(self.events, self.count, self.generator)
        proposed = torch.where(self.missing, self.u, places.to(self.u))
        ratio = log_det - self.log_observed
        taken = self._accept("shake", proposed, self._score(proposed), ratio)
        self.log_observed = torch.where(taken, log_det, self.log_observed)

    # What they share -------------------------------------------------------------------------

    def _accept(self, kind: str, proposed: Tensor, log_prob: Tensor, ratio: Tensor) -> Tensor:
        """Take what is proposed by chance; ``ratio`` is that of the ways, without the density."""
        log_alpha = log_prob - self.log_prob + ratio.to(log_prob)
        log_alpha = torch.where(log_alpha.isnan(), -torch.inf, log_alpha)
        log_alpha = torch.where(self.log_prob.isneginf(), torch.inf, log_alpha)
        chance = torch.rand(
            log_alpha.shape,
            generator=self.generator,
            dtype=log_alpha.dtype,
            device=log_alpha.device,
        )
        taken = chance.log() < log_alpha
        self.u = torch.where(taken[..., None], proposed, self.u)
        self.log_prob = torch.where(taken, log_prob, self.log_prob)
        if self.warm and kind in self.size:
            gained = log_alpha.clamp(max=0).exp().mean(0) - _WISHED[kind]
            most = 0.999 if kind == "walk" else 3.0
            self.size[kind] = (self.size[kind] * torch.exp(0.5 * gained)).clamp(1e-4, most)
        if self.warm:
            self.recent[kind] = float(log_alpha.clamp(max=0).exp().mean())
        else:
            tally = self.tally.setdefault(kind, Tally())
            tally.tried += taken.numel()
            tally.accepted = tally.accepted + taken.sum()
        return taken

    def _values(self) -> Tensor:
        """The missing u, ``(C, N, M)`` float64."""
        assert self.q is not None
        index = self.q.index.expand(self.count, -1, -1)
        return self.u.gather(2, index).to(self.q.means)

    def _with(self, values: Tensor) -> Tensor:
        assert self.q is not None
        return self.q.fill(self.u, values).to(self.u)

    def _noise(self, like: Tensor) -> Tensor:
        return torch.randn(
            like.shape, generator=self.generator, dtype=like.dtype, device=like.device
        )

    def _shaped(self, factor: Tensor, slope: Tensor) -> Tensor:
        """The slope times the covariance, at the missing numbers."""
        assert self.q is not None
        index = self.q.index.expand(self.count, -1, -1)
        part = torch.where(self.q.there, slope.gather(2, index).to(factor), 0)
        return torch.cholesky_solve(part[..., None], factor)[..., 0]

    def _score(self, u: Tensor) -> Tensor:
        with torch.no_grad():
            return self.space.log_prob(u.flatten(0, 1), self._contexts()).unflatten(0, u.shape[:2])

    def _slope(self, u: Tensor) -> tuple[Tensor, Tensor]:
        log_prob, slope = self.space.slope(u.flatten(0, 1), self._contexts())
        return log_prob.unflatten(0, u.shape[:2]), slope.unflatten(0, u.shape[:2])

    def _contexts(self) -> Tensor | None:
        return None if self.context is None else self.context.repeat(self.count, 1)
