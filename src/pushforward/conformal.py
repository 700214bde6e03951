"""Calibrated p-values: how rare a score is among scores of events that are known to be usual."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .errors import InputError

__all__ = ["benjamini_hochberg", "own_p_values", "p_values", "threshold"]

Array = np.ndarray[Any, np.dtype[Any]]


def p_values(scores: Any, calibration: Any, *, generator: np.random.Generator | None = None) -> Any:
    r"""The conformal p-value of each score; large scores are unusual.

    .. math:: p(s) = \frac{1 + \#\{i : c_i \ge s\}}{n + 1}

    If an event and the n of the calibration are exchangeable, :math:`P(p \le t) \le t` for every
    t, whatever the model and however bad it is. Ties count against the event, so that p-values of
    discrete scores are conservative; with a ``generator`` they are broken at random instead,

    .. math:: p(s) = \frac{\#\{c_i > s\} + u\,(1 + \#\{c_i = s\})}{n + 1}, \qquad u \sim U(0, 1)

    and then p is exactly uniform. The smallest p-value without it is 1 / (n + 1). The scores of
    one call share a calibration, so they are not independent of one another: see
    `benjamini_hochberg`.

    Args:
        scores: ``(N,)``.
        calibration: ``(n,)`` scores of held-out events, which the model did not learn from.
        generator: breaks ties at random.

    Returns:
        ``(N,)`` float64 in (0, 1]; NaN where the score is NaN.

    Raises:
        InputError: no calibration scores, or NaN among them.

    Source: Vovk, Gammerman and Shafer 2005, chapter 2; Bates et al. 2023 (outlier p-values).
    """
    values, usual = _vector(scores, "scores"), np.sort(_calibration(calibration))
    n = len(usual)
    above = n - np.searchsorted(usual, values, side="right")
    ties = n - np.searchsorted(usual, values, side="left") - above
    if generator is None:
        result = (1.0 + above + ties) / (n + 1)
    else:
        # 1 - random() lies in (0, 1]: a p-value is never 0.
        result = (above + (1 - generator.random(len(values))) * (1 + ties)) / (n + 1)
    result[np.isnan(values)] = math.nan
    return result


def own_p_values(scores: Any) -> Any:
    r"""The conformal p-value of each event among the events themselves.

    .. math:: p_i = \frac{\#\{j : s_j \ge s_i\}}{n}

    which is ``p_values`` against the n - 1 others. It holds where the events are exchangeable and
    the score treats them alike: a model that learned none of them, all of them, or, in folds drawn
    at random, all but the event's own. At most a share t of all events has :math:`p \le t`, be
    there more anomalies than that.

    Args:
        scores: ``(n,)``; NaN counts for nothing, and its p-value is NaN.

    Returns:
        ``(n,)`` float64 in (0, 1].

    Source: Vovk, Gammerman and Shafer 2005, chapter 2 (transductive); Vovk 2015 (cross-conformal).
    """
    values = _vector(scores, "scores")
    known = np.sort(values[~np.isnan(values)])
    result = (len(known) - np.searchsorted(known, values, side="left")) / max(1, len(known))
    result[np.isnan(values)] = math.nan
    return result


def threshold(calibration: Any, false_alarms: float, *, own: bool = False) -> float:
    r"""The score from which on an event is flagged: a score above it has :math:`p \le \alpha`.

    .. math:: \tau = c_{(n - k + 1)}, \qquad k = \lfloor \alpha (n + 1) \rfloor

    with the calibration scores in rising order; flagging :math:`s > \tau` is flagging
    :math:`p(s) \le \alpha`. Infinite where k is 0: n scores cannot tell of a rate below
    1 / (n + 1).

    Args:
        calibration: ``(n,)`` scores of held-out events.
        false_alarms: :math:`\alpha`, the share of usual events that may be flagged.
        own: for the calibration events themselves, as by ``own_p_values``: n is then one less, of
            each event the others.

    Raises:
        InputError: the rate is not between 0 and 1, or the calibration is empty or has NaN.
    """
    rate = _rate(false_alarms)
    usual = np.sort(_calibration(calibration))
    # A hair above: 0.01 * 100 is 1, and so it should be in floating point.
    allowed = math.floor(rate * (len(usual) + (not own)) * (1 + 1e-12))
    return math.inf if allowed == 0 else float(usual[len(usual) - allowed - own])


def benjamini_hochberg(p: Any, rate: float) -> Any:
    r"""Which of many events to flag, so that of the flagged ones a share ``rate`` is usual.

    .. math:: k = \max\{i : p_{(i)} \le i\,q / N\}, \qquad \text{flag the } k \text{ smallest}

    Conformal p-values of one calibration depend on one another positively, under which the false
    discovery rate is still at most q.

    Args:
        p: ``(N,)`` p-values; NaN is never flagged.
        rate: q.

    Returns:
        ``(N,)`` bool.

    Raises:
        InputError: p-values outside [0, 1] or an impossible rate.

    Source: Benjamini and Hochberg 1995; Bates et al. 2023, theorem 2.
    """
    rate, values = _rate(rate), _vector(p, "p-values")
    if np.any((values < 0) | (values > 1)):
        raise InputError("p-values lie between 0 and 1; got one outside.")
    known = np.sort(values[~np.isnan(values)])
    below = np.flatnonzero(known <= rate * np.arange(1, len(known) + 1) / max(1, len(known)))
    if not len(below):
        return np.zeros(len(values), bool)
    return values <= known[below[-1]]


def _vector(values: Any, name: str) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise InputError(f"{name} are a vector of one number per event; got shape {array.shape}.")
    return array


def _calibration(values: Any) -> Array:
    array = _vector(values, "calibration scores")
    if not len(array):
        raise InputError("there are no calibration scores; hold out at least one event.")
    if np.isnan(array).any():
        raise InputError("a calibration score is NaN; leave out events that cannot be scored.")
    return array


def _rate(rate: float) -> float:
    if not 0 < rate < 1:
        raise InputError(f"a rate lies between 0 and 1, such as 0.01; got {rate}.")
    return float(rate)
