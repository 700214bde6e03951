"""Rows that lack cells: the density of the cells that they have, on the scale of whole rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ...flow import Flow
from ...gaussians.mixture import GaussianMixture
from ...models.gmm import MixtureFlow
from ...scoring import score

__all__ = ["incomplete_scores", "knows_marginals", "observed_log_prob"]

Array = np.ndarray[Any, np.dtype[Any]]

_MOST = 500
"""Whole rows that each set of present cells is compared with, where there are many such sets."""
_MANY = 50


def knows_marginals(flow: Flow) -> bool:
    """Whether the density of some of the columns is known: of a mixture of normals over rows."""
    return (
        isinstance(flow, MixtureFlow)
        and len(flow.shape) == 1
        and isinstance(flow.base, GaussianMixture)
        and flow.base.covariance == "full"
    )


def observed_log_prob(flow: Flow, rows: Array) -> Array:
    r"""The log-density of the cells that are there, ``(N, D)`` with NaN -> ``(N,)``, in nats.

    .. math:: \log p(x_o) + c_m = \log \sum_k \pi_k\, N(z_o;\, \mu_{k,o}, \Sigma_{k,oo})
              + \sum_{j \in o} \log \left| \frac{dz_j}{dx_j} \right| + c_m

    The layers before the mixture take columns one by one; :math:`c_m` is the log-det of the columns
    that lack, at fixed values, and depends on which ones lack alone: compare rows that lack the
    same. NaN where all do.
    """
    gaps = np.isnan(rows)
    if not gaps.any():
        return score(flow, rows)
    base = flow.base
    assert isinstance(base, GaussianMixture)
    with torch.no_grad():
        middle = flow.decode(base.mean[:1].reshape(1, *flow.shape)).double().cpu().numpy()
        filled = np.where(gaps, middle, rows)
        z = flow.encode(filled).double().cpu()
        log_det = score(flow, filled) - _log_prob(base, z)
        root = torch.linalg.inv(base.factors(torch.float64)).cpu()  # the covariance is root root^T
        result = np.full(len(rows), np.nan)
        patterns, which = np.unique(gaps, axis=0, return_inverse=True)
        for k, pattern in enumerate(patterns):
            seen = torch.from_numpy(~pattern)
            if pattern.all():
                continue
            part = GaussianMixture((int(seen.sum()),), base.components).double()
            rooted = root[:, seen]
            part.set_moments(
                base.logits.double().softmax(0).cpu(),
                base.mean.double().cpu()[:, seen],
                rooted @ rooted.mT,
            )
            mine = np.flatnonzero(which.reshape(-1) == k)
            result[mine] = _log_prob(part, z[mine][:, seen]) + log_det[mine]
    return result


def _log_prob(base: GaussianMixture, z: torch.Tensor) -> Array:
    """In pieces: a mixture takes K times the memory of its rows."""
    anchor = base.mean
    return np.concatenate([base.log_prob(part.to(anchor)).cpu().numpy() for part in z.split(1024)])


def incomplete_scores(
    flow: Flow, rows: Array, usual: Sequence[tuple[Flow, Array]], *, seed: int = 0
) -> Array:
    r"""Scores of rows that lack cells, beside those of whole rows: ``(N,)``.

    .. math:: s(x) = C\left(C_m^{-1}(-\log p(x_o))\right)

    with C the scores of the usual rows and :math:`C_m` those of the same rows with the same cells
    hidden, both in rising order: a row that lacks cells gets the score that a whole row of its rank
    has, and so its p-value. Beyond the last usual row, nats are added as they are. It holds where
    cells lack at random; that a cell lacks is no sign of anything.

    Args:
        flow: of the rows.
        rows: ``(N, D)`` with NaN.
        usual: densities, and whole rows ``(n, D)`` that each did not learn.
        seed: of the draw of usual rows, where there are many sets of present cells.
    """
    gaps = np.isnan(rows)
    patterns, which = np.unique(gaps, axis=0, return_inverse=True)
    total = sum(len(x) for _, x in usual)
    if len(patterns) > _MANY and total > _MOST:
        generator = np.random.default_rng(seed)
        share = _MOST / total
        usual = [(f, x[generator.random(len(x)) < share]) for f, x in usual]
        usual = [(f, x) for f, x in usual if len(x)]
    whole = np.sort(np.concatenate([-score(f, x) for f, x in usual]))
    result = np.full(len(rows), np.nan)
    for k, pattern in enumerate(patterns):
        if pattern.all():
            continue
        mine = np.flatnonzero(which.reshape(-1) == k)
        hidden = [-observed_log_prob(f, np.where(pattern, np.nan, x)) for f, x in usual]
        ranks = np.sort(np.concatenate(hidden))
        own = -observed_log_prob(flow, rows[mine])
        result[mine] = np.interp(own, ranks, whole) + np.maximum(own - ranks[-1], 0)
    return result
