"""The maps of a table's columns, and flows over mixtures of normals, which tables begin with."""

from __future__ import annotations

from functools import partial

from pushforward.layers import Bounded, Cells, OnColumns, Power
from pushforward.models import MAF, NSF, RealNVP

from .case import Case

__all__ = ["LAYERS", "MODELS"]


def _some() -> OnColumns:
    parts = [([3, 1], Bounded([-1.0, 0.0], [2.0, 1.0])), ([4], Power(1))]
    return OnColumns((6,), [*parts, ([2], Cells([5], [0.0], [0.2]))])


LAYERS = {
    "bounded": Case(lambda: Bounded([-1.0, 0.0], [2.0, 1.0]), (2,), data="unit"),
    "cells": Case(lambda: Cells([4, 4, 4], None, [0.25] * 3), (3,), data="unit"),
    "power": Case(lambda: Power(4), (4,)),
    "on-columns": Case(_some, (6,), data="unit"),
}

_mixture = {"base": "mixture", "base_components": 2, "width": 4}

MODELS = {
    "realnvp-mixture": partial(RealNVP, (3,), couplings=2, depth=1, **_mixture),
    "maf-mixture": partial(MAF, (2,), layers=1, **_mixture),
    "maf-logistic": partial(MAF, (2,), layers=1, base="logistic", width=4),
    "nsf-logistic": partial(NSF, (3,), steps=3, base="logistic", width=4, seed=6),
    "nsf-mixture": partial(NSF, (3,), steps=3, seed=6, **_mixture),
}
