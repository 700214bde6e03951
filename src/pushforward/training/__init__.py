"""Training by maximum likelihood."""

from .fit import fit
from .history import Run
from .settings import FitConfig

__all__ = ["FitConfig", "Run", "fit"]
