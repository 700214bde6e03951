"""Named architectures, each a configuration and a function that builds a flow from it."""

from .loading import load
from .realnvp import RealNVP, RealNVPConfig
from .realnvp_paper import RealNVPPaperConfig
from .registry import create, list_models

__all__ = ["RealNVP", "RealNVPConfig", "RealNVPPaperConfig", "create", "list_models", "load"]
