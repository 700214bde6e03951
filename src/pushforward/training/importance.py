"""What weighted samples say about a density that is known up to a constant."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import NumericalError

__all__ = ["Importance", "check_weights", "importance", "pareto_k"]

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Importance:
    r"""Estimates from samples of q and their log-weights :math:`\ell_i = -U(x_i) - \log q(x_i)`.

    Attributes:
        samples: n.
        free_energy: :math:`-\tfrac1n \sum \ell_i`, the negative evidence lower bound, in nats; on
            average never below -log Z, and above it by the divergence of q from p.
        free_energy_error: its standard error.
        log_z: :math:`\log \tfrac1n \sum e^{\ell_i}`, in nats.
        log_z_error: its standard error, to first order in 1/n.
        ess: effective sample size as a fraction, :math:`(\sum w)^2 / (n \sum w^2)`; 1 if q is p.
        pareto_k: shape of the tail of the weights; see ``pareto_k``.
    """

    samples: int
    free_energy: float
    free_energy_error: float
    log_z: float
    log_z_error: float
    ess: float
    pareto_k: float


def importance(log_weights: Any) -> Importance:
    """Estimate all of it from log-weights ``(n,)``, n at least 2; -inf is a weight of 0.

    Raises:
        NumericalError: a weight that is NaN or infinite, or no weight above 0.
    """
    values = np.asarray(log_weights, dtype=np.float64)
    check_weights(values)
    n, most = len(values), values.max()
    weights = np.exp(values - most)
    ess = float(weights.sum() ** 2 / (n * np.square(weights).sum()))
    bounded = bool(np.isfinite(values).all())  # else a sample lies where p is 0
    return Importance(
        samples=n,
        free_energy=float(-values.mean()),
        free_energy_error=float(values.std(ddof=1) / math.sqrt(n)) if bounded else math.inf,
        log_z=float(most + math.log(weights.mean())),
        # The relative variance of a weight is 1 / ess - 1; rounding may make it -0.
        log_z_error=math.sqrt(max(0.0, 1 / ess - 1) / (n - 1)),
        ess=min(1.0, ess),
        pareto_k=pareto_k(values),
    )


def check_weights(log_weights: Any) -> None:
    """See that something can be estimated from log-weights ``(n,)``.

    Raises:
        NumericalError: a weight that is NaN or infinite, or no weight above 0.
    """
    values = np.asarray(log_weights, dtype=np.float64)
    bad = int((np.isnan(values) | (values == math.inf)).sum())
    if bad:
        raise NumericalError(
            f"the weights of {bad:,} of {len(values):,} samples of the flow are NaN or infinite, "
            f"and nothing can be estimated: the energy must be a number, or infinite, wherever the "
            f"flow can go."
        )
    if len(values) and values.max() == -math.inf:
        raise NumericalError(
            f"all {len(values):,} samples of the flow have infinite energy, and nothing can be "
            f"estimated: write the energy in coordinates without edges."
        )


def pareto_k(log_weights: Any) -> float:
    r"""The shape k of a generalised Pareto distribution fitted to the largest weights.

    Weights have finite moments of orders below 1/k: at k > 1/2 their variance, on which the
    standard error of log Z rests, is infinite, and beyond 0.7 no practical number of samples is
    enough. Weights that are all but equal have k = -inf; where all but the largest four vanish
    beside them k = inf; of fewer than 25 it is NaN.

    Source: Vehtari et al. 2024 (Pareto smoothed importance sampling), section 2; the fit is that
    of Zhang and Stephens 2009, drawn a little towards 1/2 as there.
    """
    values = np.sort(np.asarray(log_weights, dtype=np.float64))
    n = len(values)
    size = math.ceil(min(0.2 * n, 3 * math.sqrt(n)))
    if size < 5:
        return math.nan
    tail = np.exp(values[-size:] - values[-1]) - np.exp(values[-size - 1] - values[-1])
    if tail[-1] < 1e-5:  # no more than the rounding of float32
        return -math.inf
    tail = tail[tail > 1e-290]  # others have no digits left
    if len(tail) < 5:
        return math.inf
    return (len(tail) * _pareto_shape(tail) + 5) / (len(tail) + 10)


def _pareto_shape(excess: Array) -> float:
    """Zhang and Stephens' estimate from ascending positive numbers."""
    n = len(excess)
    points = 30 + int(math.sqrt(n))
    quartile = excess[max(0, int(n / 4 + 0.5) - 1)]
    b = 1 - np.sqrt(points / (np.arange(1, points + 1) - 0.5))
    b = b / (3 * quartile) + 1 / excess[-1]
    k = np.log1p(-b[:, None] * excess).mean(1)
    profile = n * (np.log(-b / k) - k - 1)
    weights = np.exp(profile - profile.max())
    mean = float((b * weights).sum() / weights.sum())
    return float(np.log1p(-mean * excess).mean())
