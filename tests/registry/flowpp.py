"""Flow++: its conditioner, its dequantisation, the flow; and both in front of and in Real NVP."""

from __future__ import annotations

from functools import partial

from pushforward import FlowPP, RealNVP
from pushforward.layers import Coupling, Squeeze, VariationalDequantize
from pushforward.nets import GatedConvNet

from .case import Case

__all__ = ["LAYERS", "MODELS", "NETS"]

_gated = partial(GatedConvNet, width=4, blocks=1, heads=2)
_small = partial(
    FlowPP, width=4, blocks=1, heads=2, components=3, noise_width=4, seed=5, attention=True
)

LAYERS = {
    "coupling-gated": Case(lambda: Coupling((2, 2, 3), "channels", _gated), (2, 2, 3)),
    "coupling-gated-context": Case(
        lambda: Coupling((2, 2, 3), "checkerboard", partial(_gated, blocks=2), context=2),
        (2, 2, 3),
        context=2,
    ),
    "coupling-gated-plain": Case(
        lambda: Coupling((2, 2, 3), "channels", partial(_gated, attention=False, dropout=0.0)),
        (2, 2, 3),
    ),
    "column-squeeze": Case(lambda: Squeeze((1, 2)), (2, 3, 4)),
    "patch-squeeze": Case(lambda: Squeeze(3), (2, 3, 6)),
    "variational-dequantize-rows": Case(lambda: VariationalDequantize((3,)), (3,), data="levels"),
    "variational-dequantize-image": Case(
        lambda: VariationalDequantize((1, 4, 2), width=4), (1, 4, 2), data="levels"
    ),
    "variational-dequantize-odd-image": Case(
        lambda: VariationalDequantize((1, 3, 4), width=4), (1, 3, 4), data="levels"
    ),
}

MODELS = {
    "flowpp": partial(_small, (1, 4, 4), couplings=(2, 1, 1)),
    "flowpp-affine": partial(_small, (2, 2, 6), law="affine", couplings=(1, 2, 1), dropout=0.3),
    "flowpp-context": partial(_small, (1, 4, 2), couplings=(2, 1, 1), context=2, attention=False),
    "flowpp-uniform": partial(_small, (1, 2, 2), dequantization="uniform", couplings=(2, 0, 2)),
    "flowpp-real": partial(_small, (1, 4, 4), levels=None, couplings=(2, 1, 0), components=1),
    "realnvp-image-variational": partial(
        RealNVP, (1, 4, 4), width=4, couplings=2, dequantization="variational", seed=5
    ),
}

NETS = (GatedConvNet,)
