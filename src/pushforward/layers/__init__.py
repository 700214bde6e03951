"""Invertible layers: each maps data to latent and back, with its log-determinant."""

from ..moments import has_batch_norms, sharing_statistics
from .autoregressive import Autoregressive
from .bounded import Bounded
from .cells import Cells
from .columns import ColumnSpec, DequantizeColumns
from .columnwise import OnColumns
from .coupling import Conditioner, Coupling, conditioners_in
from .dequantize import Dequantize
from .flatten import Flatten
from .layer import Chain, Inverted, Layer, Shape
from .linear import Conv1x1, Flip, LULinear, Permutation, Rotation
from .masks import (
    alternating_mask,
    channel_mask,
    checkerboard_mask,
    half_mask,
)
from .missing import FillMissing
from .multiscale import Multiscale
from .noisy import Noisy
from .norm import ActNorm, FlowBatchNorm
from .planar import Planar
from .power import Power
from .radial import Radial
from .recalibration import recalibrate
from .rescale import Rescale
from .reshape import OrderedSqueeze, Squeeze
from .scaling import Scaling
from .sylvester import Sylvester
from .transform import Logit, Standardize
from .variational_dequantize import VariationalDequantize
from .whitening import Whiten

__all__ = [
    "ActNorm",
    "Autoregressive",
    "Bounded",
    "Cells",
    "Chain",
    "ColumnSpec",
    "Conditioner",
    "Conv1x1",
    "Coupling",
    "Dequantize",
    "DequantizeColumns",
    "FillMissing",
    "Flatten",
    "Flip",
    "FlowBatchNorm",
    "Inverted",
    "LULinear",
    "Layer",
    "Logit",
    "Multiscale",
    "Noisy",
    "OnColumns",
    "OrderedSqueeze",
    "Permutation",
    "Planar",
    "Power",
    "Radial",
    "Rescale",
    "Rotation",
    "Scaling",
    "Shape",
    "Squeeze",
    "Standardize",
    "Sylvester",
    "VariationalDequantize",
    "Whiten",
    "alternating_mask",
    "channel_mask",
    "checkerboard_mask",
    "conditioners_in",
    "half_mask",
    "has_batch_norms",
    "recalibrate",
    "sharing_statistics",
]
