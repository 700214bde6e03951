"""Find what does not belong: a score, a p-value and the reasons for each event."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from ...conformal import own_p_values, p_values, threshold
from ...errors import InputError
from ...flow import Flow
from ...models.loading import load
from ..learned_data import learned_columns
from .events import events_for, own_held_out
from .incomplete import incomplete_scores, knows_marginals
from .reasons import Reasons, heat_maps, row_reasons
from .record import Anomalies, Reason
from .scores import against, events_score, score_name
from .usual import Usual, learn_usual

__all__ = ["Anomalies", "Reason", "anomalies"]

Array = np.ndarray[Any, np.dtype[Any]]

_EXPLAINED = 100
"""At most so many flagged events are explained unless more are asked for."""
_LEAST = 16
"""So many of the top are explained even if they are not flagged: a picture's worth."""
_REFERENCE = 2_000
"""Usual events from which reasons are read."""


def anomalies(
    model: Flow | str | os.PathLike[str] | None,
    data: Any,
    *,
    held_out: Any = None,
    false_alarms: float = 0.01,
    score: str = "auto",
    explain: bool | int = True,
    context: Any = None,
    samples: int = 1,
    seed: int = 0,
) -> Anomalies:
    r"""Rank events by how unusual they are, with calibrated p-values and reasons.

    .. math:: p(x) = \frac{1 + \#\{i : s(x_i) \ge s(x)\}}{n + 1}

    over held-out events :math:`x_i`: whatever the model, of usual events at most a share t has a
    p-value of t or less. The score s is large where the model finds an event unusual.

    Args:
        model: a flow, the folder of a saved one, or None: then the density is learned from the data
            themselves, such that anomalies among them do not bend it (see ``learn_usual``).
        data: any source; for a flow that knows columns they are found by name.
        held_out: usual events that the model did not learn from, any source. If not given: the
            validation and test parts where ``data`` is the source of training; else the data
            themselves, of which then at most the share ``false_alarms`` is flagged.
        false_alarms: the share of usual events that may be flagged.
        score: ``likelihood``, ``typicality``, ``complexity``, ``either`` (of typicality and
            complexity), or ``auto``: likelihood for rows, either for images.
        explain: find reasons: of the flagged events (sixteen at least, a hundred at most), of so
            many from the top, or False for none.
        context: ``(N, K)`` for a conditional flow; ``held_out`` is then ``(events, context)``.
        samples: draws of noise per event where the density is a lower bound.
        seed: of learning, where there is no model.

    Raises:
        InputError: the data cannot be read or do not fit, or a setting is impossible.
        NumericalError: a log_prob is NaN.

    Example:
        >>> found = anomalies("runs/table", "new.csv")  # doctest: +SKIP
        >>> found.order[:10], found.p_values[found.order[:10]]  # doctest: +SKIP

    Source: Bates et al. 2023 (conformal p-values of outliers).
    """
    if not 0 < false_alarms < 1:
        raise InputError(f"false_alarms is a share such as 0.01; got {false_alarms}.")
    usual, said = held_out, "the events held out that were given"
    crossed: tuple[tuple[Flow, Array], ...] = ()
    if model is None:
        if context is not None:
            raise InputError("a density of the data themselves takes no context; give a model.")
        learned: Usual = learn_usual(data, seed=seed)
        flow, x = learned.flow, learned.events
        if usual is None:
            usual, said = learned.held_out, "a part of the data that was not learned"
            crossed = learned.crossed
    else:
        flow = model if isinstance(model, Flow) else _load(model)
        x = events_for(flow, data)
        if usual is None:
            usual, said = own_held_out(flow, data), "validation and test of the training data"
    name = score_name(flow, score)
    parts = events_score(flow, x, name, context, samples=samples)
    for other, fold in crossed:  # each row by a density that did not learn it
        parts[fold] = events_score(other, x[fold], name)
    own = usual is None
    reference, usual_parts = x, parts
    if usual is None:
        said = "the data themselves, which may hold anomalies"
        if crossed:
            said = "the data themselves, each by a density that did not learn it"
    else:
        given = None
        if context is not None and isinstance(usual, tuple):
            usual, given = usual
        reference = events_for(flow, usual)
        usual_parts = events_score(flow, reference, name, given, samples=samples)
    known = ~np.isnan(usual_parts).any(axis=1)
    if own and not known.any():
        raise InputError(
            f"each of the {len(x):,} events lacks a value; fill the missing values first."
        )
    if not known.any():
        raise InputError("each of the held-out events lacks a value; give complete ones.")
    reference, usual_parts = reference[known], usual_parts[known]
    lacking = np.isnan(parts).any(axis=1)
    if lacking.any() and knows_marginals(flow):
        others = [(f, x[fold]) for f, fold in crossed] or [(flow, reference)]
        parts[lacking, 0] = incomplete_scores(flow, x[lacking], others, seed=seed)
    if np.isnan(parts).all():
        raise InputError(
            f"each of the {len(x):,} events lacks a value; fill the missing values first."
        )
    scores, usual_scores = against(name, parts, usual_parts)
    p = p_values(scores, usual_scores)
    own = own and len(usual_scores) == known.sum()  # no half of them gives a reference
    if own:
        p[known] = own_p_values(scores[known])
    limit = threshold(usual_scores, false_alarms, own=own)
    flags = p <= false_alarms * (1 + 1e-12)  # NaN is not
    # Among equal p-values the larger score comes first; NaN last.
    order = np.argsort(np.where(np.isnan(scores), math.inf, -scores), kind="stable")
    explained = _to_explain(explain, order, flags, scores)
    found, maps = _explain(flow, x, explained, reference, context, samples)
    return Anomalies(
        score=name,
        scores=scores,
        p_values=p,
        flags=flags,
        order=order,
        threshold=limit,
        false_alarms=false_alarms,
        calibration=np.sort(usual_scores),
        calibrated_on=said,
        explained=explained,
        attribution=maps,
        reasons=found,
        columns=tuple(learned_columns(flow)) if len(flow.shape) == 1 else None,
        events=x,
        levels=flow.levels,
        flow=flow,
    )


def _load(model: str | os.PathLike[str]) -> Flow:
    flow = load(model)
    if not isinstance(flow, Flow):
        raise InputError(f"{model} holds {flow.name}, which has no density to find anomalies by.")
    return flow


def _to_explain(explain: bool | int, order: Array, flags: Array, scores: Array) -> Array:
    if explain is False:
        return order[:0]
    wanted = min(_EXPLAINED, max(_LEAST, int(flags.sum()))) if explain is True else int(explain)
    top = order[: max(0, wanted)]
    return top[~np.isnan(scores[top])]


def _explain(
    flow: Flow, x: Array, which: Array, reference: Array, context: Any, samples: int
) -> tuple[Reasons | None, Array | None]:
    if not len(which):
        return None, None
    generator = np.random.default_rng(0)
    if len(reference) > _REFERENCE:
        reference = reference[np.sort(generator.permutation(len(reference))[:_REFERENCE])]
    given = None if context is None else np.asarray(context)[which]
    if len(flow.shape) == 1:
        reasons = row_reasons(flow, x[which], reference, given, samples=samples)
        return reasons, reasons.gain
    return None, heat_maps(flow, x[which], reference, given)
