"""Invertible layers: each maps data to latent and back, with its log-determinant."""

from ..moments import has_batch_norms, sharing_statistics
from .coupling import Conditioner, Coupling, conditioners_in
from .dequantize import Dequantize
from .layer import Chain, Inverted, Layer, Shape
from .linear import Conv1x1, Flip, LULinear, Permutation, Rotation
from .masks import (
    alternating_mask,
    channel_mask,
    checkerboard_mask,
    half_mask,
)
from .multiscale import Multiscale
from .noisy import Noisy
from .norm import ActNorm, FlowBatchNorm
from .recalibration import recalibrate
from .reshape import OrderedSqueeze, Squeeze
from .transform import Logit, Standardize

__all__ = [
    "ActNorm",
    "Chain",
    "Conditioner",
    "Conv1x1",
    "Coupling",
    "Dequantize",
    "Flip",
    "FlowBatchNorm",
    "Inverted",
    "LULinear",
    "Layer",
    "Logit",
    "Multiscale",
    "Noisy",
    "OrderedSqueeze",
    "Permutation",
    "Rotation",
    "Shape",
    "Squeeze",
    "Standardize",
    "alternating_mask",
    "channel_mask",
    "checkerboard_mask",
    "conditioners_in",
    "half_mask",
    "has_batch_norms",
    "recalibrate",
    "sharing_statistics",
]
