"""Glow and its conditioners."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from pushforward import Flow, Glow
from pushforward.layers import Coupling
from pushforward.nets import GlowNet, ZeroConv

from .case import Case

__all__ = ["LAYERS", "MODELS", "NETS"]

LAYERS: dict[str, Case] = {
    "coupling-glownet": Case(
        lambda: Coupling((4, 3, 2), "channels", partial(GlowNet, width=4), context=2), (4, 3, 2), 2
    ),
    "coupling-zeroconv": Case(
        lambda: Coupling((4, 2, 3), "channels", ZeroConv, context=2), (4, 2, 3), 2
    ),
}


def _glow(*shape: int, **options: object) -> Callable[[], Flow]:
    return partial(Glow, shape, **{"steps": 2, "width": 4, **options})


MODELS: dict[str, Callable[[], Flow]] = {
    "glow": _glow(1, 4, 4),
    "glow-sigmoid": _glow(2, 2, 4, law="sigmoid", logit=False),
    "glow-additive": _glow(1, 4, 2, law="additive", levels=32, alpha=0.01),
    "glow-context": _glow(1, 4, 4, context=2),
    "glow-odd": _glow(2, 3, 3, context=2),
    "glow-one-pixel": _glow(3, 1, 1),
    "glow-one-number": _glow(1, 1, 1),
    "glow-variational": _glow(1, 4, 4, levels=8, dequantization="variational"),
    "glow-real": _glow(1, 2, 4, levels=None),
}

NETS: tuple[type[nn.Module], ...] = (GlowNet, ZeroConv)
