"""Exact probability densities of images and tables, learned by invertible networks.

Importing this package is cheap: PyTorch is imported when a name that needs it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from . import bases, data, elementwise, energies, jobs, layers, models, nets, sklearn, training
    from .data import Dataset, open_data
    from .distributions import FlowDistribution
    from .errors import InputError, NumericalError
    from .flow import Flow
    from .jobs import evaluate, verify
    from .jobs.auditing.audit import audit
    from .jobs.detection.anomalies import anomalies
    from .jobs.imputation.impute import Imputation, impute
    from .jobs.imputation.inpaint import inpaint
    from .jobs.latent.edit import direction, edit, swap
    from .jobs.latent.extrapolate import extrapolate
    from .jobs.latent.interpolate import interpolate
    from .jobs.latent.manifold import manifold
    from .jobs.latent.nearest import nearest
    from .jobs.latent.resample import resample
    from .jobs.latent.temperature import temperatures
    from .jobs.learning import learn
    from .jobs.quality.quality import synthetic_quality
    from .models import (
        GAN,
        GMM,
        IAF,
        MAF,
        NICE,
        NSF,
        VAE,
        FlowPP,
        Glow,
        IRevNet,
        Jet,
        PlanarFlow,
        RealNVP,
        RevNet,
        create,
        list_models,
        load,
    )
    from .sklearn import FlowDensity, FlowImputer, FlowOutlierDetector, FlowTransformer
    from .training import Run, VariationalRun, fit, fit_density

_HOMES = {
    "Dataset": "data",
    "Flow": "flow",
    "FlowDensity": "sklearn",
    "FlowDistribution": "distributions",
    "FlowImputer": "sklearn",
    "FlowOutlierDetector": "sklearn",
    "FlowTransformer": "sklearn",
    "GAN": "models",
    "GMM": "models",
    "Glow": "models",
    "NICE": "models",
    "FlowPP": "models",
    "IAF": "models",
    "IRevNet": "models",
    "Imputation": "jobs.imputation.impute",
    "InputError": "errors",
    "Jet": "models",
    "MAF": "models",
    "NSF": "models",
    "NumericalError": "errors",
    "PlanarFlow": "models",
    "RealNVP": "models",
    "RevNet": "models",
    "VAE": "models",
    "Run": "training",
    "VariationalRun": "training",
    "anomalies": "jobs.detection.anomalies",
    "audit": "jobs.auditing.audit",
    "create": "models",
    "direction": "jobs.latent",
    "edit": "jobs.latent",
    "evaluate": "jobs",
    "extrapolate": "jobs.latent",
    "fit": "training",
    "fit_density": "training",
    "impute": "jobs.imputation.impute",
    "inpaint": "jobs.imputation.inpaint",
    "interpolate": "jobs.latent",
    "learn": "jobs.learning",
    "list_models": "models",
    "load": "models",
    "manifold": "jobs.latent",
    "nearest": "jobs.latent",
    "open_data": "data",
    "resample": "jobs.latent",
    "swap": "jobs.latent",
    "synthetic_quality": "jobs.quality.quality",
    "temperatures": "jobs.latent",
    "verify": "jobs",
}
_MODULES = (
    "bases",
    "data",
    "elementwise",
    "energies",
    "jobs",
    "layers",
    "models",
    "nets",
    "sklearn",
    "training",
)

__all__ = [
    "GAN",
    "GMM",
    "IAF",
    "MAF",
    "NICE",
    "NSF",
    "VAE",
    "Dataset",
    "Flow",
    "FlowDensity",
    "FlowDistribution",
    "FlowImputer",
    "FlowOutlierDetector",
    "FlowPP",
    "FlowTransformer",
    "Glow",
    "IRevNet",
    "Imputation",
    "InputError",
    "Jet",
    "NumericalError",
    "PlanarFlow",
    "RealNVP",
    "RevNet",
    "Run",
    "VariationalRun",
    "anomalies",
    "audit",
    "bases",
    "create",
    "data",
    "direction",
    "edit",
    "elementwise",
    "energies",
    "evaluate",
    "extrapolate",
    "fit",
    "fit_density",
    "impute",
    "inpaint",
    "interpolate",
    "jobs",
    "layers",
    "learn",
    "list_models",
    "load",
    "manifold",
    "models",
    "nearest",
    "nets",
    "open_data",
    "resample",
    "sklearn",
    "swap",
    "synthetic_quality",
    "temperatures",
    "training",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
