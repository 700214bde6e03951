"""Factor analysis of rows that lack numbers: the covariance of tables of many columns."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["fit_factors"]

_ROWS = 2_000
"""Rows that it reads; a thousand columns of more would take minutes."""

_STEPS = 50

_LEAST = 1e-3
"""Of a column's variance, the part that is its own at least."""


def fit_factors(
    rows: Tensor, rank: int = 16, iterations: int = _STEPS, tolerance: float = 3e-4
) -> tuple[Tensor, Tensor, Tensor, list[float]]:
    r"""A covariance of low rank plus a diagonal, by EM; each row may lack numbers (NaN).

    .. math:: x = \mu + F f + \epsilon, \qquad f \sim N(0, I_r), \qquad
              \epsilon_d \sim N(0, \psi_d), \qquad \Sigma = F F^\top + \mathrm{diag}(\psi)

    Each row costs :math:`D r^2 + r^3`, whatever it lacks. :math:`\psi` is kept above a thousandth
    of the variance, and a weak prior pulls F towards 0. The rank is at most a third of the rows.

    Args:
        rows: ``(N, D)`` of columns standardised by what is observed of them; at most 2,000, evenly
            spaced, are used.
        rank: r.
        iterations: at most so many.
        tolerance: it stops when an iteration gains less, in nats a number.

    Returns:
        mean ``(D,)``, F ``(D, r)``, psi ``(D,)``, and the mean log-density of what is observed of a
        row, before each iteration and after the last.

    Source: Rubin and Thayer 1982; Tipping and Bishop 1999 for missing numbers.
    """
    if len(rows) > _ROWS:
        rows = rows[torch.linspace(0, len(rows) - 1, _ROWS).long()]
    (n, dims), rank = rows.shape, max(1, min(rank, len(rows) // 3, rows.shape[1]))
    seen = (~rows.isnan()).to(rows)
    x = rows.nan_to_num(nan=0.0)
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(dims, rank, generator=generator, dtype=rows.dtype)
    # Columns of ones for the mean: it is fitted with the loadings, as one regression a column.
    loading = torch.linalg.qr(x.T @ (x @ start) / max(1, n) + 1e-6 * start).Q * 0.5
    mean, noise = rows.new_zeros(dims), rows.new_full((dims,), 0.5)
    eye = torch.eye(rank, dtype=rows.dtype)
    history: list[float] = []
    for step in range(iterations + 1):
        weight = seen / noise
        away = seen * (x - mean)
        outer = (loading[:, :, None] * loading[:, None]).flatten(1)  # (D, r r)
        precision = eye + (weight @ outer).unflatten(1, (rank, rank))  # (N, r, r)
        lower = torch.linalg.cholesky(precision)
        pull = (weight * away) @ loading
        factor = torch.cholesky_solve(pull[..., None], lower)[..., 0]  # E f, (N, r)
        log_det = 2 * lower.diagonal(dim1=1, dim2=2).log().sum(1) + seen @ noise.log()
        quadratic = (weight * away.square()).sum(1) - (pull * factor).sum(1)
        evidence = -0.5 * (quadratic + log_det + seen.sum(1) * math.log(2 * math.pi))
        history.append(float(evidence.mean()))
        gained = history[-1] - history[-2] if step else math.inf
        if step == iterations or gained < tolerance * dims:
            break
        # E [f; 1] [f; 1]^T of each row, then one ridge regression for each column.
        one = torch.cat((factor, factor.new_ones(n, 1)), dim=1)
        moments = one[:, :, None] * one[:, None]
        moments[:, :rank, :rank] += torch.cholesky_inverse(lower)
        total = (seen.T @ moments.flatten(1)).unflatten(1, (rank + 1, rank + 1))
        total = total + 1e-3 * torch.eye(rank + 1, dtype=rows.dtype)
        cross = (seen * x).T @ one  # (D, r + 1)
        solved = torch.linalg.solve(total, cross[..., None])[..., 0]
        loading, mean = solved[:, :rank], solved[:, rank]
        left = (seen * x.square()).sum(0) - (solved * cross).sum(1)
        noise = (left / seen.sum(0).clamp(min=1)).clamp(min=_LEAST)
        noise = torch.where(seen.sum(0) > 0, noise, 1.0)
    return mean, loading, noise, history
