"""Base densities by name, as configurations choose them."""

from __future__ import annotations

from typing import Literal

from ..bases import Base, Logistic, StandardNormal
from ..gaussians.fitted import FittedMixture
from ..layers import Shape

__all__ = ["BaseName", "make_base"]

BaseName = Literal["normal", "logistic", "mixture"]
"""Standard normal, standard logistic, or a Gaussian mixture that EM fits to the first latents."""


def make_base(name: BaseName, shape: Shape, *, components: int | None, seed: int) -> Base:
    """The base of a name.

    Args:
        name: which.
        shape: of a latent.
        components: of the mixture; None lets the data choose when training begins.
        seed: of its EM.
    """
    match name:
        case "mixture":
            return FittedMixture(shape, components, seed)
        case "logistic":
            return Logistic(shape)
        case _:
            return StandardNormal(shape)
