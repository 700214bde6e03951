"""FlowImputer: missing cells from what the density says of them, given the others of their row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import OneToOneFeatureMixin, TransformerMixin

from ..errors import InputError
from ..jobs.imputation.impute import impute
from ..threads import few_threads
from .estimator import Array, FlowEstimator, seed_from

__all__ = ["FlowImputer"]

_STRATEGIES = ("mean", "best", "draw")


class FlowImputer(OneToOneFeatureMixin, TransformerMixin, FlowEstimator):
    """Fill in NaN by p(missing | observed) of a density that is learned from incomplete rows.

    Cells that were observed come out as they came in. ``pushforward.impute(imputer.flow_, X)``
    gives several draws and their spread.

    Parameters
    ----------
    model : str, default="realnvp"
        ``"realnvp"``, ``"nsf"``, ``"maf"`` or ``"gmm"``.
    strategy : {"mean", "best", "draw"}, default="mean"
        The conditional mean, the most probable values together, or one draw, with which spreads
        and correlations of columns stay as they are.
    steps : int, default=60
        Of the Markov chains of ``transform``, a third of them warm-up.
    max_steps : int, default=None
        Training steps; None takes what suits the number of rows.
    settings : dict, default=None
        Settings of the model, such as ``{"width": 128}``.
    training : dict, default=None
        Options of ``pushforward.fit``, such as ``{"lr": 1e-3, "max_time": 60}``.
    random_state : int, RandomState instance or None, default=None
        Of training and of the draws; an int makes ``fit`` and ``transform`` repeatable.

    Attributes
    ----------
    flow_ : pushforward.Flow
        What was learned, in float64.
    seed_ : int
        Of the draws, chosen in ``fit``.
    n_features_in_ : int
        Columns seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, where ``X`` was a frame whose names are all strings.
    """

    def __init__(
        self,
        model: str = "realnvp",
        *,
        strategy: str = "mean",
        steps: int = 60,
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
        self.strategy = strategy
        self.steps = steps

    def fit(self, X: Any, y: Any = None) -> FlowImputer:
        """Learn from the rows of ``X`` (n_samples, n_features), NaN where missing."""
        if self.strategy not in _STRATEGIES:
            raise InputError(f"strategy is one of {', '.join(_STRATEGIES)}; got {self.strategy!r}.")
        x = self._table(X, reset=True, ensure_all_finite="allow-nan")
        lacking = np.isnan(x)
        empty = np.flatnonzero(lacking.all(axis=0))
        if len(empty):
            name = getattr(self, "feature_names_in_", np.arange(x.shape[1]))[empty[0]]
            raise InputError(
                f"column {name} has no value in any row, so there is nothing to fill it in from; "
                f"drop it."
            )
        x = x[~lacking.all(axis=1)]  # an empty row tells nothing
        self.seed_ = seed_from(self.random_state)
        self._learn(x, **({"missing": True} if lacking.any() else {}))
        return self

    def transform(self, X: Any) -> Array:
        """``X`` with its NaN filled in; an array of the same type."""
        x = self._table(X, reset=False, ensure_all_finite="allow-nan")
        lacking = np.isnan(x)
        rows = np.flatnonzero(lacking.any(axis=1))
        result = x.copy()
        if len(rows):
            with few_threads(self.flow_, len(rows)):
                given = x[rows].astype(np.float64)
                found = impute(self.flow_, given, steps=self.steps, seed=self.seed_)
            kinds = {"mean": found.mean, "best": found.best, "draw": found.draws[0]}
            result[lacking] = kinds[self.strategy][lacking[rows]]
        return result

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
