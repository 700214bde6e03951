"""Invertible scalar maps given their parameters: the "coupling laws" of NICE and Real NVP."""

from .affine import Additive, Affine, Law, Multiplicative
from .bounds import LearnedTanh, SoftClamp

__all__ = ["Additive", "Affine", "Law", "LearnedTanh", "Multiplicative", "SoftClamp"]
