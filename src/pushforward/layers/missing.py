"""Rows that lack numbers: the last layer of a front, which fills them in by a bound."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import InputError
from ..gaussians.conditional import condition
from ..gaussians.factors import fit_factors
from ..gaussians.missing import fit_gaussian
from .layer import Shape, same_shape
from .noisy import Noisy

__all__ = ["FillMissing"]

_WIDE = 128
"""Numbers a row above which q is a factor analysis: a full conditional is D^3 of work a row."""

_RANK = 16


class FillMissing(Noisy):
    r"""Draw what a row lacks (NaN), so that what it has is scored by a lower bound.

    .. math:: \log p(z_o) \ge \mathbb{E}_{z_m \sim q(\cdot \mid z_o)} \left[
              \log p(z_o, z_m) - \log q(z_m \mid z_o) \right]

    A complete row goes through as it is, with log_det 0. Of an incomplete one the log_prob is one
    draw of the bound, as with every ``Noisy`` layer; ``log_prob(x, samples=K)`` tightens it, and
    the bound is an equality where q is the flow's own conditional. Values missing at random
    (whether they are missing may depend on what is observed, not on what is missing) are assumed.

    q is the conditional of one normal that ``initialise`` fits by EM to incomplete rows; above 128
    numbers a row, of a factor analysis of 16 factors. It stays as it was fitted. A row that lacks
    everything is scored like others: a draw of a bound on :math:`\log 1 = 0`. ``fit`` leaves such
    rows out.

    ``inverse`` is the identity: a flow's samples are complete.

    Shapes: x ``(N, D)`` with NaN, z ``(N, D)`` without; log_det ``(N,)`` in nats.
    Source: Burda et al. 2016; Mattei and Frellsen 2019 (MIWAE), section 3.1.

    Args:
        shape: ``(D,)``.
    """

    reads_data = True
    wants_events = 10_000
    mean: Tensor
    precision: Tensor
    loading: Tensor
    noise: Tensor
    fitted: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = tuple(shape)
        if len(self.shape) != 1:
            raise InputError(f"FillMissing is for rows, of shape (D,); got {self.shape}.")
        (size,) = self.shape
        self.wide = size > _WIDE
        double = torch.float64
        self.register_buffer("mean", torch.zeros(size, dtype=double))
        if self.wide:
            self.register_buffer("loading", torch.zeros(size, _RANK, dtype=double))
            self.register_buffer("noise", torch.ones(size, dtype=double))
        else:
            self.register_buffer("precision", torch.eye(size, dtype=double))
        self.register_buffer("fitted", torch.tensor(False))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Fill in."""
        missing = x.isnan()
        log_det = x.new_zeros(len(x), dtype=torch.promote_types(x.dtype, torch.float32))
        rows = missing.any(dim=1).nonzero()[:, 0]
        if not len(rows):
            return x, log_det
        part, gaps = x[rows], missing[rows]
        # Hashed from what is observed and from where: a NaN has many bit patterns.
        key = torch.cat((torch.where(gaps, 0, part), gaps.to(part)), dim=1)
        noise = self.normal(key, (self.shape[0] + (_RANK if self.wide else 0),)).double()
        draw, log_q = (self._factors if self.wide else self._full)(part.double(), gaps, noise)
        filled = torch.where(gaps, draw.to(x.dtype), part)
        return x.index_copy(0, rows, filled), log_det.index_copy(0, rows, -log_q.to(log_det))

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Nothing: what is drawn from the flow is complete."""
        return z, z.new_zeros(len(z), dtype=torch.promote_types(z.dtype, torch.float32))

    def _full(self, z: Tensor, gaps: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """A draw from q and its log-density, ``(N, D)`` and ``(N,)``."""
        one = z.new_zeros(1)
        q = condition(z, gaps, one, self.mean[None], self.precision[None])
        component = torch.zeros(len(z), dtype=torch.long, device=z.device)
        values = q.place(noise.gather(1, q.index) * q.there, component)
        return q.fill(z, values), q.log_prob(values)

    def _factors(self, z: Tensor, gaps: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        r"""The same of :math:`z = \mu + F f + \epsilon`: first f given z_o, then z_m given f."""
        (loading, spread), size = (self.loading, self.noise), z.shape[1]
        away = torch.where(gaps, 0, z - self.mean)
        precision, pull = self._posterior(away, ~gaps)
        lower = torch.linalg.cholesky(precision)
        centre = torch.cholesky_solve(pull[..., None], lower)[..., 0]
        factor = torch.linalg.solve_triangular(lower.mT, noise[:, size:, None], upper=True)[..., 0]
        values = self.mean + (centre + factor) @ loading.T + spread.sqrt() * noise[:, :size]
        filled = torch.where(gaps, values, z)
        # q(z_m | z_o) = N(z) / N(z_o), each by Woodbury's identity
        observed = self._log_normal(away, ~gaps, precision, pull)
        everywhere = torch.ones_like(gaps)
        away = filled - self.mean
        joint = self._log_normal(away, everywhere, *self._posterior(away, everywhere))
        return filled, joint - observed

    def _posterior(self, away: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Precision ``(N, r, r)`` of the factors given what is seen, and precision times mean."""
        weight = seen / self.noise
        outer = (self.loading[:, :, None] * self.loading[:, None]).flatten(1)
        eye = torch.eye(_RANK, dtype=away.dtype, device=away.device)
        return eye + (weight @ outer).unflatten(1, eye.shape), (weight * away) @ self.loading

    def _log_normal(self, away: Tensor, seen: Tensor, precision: Tensor, pull: Tensor) -> Tensor:
        lower = torch.linalg.cholesky(precision)
        white = torch.linalg.solve_triangular(lower, pull[..., None], upper=False)[..., 0]
        quadratic = (seen * away.square() / self.noise).sum(1) - white.square().sum(1)
        log_det = 2 * lower.diagonal(dim1=1, dim2=2).log().sum(1) + seen.to(away) @ self.noise.log()
        return -0.5 * (quadratic + log_det + seen.sum(1) * math.log(2 * math.pi))

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Fit q to rows with or without gaps, once."""
        rows = x.double().cpu()
        rows = rows[~rows.isnan().all(dim=1)]
        if bool(self.fitted) or not len(rows):
            return
        if len(rows) > self.wants_events:
            rows = rows[torch.linspace(0, len(rows) - 1, self.wants_events).long()]
        if self.wide:
            mean, loading, noise, _ = fit_factors(rows, _RANK)
            self.mean.copy_(mean)
            self.noise.copy_(noise)
            self.loading[:, : loading.shape[1]] = loading.to(self.loading)
        else:
            fitted = fit_gaussian(rows)
            self.mean.copy_(fitted.mean)
            self.precision.copy_(fitted.precision)
        self.fitted.fill_(True)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FillMissing:
        """Go to another device; q stays float64: columns of tables are nearly dependent."""
        own = [name for name, value in self._buffers.items() if value is not None]
        kept = {name: self._buffers[name] for name in own if name not in ("seed", "passes")}
        super()._apply(fn, recurse)
        for name, value in kept.items():
            if name != "anchor" and value is not None:
                self._buffers[name] = value.to(self.fitted.device)
        return self

    def output_shape(self, shape: Shape) -> Shape:
        """Unchanged; anything but the shape it was built for is an error."""
        return same_shape(self, self.shape, shape)

    def extra_repr(self) -> str:
        """Show shape and kind."""
        return f"shape={self.shape}" + (f", factors={_RANK}" if self.wide else "")
