"""One normal of full covariance, fitted to rows that lack numbers: EM (Dempster et al. 1977)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from .conditional import Conditional, condition
from .factors import fit_factors

__all__ = ["Gaussian", "fit_gaussian"]

_CHUNK = 2**22
"""Numbers of the conditional covariances that are held at a time."""

_WIDE = 128
"""Columns above which the covariance is of low rank plus a diagonal."""


@dataclass
class Gaussian:
    """A normal over rows, float64.

    Attributes:
        mean: ``(D,)``.
        covariance: ``(D, D)``.
        history: what EM makes large, before each iteration and after the last: the mean
            log-density of the observed numbers of a row plus that of the prior, in nats.
    """

    mean: Tensor
    covariance: Tensor
    history: list[float] = field(default_factory=list)

    @property
    def precision(self) -> Tensor:
        """The inverse covariance."""
        return torch.cholesky_inverse(torch.linalg.cholesky(self.covariance))

    def given(self, x: Any) -> Conditional:
        """The density of what each row ``(N, D)`` lacks (NaN), given what it has."""
        x = torch.as_tensor(x, dtype=torch.float64)
        one = torch.zeros(1, dtype=torch.float64)
        return condition(x, x.isnan(), one, self.mean[None], self.precision[None])

    def fill(self, x: Any) -> Tensor:
        """Rows with the conditional mean in the places of what they lack."""
        x = torch.as_tensor(x, dtype=torch.float64)
        conditional = self.given(x)
        return conditional.fill(x, conditional.mean())


def fit_gaussian(
    x: Any,
    *,
    prior: float | None = None,
    iterations: int = 100,
    tolerance: float = 1e-5,
    rank: int = 16,
) -> Gaussian:
    r"""The most probable normal of rows that may lack numbers (NaN), under a weak prior.

    .. math:: \frac1N \sum_n \log \mathcal N(x_{n,o};\, \mu_o,\, \Sigma_{oo})
              - \frac{\lambda}{2N} \left( \log|\Sigma| + \mathrm{tr}(T \Sigma^{-1}) \right)

    with T the diagonal of the columns' variances: :math:`\lambda` rows' worth of uncorrelated
    columns. It keeps the covariance positive definite when there are fewer rows than columns, and
    each iteration makes the whole larger. Above 128 columns the covariance is of rank ``rank`` plus
    a diagonal (factor analysis): a full one would neither be determined nor quick.

    Args:
        x: ``(N, D)``, NaN where missing; rows that lack all are left out.
        prior: :math:`\lambda`; a tenth of D, at least 1, if None.
        iterations: at most so many; wide tables have limits of their own.
        tolerance: it stops when an iteration gains less, in nats a row.
        rank: of the covariance of wide tables.

    Raises:
        InputError: no row, or infinite values.

    Source: Dempster, Laird and Rubin 1977; Little and Rubin 2002, section 11.2; Rubin and Thayer
    1982 (factor analysis).
    """
    x = torch.as_tensor(x, dtype=torch.float64)
    if x.ndim != 2 or not len(x):
        raise InputError(f"a normal is fitted to rows, (N, D) with N of at least 1; got {x.shape}.")
    if bool(x.isinf().any()):
        raise InputError("a normal is fitted to finite numbers (NaN: missing); got infinite ones.")
    x = x[~x.isnan().all(dim=1)]
    mean, variance = _observed_moments(x)
    scale = variance.sqrt()
    rows = (x - mean) / scale  # all that follows is about numbers of size 1
    if x.shape[1] > _WIDE:
        centre, loading, noise, history = fit_factors(rows, rank)
        covariance = loading @ loading.T + torch.diag(noise)
    else:
        weight = max(1.0, 0.1 * x.shape[1]) if prior is None else prior
        centre, covariance, history = _fit_full(rows, weight, iterations, tolerance)
    log_scale = float((scale.log() * ~x.isnan()).sum()) / max(1, len(x))
    return Gaussian(
        mean + scale * centre,
        covariance * scale * scale[:, None],
        [value - log_scale for value in history],
    )


def _observed_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of what is observed of each column; 0 and 1 where nothing says better."""
    seen = (~x.isnan()).sum(0).clamp(min=1)
    mean = x.nan_to_num(nan=0.0).sum(0) / seen
    variance = (x - mean).nan_to_num(nan=0.0).square().sum(0) / seen
    return mean, torch.where(variance > 1e-20 * mean.square(), variance, 1.0).clamp(min=1e-300)


def _fit_full(
    rows: Tensor, prior: float, iterations: int, tolerance: float
) -> tuple[Tensor, Tensor, list[float]]:
    n, dims = rows.shape
    target = torch.eye(dims, dtype=rows.dtype)
    mean, covariance = rows.new_zeros(dims), target.clone()
    lacking = rows.isnan().sum(1)
    complete = rows[lacking == 0]
    partial = rows[lacking > 0][lacking[lacking > 0].argsort()]  # alike beside each other
    history: list[float] = []
    for step in range(iterations + 1):
        lower = torch.linalg.cholesky(covariance)
        penalty = 2 * lower.diagonal().log().sum()
        penalty = penalty + torch.cholesky_inverse(lower).diagonal().sum()
        gaussian = Gaussian(mean, covariance)
        evidence, first, second = _expected(gaussian, complete)
        for part in _chunks(partial):
            more = _expected(gaussian, part)
            evidence, first, second = evidence + more[0], first + more[1], second + more[2]
        history.append(float(evidence - 0.5 * prior * penalty) / max(1, n))
        gained = history[-1] - history[-2] if step else float("inf")
        if step == iterations or gained < tolerance:
            break
        mean = first / max(1, n)
        spread = second - n * torch.outer(mean, mean)
        covariance = (spread + prior * target) / (n + prior)
        covariance = 0.5 * (covariance + covariance.T)
    return mean, covariance, history


def _expected(gaussian: Gaussian, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log-density of what is observed, and expected sums of x and of x x^T: the E-step."""
    dims = rows.shape[1]
    if not len(rows):
        return rows.new_zeros(()), rows.new_zeros(dims), rows.new_zeros(dims, dims)
    found = gaussian.given(rows)
    filled = found.fill(rows, found.means[:, 0])
    second = filled.T @ filled
    covariance = torch.cholesky_inverse(found.factor[:, 0])  # (N, M, M)
    covariance = torch.where(found.there[:, :, None] & found.there[:, None], covariance, 0)
    place = found.index[:, :, None] * dims + found.index[:, None]
    second = second.flatten().index_add(0, place.flatten(), covariance.flatten())
    return found.log_evidence.sum(), filled.sum(0), second.unflatten(0, (dims, dims))


def _chunks(rows: Tensor) -> list[Tensor]:
    """Parts whose conditional covariances fit into memory; rows come with the fewest gaps first."""
    if not len(rows):
        return []
    most = int(rows.isnan().sum(1).max())
    return list(rows.split(max(1, min(2048, _CHUNK // max(1, most * most)))))
