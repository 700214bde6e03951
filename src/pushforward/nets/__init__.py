"""Conditioners: the networks that decide a coupling's parameters. They need not be invertible."""

from .activations import ACTIVATIONS
from .constant import Constant
from .convnet import ConvNet
from .mlp import MLP
from .resnet import ResNet

__all__ = ["ACTIVATIONS", "MLP", "Constant", "ConvNet", "ResNet"]
