"""Conditioners: the networks that decide a coupling's parameters. They need not be invertible."""

from .activations import ACTIVATIONS
from .constant import Constant
from .convnet import ConvNet
from .gated import GatedConvNet
from .glownet import GlowNet, ZeroConv
from .made import MADE
from .mlp import MLP
from .resnet import ResNet
from .vit import ViT

__all__ = [
    "ACTIVATIONS",
    "MADE",
    "MLP",
    "Constant",
    "ConvNet",
    "GatedConvNet",
    "GlowNet",
    "ResNet",
    "ViT",
    "ZeroConv",
]
