"""Element-wise laws by name, as configurations choose them."""

from __future__ import annotations

from typing import Literal

from ..elementwise import (
    Additive,
    Affine,
    Law,
    LogisticMixture,
    Multiplicative,
    RationalQuadratic,
    SoftClamp,
)

__all__ = ["LawName", "make_law"]

LawName = Literal["affine", "additive", "multiplicative", "spline", "mixture"]
"""From NICE's shift over Real NVP's affine law to neural spline flows and Flow++."""


def make_law(name: LawName, *, clamp: float, bins: int, tail: float, components: int) -> Law:
    """The law of a name.

    Args:
        name: which.
        clamp: bound of its log-scale (affine, multiplicative and, outside of the logit, mixture).
        bins, tail: of the spline.
        components: of the mixture of logistics.
    """
    match name:
        case "additive":
            return Additive()
        case "spline":
            return RationalQuadratic(bins, tail)
        case "mixture":
            return LogisticMixture(components, SoftClamp(clamp))
        case "multiplicative":
            return Multiplicative(SoftClamp(clamp))
        case _:
            return Affine(SoftClamp(clamp))
