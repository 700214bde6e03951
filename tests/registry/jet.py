"""Jet: its conditioner, its law, the flow."""

from __future__ import annotations

from functools import partial

from pushforward import Jet
from pushforward.elementwise import SigmoidScale
from pushforward.layers import Coupling, Rescale
from pushforward.nets import ViT

from .case import Case

__all__ = ["LAWS", "LAYERS", "MODELS", "NETS"]

_vit = partial(ViT, width=4, blocks=1, heads=2)
_small = partial(Jet, width=4, heads=2, couplings=6, seed=5)

LAWS = {"sigmoid-scale": SigmoidScale}

LAYERS = {
    "coupling-vit": Case(lambda: Coupling((4, 2, 2), "channels", _vit, SigmoidScale()), (4, 2, 2)),
    "coupling-vit-checkerboard-context": Case(
        lambda: Coupling((2, 2, 3), "checkerboard", _vit, SigmoidScale(), context=2),
        (2, 2, 3),
        context=2,
    ),
    "rescale-rows": Case(lambda: Rescale(-2.0, 0.5), (5,)),
    "rescale-image": Case(lambda: Rescale(256 / 127.5, -1.0), (3, 3, 4)),
}

MODELS = {
    "jet": partial(_small, (1, 4, 4)),
    "jet-linear": partial(_small, (1, 4, 4), front="linear", blocks=2, couplings=4),
    "jet-context": partial(_small, (2, 4, 2), patch=2, context=2, dropout=0.3),
    "jet-odd": partial(_small, (1, 9, 3), patch=3, channel_couplings=1, couplings=3),
    "jet-pixels": partial(_small, (1, 3, 3), patch=1, couplings=4),
    "jet-variational": partial(_small, (1, 4, 4), dequantization="variational", couplings=2),
    "jet-real": partial(_small, (3, 4, 4), levels=None, couplings=5),
}

NETS = (ViT,)
