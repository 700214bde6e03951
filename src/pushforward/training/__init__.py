"""Training by maximum likelihood."""

from .history import Run
from .loop import fit
from .settings import FitConfig

__all__ = ["FitConfig", "Run", "fit"]
