"""Flows as scikit-learn estimators: density, outliers, missing values, Gaussianisation."""

from .density import FlowDensity
from .imputer import FlowImputer
from .outliers import FlowOutlierDetector
from .transformer import FlowTransformer

__all__ = ["FlowDensity", "FlowImputer", "FlowOutlierDetector", "FlowTransformer"]
