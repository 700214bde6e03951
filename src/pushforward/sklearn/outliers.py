"""FlowOutlierDetector: rows of low density, with p-values that hold whatever the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import OutlierMixin

from ..conformal import p_values, threshold
from ..errors import InputError
from .estimator import Array, FlowEstimator, seed_from

__all__ = ["FlowOutlierDetector"]

_FALSE_ALARMS = 0.05
"""Share of usual rows that ``contamination="auto"`` flags."""
_HELD_OUT, _FEWEST = 0.2, 20
"""Share of the rows that calibrates and is not learned from, and rows below which all do both."""


class FlowOutlierDetector(OutlierMixin, FlowEstimator):
    """Rows that the density of the training rows finds unlikely.

    A fifth of the rows calibrates: the p-value of a row is the share of them that is as unlikely,
    which is valid whatever the density is like, as long as training rows are usual ones.

    Parameters
    ----------
    model : str, default="realnvp"
        A name of ``pushforward.list_models()`` that makes flows over rows, such as ``"gmm"``.
    contamination : float or "auto", default="auto"
        Share of outliers among the training rows, in (0, 0.5], which places the threshold;
        ``"auto"`` places it where the p-value is 0.05.
    max_steps : int, default=None
        Training steps; None takes what suits the number of rows.
    settings : dict, default=None
        Settings of the model, such as ``{"width": 128}``.
    training : dict, default=None
        Options of ``pushforward.fit``, such as ``{"lr": 1e-3, "max_time": 60}``.
    random_state : int, RandomState instance or None, default=None
        Of weights, batches and what is held out; an int makes ``fit`` repeatable.

    Attributes
    ----------
    flow_ : pushforward.Flow
        What was learned, in float64.
    offset_ : float
        Log-density below which a row is an outlier.
    calibration_ : ndarray
        Log-densities of the rows that were held out.
    n_features_in_ : int
        Columns seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, where ``X`` was a frame whose names are all strings.
    """

    def __init__(
        self,
        model: str = "realnvp",
        *,
        contamination: float | str = "auto",
        max_steps: int | None = None,
        settings: Mapping[str, Any] | None = None,
        training: Mapping[str, Any] | None = None,
        random_state: Any = None,
    ) -> None:
        super().__init__(
            model,
            max_steps=max_steps,
            settings=settings,
            training=training,
            random_state=random_state,
        )
        self.contamination = contamination

    def fit(self, X: Any, y: Any = None) -> FlowOutlierDetector:
        """Learn the density of the rows of ``X`` (n_samples, n_features); ``y`` is ignored."""
        x = self._table(X, reset=True)
        share = self.contamination
        if share != "auto" and not (isinstance(share, (int, float)) and 0 < share <= 0.5):
            raise InputError(
                f"contamination is 'auto' or a share in (0, 0.5], such as 0.05; got {share!r}."
            )
        order = np.random.default_rng(seed_from(self.random_state)).permutation(len(x))
        held_out = int(_HELD_OUT * len(x)) if len(x) >= _FEWEST else 0
        self._learn(x[np.sort(order[held_out:])])
        self.calibration_ = self._log_prob(x[order[:held_out]] if held_out else x)
        if share == "auto":
            rate = max(_FALSE_ALARMS, 1 / (len(self.calibration_) + 1))  # what so few can tell
            self.offset_ = -threshold(-self.calibration_, rate)
        else:
            self.offset_ = float(np.quantile(self._log_prob(x), float(share)))
        return self

    def score_samples(self, X: Any) -> Array:
        """Log-density of each row, in nats: the lower, the less usual."""
        return self._log_prob(self._table(X, reset=False))

    def decision_function(self, X: Any) -> Array:
        """``score_samples`` less ``offset_``: negative for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> Array:
        """-1 for outliers, 1 for the others."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def p_values(self, X: Any) -> Array:
        """The share of usual rows that are as unlikely as each row: ``(n_samples,)`` in (0, 1].

        See ``pushforward.conformal.p_values``. Of one n the smallest is 1 / (n + 1), with n the
        number of calibration rows.
        """
        return np.asarray(p_values(-self.score_samples(X), -self.calibration_))
