"""Couplings, norms and all that Real NVP is made of, and its models."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from pushforward import RealNVP
from pushforward.elementwise import Additive, Affine, Law, LearnedTanh, Multiplicative, SoftClamp
from pushforward.flow import Flow
from pushforward.layers import (
    ActNorm,
    Chain,
    Coupling,
    Dequantize,
    Flip,
    FlowBatchNorm,
    Inverted,
    Layer,
    Logit,
    LULinear,
    Multiscale,
    OrderedSqueeze,
    Permutation,
    Rotation,
    Shape,
    Squeeze,
    Standardize,
)
from pushforward.layers.masks import as_mask
from pushforward.models.realnvp_paper import realnvp_paper
from pushforward.nets import ACTIVATIONS, MLP, Constant, ConvNet, ResNet

from .case import Case

__all__ = ["LAWS", "LAYERS", "MASKS", "MODELS", "NETS"]

# Layers ----------------------------------------------------------------------------------------

ROWS, IMAGE = (5,), (3, 3, 4)

LAWS: dict[str, Callable[[], Law]] = {
    "additive": Additive,
    "multiplicative": Multiplicative,
    "multiplicative-tanh": lambda: Multiplicative(LearnedTanh()),
    "affine": lambda: Affine(SoftClamp(1.5)),
    "affine-tanh": lambda: Affine(LearnedTanh(0.5)),
}

_arbitrary = torch.Generator().manual_seed(3)
MASKS: dict[str, dict[str, Tensor | str]] = {
    "rows": {
        "half": "half",
        "alternating": "alternating",
        "arbitrary": torch.tensor([True, False, False, True, False]),
    },
    "image": {
        "half": "half",
        "alternating": "alternating",
        "checkerboard": "checkerboard",
        "channels": "channels",
        "arbitrary": torch.rand(IMAGE, generator=_arbitrary) < 0.5,
    },
}

_mlp = partial(MLP, hidden=(6, 6))
_conv = partial(ConvNet, width=4)
_resnet = partial(ResNet, width=4, blocks=1)


def _coupling(
    shape: Shape,
    mask: Tensor | str,
    net: Callable[..., nn.Module],
    law: str = "affine",
    *,
    flip: bool = False,
    context: int = 0,
) -> Case:
    def make() -> Coupling:
        return Coupling(shape, mask, net, LAWS[law](), flip=flip, context=context)

    return Case(make, shape, context)


def _couplings() -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for mask_name, mask in MASKS["rows"].items():
        for flip in (False, True):
            name = f"coupling-rows-{mask_name}-{'flip' if flip else 'keep'}"
            cases[name] = _coupling(ROWS, mask, _mlp, flip=flip)
    for mask_name, mask in MASKS["image"].items():
        for flip in (False, True):
            name = f"coupling-image-{mask_name}-{'flip' if flip else 'keep'}"
            cases[name] = _coupling(IMAGE, mask, _conv, flip=flip)
    for law in LAWS:  # parameters in slices of a row, and over a masked image
        cases[f"coupling-rows-{law}"] = _coupling(ROWS, "half", _mlp, law)
        cases[f"coupling-checkerboard-{law}"] = _coupling(IMAGE, "checkerboard", _conv, law)
    for name in ACTIVATIONS:
        plain, conv = partial(_mlp, activation=name), partial(_conv, activation=name)
        cases[f"coupling-mlp-{name}"] = _coupling(ROWS, "half", plain)
        cases[f"coupling-convnet-{name}"] = _coupling(IMAGE, "channels", conv)
    board = as_mask("checkerboard", IMAGE)
    picked = torch.tensor([True, False, False, True])[:, None, None].expand(4, 2, 3)
    return cases | {
        "coupling-mlp-residual": _coupling(ROWS, "half", partial(_mlp, residual=True)),
        "coupling-mlp-dropout": _coupling(ROWS, "half", partial(_mlp, dropout=0.5)),
        "coupling-mlp-context": _coupling(ROWS, "half", _mlp, context=2),
        "coupling-mlp-residual-context": _coupling(
            ROWS, "alternating", partial(_mlp, residual=True), context=2
        ),
        "coupling-mlp-image": _coupling(IMAGE, MASKS["image"]["arbitrary"], _mlp),
        "coupling-picked-channels": _coupling((4, 2, 3), picked.clone(), _conv),
        "coupling-one-number": _coupling((1,), "half", _mlp),
        "coupling-one-number-context": _coupling((1,), "half", _mlp, context=3),
        "coupling-one-pixel": _coupling((1, 1, 1), "half", _conv),
        "coupling-one-pixel-context": _coupling((1, 1, 1), "half", _conv, context=3),
        "coupling-nothing-kept": _coupling(ROWS, torch.zeros(ROWS, dtype=torch.bool), _mlp),
        "coupling-convnet-deep": _coupling(IMAGE, "channels", partial(_conv, blocks=2)),
        "coupling-convnet-no-positions": _coupling(
            IMAGE, "channels", partial(_conv, positions=False)
        ),
        "coupling-one-pixel-no-positions": _coupling(
            (1, 1, 1), "half", partial(_conv, positions=False), context=3
        ),
        "coupling-convnet-dropout": _coupling(IMAGE, "channels", partial(_conv, dropout=0.5)),
        "coupling-convnet-context": _coupling(IMAGE, "checkerboard", _conv, context=2),
        "coupling-resnet-channels": _coupling(IMAGE, "channels", _resnet),
        "coupling-resnet-channels-context": _coupling(IMAGE, "channels", _resnet, context=2),
        "coupling-resnet-checkerboard": _coupling(
            IMAGE, "checkerboard", partial(_resnet, mask=board), "affine-tanh"
        ),
        "coupling-resnet-checkerboard-flip-context": _coupling(
            IMAGE, "checkerboard", partial(_resnet, mask=~board), flip=True, context=2
        ),
    }


def _norms() -> dict[str, Case]:
    cases = {
        "actnorm-rows": Case(partial(ActNorm, ROWS), ROWS),
        "actnorm-image": Case(partial(ActNorm, IMAGE), IMAGE),
        "batchnorm-rows": Case(partial(FlowBatchNorm, ROWS), ROWS),
        "batchnorm-rows-half": Case(partial(FlowBatchNorm, ROWS, "half"), ROWS),
        "batchnorm-image": Case(partial(FlowBatchNorm, IMAGE), IMAGE),
        "batchnorm-running": Case(partial(FlowBatchNorm, IMAGE, average="running"), IMAGE),
    }
    for name, mask in MASKS["image"].items():
        for flip in (False, True):
            make = partial(FlowBatchNorm, IMAGE, mask, flip=flip)
            cases[f"batchnorm-{name}-{'flip' if flip else 'keep'}"] = Case(make, IMAGE)
    return cases


def _scale() -> Layer:
    """Squeeze, couple, factor half out, couple the rest, unsqueeze: a small multi-scale flow."""
    return Chain(
        [
            OrderedSqueeze(),
            Coupling((8, 2, 1), "channels", _conv),
            Multiscale(Coupling((4, 2, 1), "alternating", _conv), keep=4),
            Inverted(OrderedSqueeze(), (2, 4, 2)),
        ]
    )


LAYERS: dict[str, Case] = {
    **_couplings(),
    **_norms(),
    "squeeze": Case(Squeeze, (2, 4, 6)),
    "ordered-squeeze": Case(OrderedSqueeze, (2, 4, 6)),
    "inverted-squeeze": Case(lambda: Inverted(Squeeze(), (2, 4, 6)), (8, 2, 3)),
    "inverted-ordered-squeeze": Case(lambda: Inverted(OrderedSqueeze(), (1, 2, 6)), (4, 1, 3)),
    "multiscale": Case(lambda: Multiscale(Coupling((2, 3, 4), "channels", _conv), 2), IMAGE),
    "multiscale-context": Case(
        lambda: Multiscale(Coupling((2, 3, 4), "channels", _conv, context=2), 2), IMAGE, context=2
    ),
    "multiscale-rows": Case(lambda: Multiscale(Coupling((3,), "half", _mlp), 3), ROWS),
    "permutation-rows": Case(
        lambda: Permutation.random(5, 1), ROWS, other=lambda: Permutation.random(5, 2)
    ),
    "permutation-image": Case(
        lambda: Permutation([2, 0, 1]), IMAGE, other=lambda: Permutation([0, 2, 1])
    ),
    "flip-rows": Case(Flip, ROWS),
    "flip-image": Case(Flip, IMAGE),
    "rotation-rows": Case(lambda: Rotation(5, 1), ROWS, other=lambda: Rotation(5, 2)),
    "rotation-image": Case(lambda: Rotation(3, 1), IMAGE, other=lambda: Rotation(3, 2)),
    "lu-rows-rotation": Case(lambda: LULinear(5, 1), ROWS, other=lambda: LULinear(5, 2)),
    "lu-rows-identity": Case(lambda: LULinear(5, None), ROWS, other=lambda: LULinear(5, 2)),
    "lu-image-rotation": Case(lambda: LULinear(3, 1), IMAGE, other=lambda: LULinear(3, 2)),
    "lu-image-identity": Case(lambda: LULinear(3, None), IMAGE),
    "logit": Case(Logit, ROWS, data="unit"),
    "logit-image": Case(lambda: Logit(0.01), IMAGE, data="unit"),
    "logit-ink": Case(lambda: Logit(1e-5), ROWS, data="unit"),
    "standardize-rows": Case(partial(Standardize, ROWS), ROWS),
    "standardize-image": Case(partial(Standardize, IMAGE), IMAGE),
    "dequantize": Case(Dequantize, IMAGE, data="levels"),
    "inverted-logit": Case(lambda: Inverted(Logit()), ROWS),
    "inverted-coupling": Case(lambda: Inverted(Coupling(ROWS, "half", _mlp)), ROWS),
    "inverted-coupling-context": Case(
        lambda: Inverted(Coupling(ROWS, "half", _mlp, context=2)), ROWS, context=2
    ),
    "inverted-lu": Case(lambda: Inverted(LULinear(5, 1)), ROWS),
    "inverted-batchnorm": Case(lambda: Inverted(FlowBatchNorm(IMAGE, "checkerboard")), IMAGE),
    "chain-empty": Case(lambda: Chain([]), ROWS),
    "chain-rows": Case(
        lambda: Chain(
            [Standardize(ROWS), LULinear(5), ActNorm(ROWS), Coupling(ROWS, "half", _mlp)]
        ),
        ROWS,
    ),
    "chain-context": Case(
        lambda: Chain(
            [Coupling(ROWS, "half", _mlp, context=2), Flip(), Coupling(ROWS, "half", _mlp)]
        ),
        ROWS,
        context=2,
    ),
    "chain-scales": Case(_scale, (2, 4, 2)),
}


# Models ----------------------------------------------------------------------------------------


def _rows(size: int, **options: object) -> Callable[[], Flow]:
    return partial(RealNVP, (size,), **{"width": 6, "seed": 5, "activation": "silu", **options})


def _image(*shape: int, **options: object) -> Callable[[], Flow]:
    return partial(
        RealNVP, shape, **{"width": 4, "couplings": 4, "seed": 5, "activation": "silu", **options}
    )


def _paper(*shape: int, **options: object) -> Callable[[], Flow]:
    return partial(realnvp_paper, shape=shape, **{"width": 4, "blocks": 1, "seed": 5, **options})


MODELS: dict[str, Callable[[], Flow]] = {
    **{f"realnvp-rows-{d}": _rows(d) for d in (1, 2, 3, 7)},
    "realnvp-rows-1-context": _rows(1, context=2),
    "realnvp-rows-3-context": _rows(3, context=2),
    "realnvp-rows-additive": _rows(3, law="additive"),
    "realnvp-rows-multiplicative": _rows(3, law="multiplicative"),
    "realnvp-rows-norm-batch": _rows(3, norm="batch"),
    "realnvp-rows-norm-none": _rows(3, norm="none"),
    "realnvp-rows-rotation": _rows(3, mixing="rotation"),
    "realnvp-rows-lu": _rows(3, mixing="lu"),
    "realnvp-rows-unmixed": _rows(3, mixing="none", depth=1, couplings=3),
    "realnvp-rows-logistic": _rows(2, base="logistic", activation="tanh", clamp=1.0),
    "realnvp-rows-dropout": _rows(3, dropout=0.3),
    "realnvp-rows-levels": _rows(3, levels=17),
    **{
        f"realnvp-image-{c}-{h}-{w}": _image(c, h, w)
        for c, h, w in [(1, 1, 1), (1, 7, 7), (3, 5, 4), (1, 8, 8), (3, 4, 6)]
    },
    "realnvp-image-defaults": _image(1, 4, 4, couplings=None, activation="relu"),
    "realnvp-image-context": _image(1, 4, 6, context=2),
    "realnvp-image-odd-context": _image(1, 3, 3, context=2),
    "realnvp-image-real": _image(2, 4, 4, levels=None),
    "realnvp-image-levels": _image(1, 4, 4, levels=32, alpha=0.01),
    "realnvp-image-additive": _image(1, 4, 4, law="additive"),
    "realnvp-image-multiplicative": _image(1, 4, 4, law="multiplicative"),
    "realnvp-image-norm-batch": _image(1, 4, 4, norm="batch"),
    "realnvp-image-norm-none": _image(1, 4, 4, norm="none"),
    "realnvp-image-permutation": _image(1, 4, 4, mixing="permutation"),
    "realnvp-image-rotation": _image(1, 4, 4, mixing="rotation"),
    "realnvp-image-lu": _image(1, 4, 4, mixing="lu"),
    "realnvp-image-unmixed": _image(2, 4, 4, mixing="none"),
    "realnvp-image-unsqueezed": _image(2, 4, 4, scales=0),
    "realnvp-image-dropout": _image(1, 4, 4, dropout=0.3),
    "realnvp-image-no-positions": _image(1, 4, 4, positions=False),
    "realnvp-paper": _paper(1, 4, 4),
    "realnvp-paper-running": _paper(2, 2, 4, average="running"),
    "realnvp-paper-context": _paper(1, 4, 4, context=2),
    "realnvp-paper-one-scale": _paper(1, 3, 5, scales=1, levels=32),
    "realnvp-paper-three-scales": _paper(1, 4, 8, scales=3),
}


NETS: tuple[type[nn.Module], ...] = (MLP, ConvNet, ResNet, Constant)
