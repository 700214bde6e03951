"""NICE, the course's flow, and the layers that only they have."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pushforward import NICE, Flow
from pushforward.layers import Flatten, Inverted, Scaling, Whiten
from pushforward.models.course import course

from .case import Case

__all__ = ["LAYERS", "MODELS"]

LAYERS: dict[str, Case] = {
    "scaling-rows": Case(lambda: Scaling((4,)), (4,)),
    "scaling-from-data": Case(lambda: Scaling((4,), from_data=True), (4,)),
    "scaling-image": Case(lambda: Scaling((2, 2, 3)), (2, 2, 3)),
    "whiten-zca": Case(lambda: Whiten((4,)), (4,)),
    "whiten-pca": Case(lambda: Whiten((1, 2, 3), "pca", eps=0.1), (1, 2, 3)),
    "flatten": Case(lambda: Flatten((2, 2, 3)), (2, 2, 3)),
    "inverted-flatten": Case(lambda: Inverted(Flatten((2, 3, 1)), (2, 3, 1)), (6,)),
}


def _nice(*shape: int, **options: object) -> Callable[[], Flow]:
    return partial(NICE, shape, **{"width": 5, "depth": 2, "activation": "silu", **options})


MODELS: dict[str, Callable[[], Flow]] = {
    "nice-rows": _nice(5),
    "nice-rows-1-additive": _nice(1),
    "nice-rows-context": _nice(3, context=2, base="normal"),
    "nice-rows-whitened": _nice(4, whiten="pca"),
    "nice-image": _nice(1, 3, 3, init="uniform"),
    "nice-image-whitened": _nice(2, 2, 2, whiten="zca"),
    "nice-image-real": _nice(1, 2, 3, levels=None, dropout=0.3),
    "course": lambda: course(shape=(1, 3, 4), width=5, couplings=2, alpha=0.02),
}
