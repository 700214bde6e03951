"""Autoregressive layers, the laws that they brought with them, and the flows made of them."""

from __future__ import annotations

from functools import partial

from pushforward import IAF, MAF, NSF, RealNVP
from pushforward.elementwise import LogisticMixture, NormalMixture, RationalQuadratic
from pushforward.layers import Autoregressive, Coupling, Inverted
from pushforward.nets import MADE, MLP, ConvNet

from .case import Case

__all__ = ["LAWS", "LAYERS", "MODELS", "NETS"]

NETS = (MADE,)

LAWS = {
    "spline": lambda: RationalQuadratic(4, tail=12.0),  # so wide that no number is left alone
    "logistic-mixture": lambda: LogisticMixture(3),
    "normal-mixture": lambda: NormalMixture(3),
}

_made = partial(MADE, hidden=(12, 12), activation="silu")


def _layer(size: int, law: str = "", context: int = 0, **options: object) -> Case:
    made = partial(_made, **options)
    make = LAWS.get(law, lambda: None)
    return Case(lambda: Autoregressive((size,), make(), made, context=context), (size,), context)


LAYERS = {
    "autoregressive": _layer(5),
    "autoregressive-reversed": _layer(5, order="reversed"),
    "autoregressive-residual": _layer(5, residual=True, order=[3, 0, 4, 1, 2]),
    "autoregressive-context": _layer(4, context=3, dropout=0.5),
    "autoregressive-one-number-context": _layer(1, context=3),
    **{f"autoregressive-{law}": _layer(3, law) for law in LAWS},
    "inverted-autoregressive": Case(lambda: Inverted(_layer(4, "spline").make()), (4,)),
    **{
        f"coupling-rows-{law}": Case(
            lambda law=law: Coupling((5,), "half", partial(MLP, hidden=(6, 6)), LAWS[law]()), (5,)
        )
        for law in LAWS
    },
    "coupling-checkerboard-spline": Case(
        lambda: Coupling((2, 3, 4), "checkerboard", partial(ConvNet, width=4), LAWS["spline"]()),
        (2, 3, 4),
    ),
}

_small = {"width": 8, "seed": 5, "activation": "silu"}
_maf = partial(MAF, **_small, layers=2)

MODELS = {
    "maf-rows": partial(_maf, (4,)),
    "maf-rows-1": partial(_maf, (1,)),
    "maf-rows-spline": partial(_maf, (3,), law="spline", residual=True, mixing="lu", norm="none"),
    "maf-rows-mixture": partial(MAF, (2,), **_small, layers=1, law="mixture", order="random"),
    "maf-rows-additive": partial(_maf, (3,), law="additive", order="natural"),
    "maf-rows-multiplicative": partial(_maf, (3,), law="multiplicative", norm="batch"),
    "maf-rows-mog-context": partial(MAF, (2,), **_small, layers=1, mog=3, context=2),
    "maf-image": partial(_maf, (1, 2, 3)),
    "iaf-rows": partial(IAF, (3,), **_small, layers=2),
    "nsf-rows": partial(NSF, (4,), **{**_small, "seed": 6}, steps=3, bins=4),
    "nsf-rows-1": partial(NSF, (1,), **_small, steps=2, bins=4),
    "nsf-rows-ar-context": partial(
        NSF, (3,), **_small, steps=2, bins=4, autoregressive=True, context=2
    ),
    "nsf-rows-levels": partial(NSF, (2,), **_small, steps=2, levels=17),
    "realnvp-rows-spline": partial(RealNVP, (3,), **_small, couplings=4, law="spline"),
    "realnvp-rows-mixture": partial(RealNVP, (3,), **_small, couplings=2, law="mixture"),
    "realnvp-image-spline": partial(RealNVP, (1, 4, 4), **_small, couplings=2, law="spline"),
    "realnvp-image-mixture": partial(RealNVP, (1, 4, 4), **_small, couplings=2, law="mixture"),
}
