"""Estimators that have learned little, but quickly."""

import numpy as np

from pushforward.sklearn import FlowDensity, FlowImputer, FlowOutlierDetector, FlowTransformer

ESTIMATORS = (FlowDensity, FlowImputer, FlowOutlierDetector, FlowTransformer)
QUICK = {
    "max_steps": 3,
    "settings": {"couplings": 2, "width": 8, "base": "normal"},
    "random_state": 0,
}


def quick(make, **options):
    """It, to be fitted in a few steps of a narrow flow."""
    chains = {"steps": 6} if make is FlowImputer else {}
    return make(**{**QUICK, **chains, **options})


def rows(n=60, d=3, seed=0):
    """Correlated columns of different scales."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    x[:, 1:] += x[:, :-1]
    return x * 10.0 ** np.arange(d) + 5.0


def answers(estimator, x):
    """What it says of rows, whichever it is."""
    return estimator.transform(x) if hasattr(estimator, "transform") else estimator.score_samples(x)
