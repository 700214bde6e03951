"""Exact probability densities of images and tables, learned by invertible networks.

Importing this package is cheap: PyTorch is imported when a name that needs it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from . import bases, data, elementwise, energies, jobs, layers, models, nets, training
    from .data import Dataset, open_data
    from .errors import InputError, NumericalError
    from .flow import Flow
    from .jobs import evaluate, verify
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
    from .training import Run, VariationalRun, fit, fit_density

_HOMES = {
    "Dataset": "data",
    "Flow": "flow",
    "GAN": "models",
    "GMM": "models",
    "Glow": "models",
    "NICE": "models",
    "FlowPP": "models",
    "IAF": "models",
    "IRevNet": "models",
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
    "create": "models",
    "evaluate": "jobs",
    "fit": "training",
    "fit_density": "training",
    "list_models": "models",
    "load": "models",
    "open_data": "data",
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
    "FlowPP",
    "Glow",
    "IRevNet",
    "InputError",
    "Jet",
    "NumericalError",
    "PlanarFlow",
    "RealNVP",
    "RevNet",
    "Run",
    "VariationalRun",
    "bases",
    "create",
    "data",
    "elementwise",
    "energies",
    "evaluate",
    "fit",
    "fit_density",
    "jobs",
    "layers",
    "list_models",
    "load",
    "models",
    "nets",
    "open_data",
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
