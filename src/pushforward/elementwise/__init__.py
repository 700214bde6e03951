"""Invertible scalar maps given their parameters: the "coupling laws" of NICE and Real NVP."""

from .affine import Additive, Affine, Law, Multiplicative
from .bounds import LearnedTanh, SoftClamp
from .mixture import LogisticMixture, NormalMixture
from .sigmoid_scale import SigmoidScale
from .spline import RationalQuadratic

__all__ = [
    "Additive",
    "Affine",
    "Law",
    "LearnedTanh",
    "LogisticMixture",
    "Multiplicative",
    "NormalMixture",
    "RationalQuadratic",
    "SigmoidScale",
    "SoftClamp",
]
