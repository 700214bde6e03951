"""Named architectures, each a configuration and a function that builds a flow from it."""

from .course import CourseConfig
from .flowpp import FlowPP, FlowPPConfig
from .gan import GAN, GANConfig
from .glow import Glow, GlowConfig
from .gmm import GMM, GMMConfig
from .irevnet import IRevNet, IRevNetConfig
from .jet import Jet, JetConfig
from .loading import load
from .maf import IAF, MAF, MAFConfig
from .nice import NICE, NICEConfig
from .nsf import NSF, NSFConfig
from .planar import PlanarFlow, PlanarFlowConfig
from .realnvp import RealNVP, RealNVPConfig
from .realnvp_paper import RealNVPPaperConfig
from .registry import create, list_models
from .revnet import RevNet, RevNetConfig
from .vae import VAE, VAEConfig, VariationalAutoencoder

__all__ = [
    "GAN",
    "GMM",
    "IAF",
    "MAF",
    "NICE",
    "NSF",
    "VAE",
    "CourseConfig",
    "FlowPP",
    "FlowPPConfig",
    "GANConfig",
    "GMMConfig",
    "Glow",
    "GlowConfig",
    "IRevNet",
    "IRevNetConfig",
    "Jet",
    "JetConfig",
    "MAFConfig",
    "NICEConfig",
    "NSFConfig",
    "PlanarFlow",
    "PlanarFlowConfig",
    "RealNVP",
    "RealNVPConfig",
    "RealNVPPaperConfig",
    "RevNet",
    "RevNetConfig",
    "VAEConfig",
    "VariationalAutoencoder",
    "create",
    "list_models",
    "load",
]
