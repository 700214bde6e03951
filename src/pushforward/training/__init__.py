"""Training by maximum likelihood."""

from .history import Run
from .loop import fit
from .settings import FitConfig
from .variational import VariationalConfig, fit_density
from .variational_run import VariationalRun

__all__ = ["FitConfig", "Run", "VariationalConfig", "VariationalRun", "fit", "fit_density"]
