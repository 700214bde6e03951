"""What the chain proposes from: a mixture of normals that imitates the flow."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from ...gaussians.conditional import Conditional, condition
from ...gaussians.fitted import one_normal
from ...gaussians.mixture import GaussianMixture
from .space import FillingSpace

__all__ = ["Proposal", "fit_proposal"]

_WIDE = 128
"""Numbers a row above which it is one normal."""

_WIDEST = 2048
"""Numbers a row above which there is none: its conditionals would be as large as the model."""

_COMPONENTS, _MOST = 4, 8
"""Normals for a flow whose base is no mixture; and at most."""


@dataclass
class Proposal:
    """A mixture of normals, whose conditionals are known in closed form.

    Attributes:
        log_weights: ``(K,)``.
        means: ``(K, D)``, float64.
        precision: ``(K, D, D)``, float64.
    """

    log_weights: Tensor
    means: Tensor
    precision: Tensor

    def given(self, u: Tensor, missing: Tensor) -> Conditional:
        """The conditional of each row ``(N, D)``, whatever it lacks."""
        return condition(u.double(), missing, self.log_weights, self.means, self.precision)


def fit_proposal(space: FillingSpace, seed: int, context: Tensor | None = None) -> Proposal | None:
    """A mixture of normals close to the flow's density; None where rows are too wide for any.

    A flow that is nothing but a mixture gives that mixture. Of others, EM fits one to samples,
    of as many components as a mixture base has (up to 8), else 4.
    What is drawn is exact in any case: the chain accepts by the flow's own density.
    """
    base, dims = space.flow.base, space.flow.dims
    if len(space.rest) == 0 and isinstance(base, GaussianMixture) and base.covariance == "full":
        factor = base.factors(torch.float64)
        log_weights = torch.log_softmax(base.logits.double(), 0)
        return Proposal(log_weights, base.mean.double(), factor.mT @ factor)
    if dims > _WIDEST:
        return None
    n = min(10_000, max(2_000, 40 * dims)) if dims <= _WIDE else 4_000
    if context is not None:
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randint(len(context), (n,), generator=generator)
        context = context[drawn.to(context.device)]
    u = space.samples(n, seed, context).double().cpu()
    u = u[torch.isfinite(u).all(dim=1)]
    if not len(u):
        return None
    if dims > _WIDE or len(u) < 100:
        found = one_normal(u.numpy(), "full")
        weights, means, covariance = (torch.from_numpy(part) for part in found)
    else:
        count = base.components if isinstance(base, GaussianMixture) else _COMPONENTS
        weights, means, covariance = _mixture(u, min(count, _MOST), seed)
    precision = torch.cholesky_inverse(torch.linalg.cholesky(covariance))
    parts = (weights.log(), means, precision)
    return Proposal(*(part.to(space.flow.device) for part in parts))


def _mixture(u: Tensor, components: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, means and covariances of a mixture by EM, a rough one: it only proposes."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture as Mixture

    scale = u.std(0).clamp(min=1e-6)
    found = Mixture(components, reg_covar=1e-3, max_iter=30, tol=1e-2, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found.fit((u / scale).numpy())
    weights, means, covariance = (
        torch.from_numpy(part) for part in (found.weights_, found.means_, found.covariances_)
    )
    return weights, means * scale, covariance * scale * scale[:, None]
