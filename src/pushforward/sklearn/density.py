"""FlowDensity: scikit-learn's density estimator, with a flow for its density."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import DensityMixin
from sklearn.utils.validation import check_is_fitted

from ..threads import few_threads
from .estimator import Array, FlowEstimator, seed_from

__all__ = ["FlowDensity"]


class FlowDensity(DensityMixin, FlowEstimator):
    """The density of the rows of a table, used as ``sklearn.neighbors.KernelDensity`` is.

    Parameters
    ----------
    model : str, default="realnvp"
        A name of ``pushforward.list_models()`` that makes flows over rows, such as ``"nsf"``,
        ``"maf"`` or ``"gmm"``.
    max_steps : int, default=None
        Training steps; None takes what suits the number of rows.
    settings : dict, default=None
        Settings of the model, such as ``{"width": 128}``.
    training : dict, default=None
        Options of ``pushforward.fit``, such as ``{"lr": 1e-3, "max_time": 60}``.
    random_state : int, RandomState instance or None, default=None
        Of weights, batches and what is held out for validation; an int makes ``fit`` repeatable.

    Attributes
    ----------
    flow_ : pushforward.Flow
        What was learned, in float64.
    n_features_in_ : int
        Columns seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, where ``X`` was a frame whose names are all strings.

    Examples
    --------
    >>> import numpy as np
    >>> from pushforward.sklearn import FlowDensity
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> density = FlowDensity(max_steps=10, random_state=0).fit(X)
    >>> density.score_samples(X).shape
    (100,)
    """

    def fit(self, X: Any, y: Any = None) -> FlowDensity:
        """Learn the density of the rows of ``X`` (n_samples, n_features); ``y`` is ignored."""
        self._learn(self._table(X, reset=True))
        return self

    def score_samples(self, X: Any) -> Array:
        """Log-density of each row, in nats: ``(n_samples,)``."""
        return self._log_prob(self._table(X, reset=False))

    def score(self, X: Any, y: Any = None) -> float:
        """Total log-likelihood of the rows of ``X``, in nats, as ``KernelDensity`` gives it."""
        return float(self.score_samples(X).sum())

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Array:
        """Draw rows: ``(n_samples, n_features)``."""
        check_is_fitted(self)
        with few_threads(self.flow_, n_samples):
            draws = self.flow_.sample(n_samples, seed=seed_from(random_state))
        return np.asarray(draws.numpy())
