"""FlowTransformer: rows to independent standard normal numbers, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted

from ..errors import InputError
from .estimator import Array, FlowEstimator

__all__ = ["FlowTransformer"]


class FlowTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, FlowEstimator):
    """Gaussianisation: an invertible map of rows to latents that are as good as standard normal.

    Unlike ``QuantileTransformer`` and ``PowerTransformer``, which bend each column by itself, it
    also takes what columns have to do with one another out of them.

    Parameters
    ----------
    model : str, default="realnvp"
        A name of ``pushforward.list_models()`` that makes flows over rows, such as ``"nsf"``.
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
        Columns seen in ``fit``; latents are as many.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, where ``X`` was a frame whose names are all strings.
    """

    # Over a mixture, latents would be clusters and not normal.
    _begin: ClassVar[Mapping[str, Any]] = {"base": "normal", "law": "spline"}

    def fit(self, X: Any, y: Any = None) -> FlowTransformer:
        """Learn from the rows of ``X`` (n_samples, n_features); ``y`` is ignored."""
        self._learn(self._table(X, reset=True))
        return self

    def transform(self, X: Any) -> Array:
        """The latent of each row: ``(n_samples, n_features)``."""
        return self._apply("encode", self._table(X, reset=False))

    def inverse_transform(self, X: Any) -> Array:
        """The row of each latent."""
        check_is_fitted(self)
        z = check_array(X, dtype=(np.float64, np.float32), input_name="X")
        if z.shape[1] != self.n_features_in_:
            raise InputError(
                f"latents have {self.n_features_in_} numbers a row; got {z.shape[1]}. Give what "
                f"transform returned."
            )
        return self._apply("decode", z)

    @property
    def _n_features_out(self) -> int:
        return int(self.n_features_in_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
