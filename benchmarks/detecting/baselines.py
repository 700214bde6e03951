"""What detectors are compared with: each a function of training rows that returns a score.

All take standard-scaled rows ``(n, D)`` and return a function of rows ``(m, D)`` whose values are
large where a row is unusual. Rows that are scored by neighbours among themselves are never their
own neighbour (``self_scores``), or a row of the training set would be at distance 0.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

__all__ = ["BASELINES", "ecod"]

Array = np.ndarray[Any, np.dtype[Any]]
Score = Callable[[Array], Array]


def isolation_forest(train: Array, seed: int, alone: bool) -> Score:
    """100 trees of 256 rows, as published."""
    forest = IsolationForest(random_state=seed).fit(train)
    return lambda x: -forest.score_samples(x)


def local_outlier_factor(train: Array, seed: int, alone: bool) -> Score:
    """20 neighbours, as published."""
    if alone:
        factors = -LocalOutlierFactor(n_neighbors=20).fit(train).negative_outlier_factor_
        return lambda x: factors
    lof = LocalOutlierFactor(n_neighbors=20, novelty=True).fit(train)
    return lambda x: -lof.score_samples(x)


def nearest(train: Array, seed: int, alone: bool) -> Score:
    """The distance to the fifth neighbour."""
    index = NearestNeighbors(n_neighbors=5).fit(train)
    return lambda x: index.kneighbors(None if alone else x)[0][:, -1]


def ecod(train: Array, seed: int = 0, alone: bool = False) -> Score:
    r"""Sums of log tail probabilities, column by column.

    .. math:: O(x) = \max\Big(-\sum_j \log F_j(x_j),\; -\sum_j \log \bar F_j(x_j),\;
              -\sum_j \log T_j(x_j)\Big)

    with F the empirical distribution, its mirror image, and T the tail towards which a column is
    skewed. Source: Li et al. 2022 (ECOD), algorithm 1.
    """
    columns = np.sort(train, axis=0)
    n = len(columns)
    centred = train - train.mean(0)
    skew = np.sign((centred**3).mean(0))

    def score(x: Array) -> Array:
        left, right = np.empty(x.shape), np.empty(x.shape)
        for j in range(x.shape[1]):
            below = np.searchsorted(columns[:, j], x[:, j], side="right")
            above = n - np.searchsorted(columns[:, j], x[:, j], side="left")
            # A value beyond all that was seen is as rare as one in n + 1.
            left[:, j] = -np.log(np.maximum(below, n / (n + 1)) / n)
            right[:, j] = -np.log(np.maximum(above, n / (n + 1)) / n)
        chosen = np.where(skew < 0, left, np.where(skew > 0, right, left + right))
        return np.maximum(np.maximum(left, right), chosen).sum(axis=1)

    return score


def mixture(train: Array, seed: int, alone: bool) -> Score:
    """Full covariances; 1, 2, 4, 8 or 16 normals by BIC."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # EM that ends at its limit, constant columns
        fitted = [
            GaussianMixture(k, reg_covar=1e-6, random_state=seed).fit(train)
            for k in (1, 2, 4, 8, 16)
            if k * train.shape[1] < len(train)
        ]
    best = min(fitted, key=lambda model: model.bic(train))
    return lambda x: -best.score_samples(x)


def gaussian(train: Array, seed: int, alone: bool) -> Score:
    """One normal, that is the Mahalanobis distance."""
    model = GaussianMixture(1, reg_covar=1e-6).fit(train)
    return lambda x: -model.score_samples(x)


BASELINES: dict[str, Callable[[Array, int, bool], Score]] = {
    "IsolationForest": isolation_forest,
    "LOF": local_outlier_factor,
    "kNN": nearest,
    "ECOD": ecod,
    "GMM": mixture,
    "Gaussian": gaussian,
}
