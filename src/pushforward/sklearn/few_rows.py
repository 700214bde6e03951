"""Few rows: by cross-validation, how far from its Gaussian mixture a flow may be trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..data import Dataset, open_data
from ..errors import NumericalError
from ..flow import Flow
from ..threads import few_threads
from ..training import fit

__all__ = ["FEW", "learn_from_few"]

Array = np.ndarray[Any, np.dtype[Any]]

FEW = 300
"""Rows below which the tenth that ``fit`` validates on is too few to tell when to stop."""
_FEWEST, _FOLDS = 40, 8
"""Rows below which nothing is trained, and folds above."""
_STEPS, _EVERY = 30, 5
"""Steps at most, and between validations: within the warm-up, by whose end so few rows are known
by heart."""


def learn_from_few(
    make: Callable[[], Flow], x: Array, training: Mapping[str, Any], seed: int
) -> Flow:
    r"""A flow over a mixture that has learned from all rows, for as long as is surely worth it.

    Trained on each seven of eight folds, its loss on the eighth is :math:`v_k(s)` after s steps;
    before the first step it is that of the mixture. Then all rows are learned from, for

    .. math:: s^* = \arg\max_s\; \bar g(s) - 2 \frac{\operatorname{sd}_k g_k(s)}{\sqrt 8},
              \qquad g_k(s) = v_k(0) - v_k(s)

    steps. At s = 0 that is 0, so that without a gain of two standard errors the mixture stays as
    EM fits it to all rows, which it also does below 40 rows. No row is held out from what is
    returned, and rows that are equal lie in one fold.

    Args:
        make: gives a new flow, the same each time.
        x: ``(N, D)``, finite.
        training: options of ``fit``.
        seed: of the folds.
    """
    options = {
        **training,
        "max_steps": _STEPS,
        "validate_every": _EVERY,
        "patience": None,
        "schedule": "constant",  # so that the steps of fewer are the first ones of more
    }
    whole = open_data(x, levels=None, fractions=(0.0, 0.0))
    steps = _worth(make, whole, options, seed)
    flow = make()
    if steps:
        fit(flow, whole, **{**options, "max_steps": steps})
    else:
        with few_threads(flow, len(x)):
            flow.initialise(whole.train)
    return flow


def _worth(make: Callable[[], Flow], whole: Dataset, options: Mapping[str, Any], seed: int) -> int:
    """After how many steps all folds together are surely predicted better; 0 if never."""
    x = whole.train
    distinct, which = np.unique(x, axis=0, return_inverse=True)
    if len(distinct) < _FEWEST:
        return 0
    fold = np.random.default_rng(seed).permutation(len(distinct))[which.reshape(-1)] % _FOLDS
    losses = []
    for number in range(_FOLDS):
        split = replace(whole, train=x[fold != number], validation=x[fold == number])
        try:
            run = fit(make(), split, **options)
        except NumericalError:  # then let all of it be the mixture's
            return 0
        found = {int(record["step"]): record["validation"] for record in run.records}
        losses.append([found.get(step, math.inf) for step in range(0, _STEPS + 1, _EVERY)])
    with np.errstate(invalid="ignore"):  # of a loss that is infinite nothing is sure
        gains = np.array(losses)[:, :1] - np.array(losses)  # (folds, validations)
        sure = gains.mean(axis=0) - 2 * gains.std(axis=0, ddof=1) / math.sqrt(_FOLDS)
    return _EVERY * int(np.argmax(np.nan_to_num(sure, nan=-math.inf, posinf=-math.inf)))
