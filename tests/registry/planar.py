"""Planar, radial and Sylvester layers, and the flows made of them."""

from __future__ import annotations

from functools import partial

from pushforward import PlanarFlow
from pushforward.layers import Planar, Radial, Sylvester

from .case import Case

__all__ = ["LAYERS", "MODELS"]

LAYERS = {
    "planar": Case(partial(Planar, 5), (5,)),
    "planar-one-number": Case(partial(Planar, 1), (1,)),
    "planar-context": Case(partial(Planar, 4, context=3, hidden=(6,)), (4,), 3),
    "radial": Case(partial(Radial, 5), (5,)),
    "radial-one-number": Case(partial(Radial, 1), (1,)),
    "radial-context": Case(partial(Radial, 4, context=3, hidden=(6,)), (4,), 3),
    "sylvester": Case(partial(Sylvester, 5, 3), (5,)),
    "sylvester-square": Case(partial(Sylvester, 4), (4,)),
    "sylvester-context": Case(partial(Sylvester, 4, 2, context=3, hidden=(6,)), (4,), 3),
}

MODELS = {
    "planar-rows": partial(PlanarFlow, (4,), layers=3),
    "planar-rows-sampling": partial(PlanarFlow, (3,), layers=3, direction="sampling"),
    "planar-rows-levels": partial(PlanarFlow, (2,), layers=2, levels=17),
    "radial-rows": partial(PlanarFlow, (3,), "radial", layers=2),
    "sylvester-rows-context": partial(
        PlanarFlow, (3,), "sylvester", layers=2, direction="sampling", context=2, width=6
    ),
}
