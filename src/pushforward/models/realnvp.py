"""Real NVP as one would build it today: bounded scales, ActNorm, one network for scale and shift.

``RealNVP(shape)`` fits rows and images of any size. The paper's own configurations, to the
letter, are in ``realnvp_paper.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass

from ..elementwise import Law
from ..errors import InputError
from ..flow import Flow
from ..layers import (
    ActNorm,
    Chain,
    Coupling,
    FlowBatchNorm,
    Inverted,
    Layer,
    LULinear,
    Multiscale,
    OrderedSqueeze,
    Permutation,
    Rotation,
    Shape,
    VariationalDequantize,
)
from ..layers.columns import ColumnSpec
from ..layers.masks import as_mask
from ..nets import MLP, ConvNet
from .base_names import BaseName, make_base
from .family import Family, Preset
from .front import row_front
from .laws import LawName, make_law
from .recommend import recommend
from .settings import checked, event_shape, settings

__all__ = ["RealNVP", "RealNVPConfig", "build_realnvp"]


@dataclass(config=settings, kw_only=True)
class RealNVPConfig:
    """What ``RealNVP`` is built from. ``None`` stands for a default that depends on the shape."""

    family: ClassVar[str] = "realnvp"

    shape: tuple[PositiveInt, ...]
    levels: int | None = Field(default=None, ge=2)
    """Integer levels of discrete data; None for continuous data."""
    columns: tuple[ColumnSpec, ...] | None = None
    """What each column of a table holds; None: plain numbers."""
    missing: bool = False
    """NaN is a missing cell, not an error."""
    context: int = Field(default=0, ge=0)
    law: LawName = "affine"
    """``spline`` and ``mixture`` bend each number, the others shift or scale it."""
    couplings: int | None = Field(default=None, ge=1)
    """Couplings in all (rows, 8) or per scale (images, 8)."""
    scales: int | None = Field(default=None, ge=0)
    """Times that an image is squeezed; as many as its sides allow, down to 4 pixels or so."""
    width: int | None = Field(default=None, ge=1)
    """Hidden units (rows, 128) or feature maps of the first scale (images, 48)."""
    depth: int | None = Field(default=None, ge=1)
    """Hidden layers (rows, 2) or residual blocks (images, 1) of a conditioner."""
    activation: str = "relu"
    dropout: float = Field(default=0.0, ge=0, lt=1)
    clamp: float | None = Field(default=None, gt=0)
    """Bound of a coupling's log-scale: 2 for rows, 3.5 for images."""
    bins: int = Field(default=8, ge=1, le=500)
    """Of the spline law."""
    tail: float = Field(default=3.0, gt=0)
    """The spline law bends numbers between -tail and tail."""
    components: int = Field(default=8, ge=1)
    """Of the mixture law."""
    norm: Literal["actnorm", "batch", "none"] = "actnorm"
    mixing: Literal["permutation", "rotation", "lu", "none"] | None = None
    """Between couplings: rows are permuted; the channels of images meet in a 1x1 convolution."""
    alpha: float | None = Field(default=None, gt=0, lt=0.5)
    """Squash before the logit; None lets the data choose when training begins."""
    dequantization: Literal["uniform", "variational"] = "uniform"
    """Noise within the cells of integers: uniform, or shaped by a small flow of its own."""
    positions: bool = True
    """Image conditioners know where they are, by a learned map; without it they are convolutions
    alone, and the flow can be carried to other sizes (``extrapolate``)."""
    base: BaseName = "normal"
    """``mixture``: EM fits it to the latents before the first step."""
    base_components: int | None = Field(default=None, ge=1)
    """Of the mixture base; None lets the data choose when training begins."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Of the starting weights and of fixed permutations."""


def RealNVP(
    shape: int | Sequence[int], *, levels: int | Literal["auto"] | None = "auto", **options: Any
) -> Flow:
    """Real NVP over rows ``(D,)`` or images ``(C, H, W)`` of any size.

    Rows: standardise, then couplings over halves with permutations between. Images: dequantise,
    logit, then scales of couplings in squeezed space, where a checkerboard is half of the channels
    and costs half of the work; half of the channels leave after each scale.

    A row of one number has nothing to be conditioned on: the model is then a (conditional) normal.

    Args:
        shape: the event shape.
        levels: integer levels: 256 for images and none for rows unless given; None for images
            of real numbers.
        **options: any field of ``RealNVPConfig``: columns, missing, context, law, couplings,
            scales, width, depth, activation, dropout, clamp, bins, tail, components, norm,
            mixing, alpha, dequantization, positions, base, base_components, seed.

    Raises:
        InputError: an unknown or impossible option; says which and why.

    Example:
        >>> flow = RealNVP((6,), couplings=10)
        >>> flow.sample(3).shape
        torch.Size([3, 6])

    Source: Dinh et al. 2017; ActNorm and 1x1 convolutions from Kingma and Dhariwal 2018.
    """
    shape = event_shape(shape, "RealNVP")
    if levels == "auto":
        levels = 256 if len(shape) == 3 else None
    config = checked(RealNVPConfig, {"shape": shape, "levels": levels, **options}, "RealNVP")
    return build_realnvp(config)


def build_realnvp(config: RealNVPConfig) -> Flow:
    """Build the flow that ``config`` describes, its weights drawn from ``config.seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        layers = _front(config)
        layers += _row_layers(config) if len(config.shape) == 1 else _image_layers(config)
        components = config.base_components
        flow = Flow(
            config.shape,
            layers,
            make_base(config.base, config.shape, components=components, seed=config.seed),
            context=config.context,
            name="RealNVP",
        )
    flow.config = config
    return flow


def _front(config: RealNVPConfig) -> list[Layer]:
    """From the data to real numbers of moderate size."""
    front = row_front(config, "RealNVP")
    if config.levels is not None and config.dequantization == "variational":
        front[0] = VariationalDequantize(config.shape, config.levels)
    return front


def _law(config: RealNVPConfig) -> Law:
    return make_law(
        config.law,
        clamp=config.clamp or (2.0 if len(config.shape) == 1 else 3.5),
        bins=config.bins,
        tail=config.tail,
        components=config.components,
    )


def _norm(config: RealNVPConfig, shape: Shape) -> list[Layer]:
    if config.norm == "none":
        return []
    return [ActNorm(shape) if config.norm == "actnorm" else FlowBatchNorm(shape)]


def _mixing(kind: str | None, size: int, seed: int) -> list[Layer]:
    if size < 2 or kind in (None, "none"):
        return []
    if kind == "permutation":
        return [Permutation.random(size, seed)]
    return [Rotation(size, seed) if kind == "rotation" else LULinear(size, seed)]


# Rows ------------------------------------------------------------------------------------------


def _row_layers(config: RealNVPConfig) -> list[Layer]:
    """Couplings over halves, the halves exchanged each time and features mixed every other time."""
    (size,) = config.shape
    hidden = (config.width or 128,) * (config.depth or 2)
    net = partial(MLP, hidden=hidden, activation=config.activation, dropout=config.dropout)
    kind = config.mixing or ("permutation" if size > 2 else "none")
    layers: list[Layer] = []
    # A single number has nothing to be conditioned on unless there is a context.
    default = 8 if size > 1 or config.context else 1
    for index in range(config.couplings or default):
        layers += _norm(config, config.shape)
        if index % 2 == 0:
            layers += _mixing(kind, size, config.seed * 1000 + index)
        flip = index % 2 == 1 and size > 1
        layers.append(
            Coupling(config.shape, "half", net, _law(config), flip=flip, context=config.context)
        )
    return layers


# Images ----------------------------------------------------------------------------------------

# After an ordered squeeze the channels are four groups, the pixels (0,0), (1,1), (0,1), (1,0) of
# each 2x2 block. The kept pair of groups: checkerboard, columns, rows, each with its complement.
_PAIRS = ((0, 1), (2, 3), (0, 3), (1, 2), (0, 2), (1, 3))


def _image_layers(config: RealNVPConfig) -> list[Layer]:
    possible = _halvings(config.shape)
    scales = config.scales
    if scales is None:
        scales = min(len(possible), max(2, sum(side >= 4 for side in possible)))
    if scales > len(possible):
        _, height, width = config.shape
        way = f"Ask for scales={len(possible)} or fewer" if possible else "Leave scales out"
        raise InputError(
            f"RealNVP cannot make {scales} scales of {height}x{width} images: their sides can be "
            f"halved {len(possible)} times before one is odd or 1. {way}, or pad the images."
        )
    return _scale(config, config.shape, scales, 0)


def _halvings(shape: Shape) -> list[int]:
    """The smaller side after each possible halving of both sides, largest first."""
    _, height, width = shape
    sides = []
    while height % 2 == 0 and width % 2 == 0:
        height, width = height // 2, width // 2
        sides.append(min(height, width))
    return sides


def _scale(config: RealNVPConfig, shape: Shape, scales: int, index: int) -> list[Layer]:
    """Squeeze, couple, factor out half of the channels, go on with the rest, unsqueeze."""
    channels, height, width = shape
    if scales == 0:
        return [] if index else _unsqueezed(config, shape)
    inner_shape = (4 * channels, height // 2, width // 2)
    layers: list[Layer] = [OrderedSqueeze()]
    for step in range(config.couplings or 8):
        mask = torch.zeros(inner_shape, dtype=torch.bool)
        for group in _PAIRS[step % len(_PAIRS)]:
            mask[group * channels : (group + 1) * channels] = True
        layers += _step(config, mask, index, step)
    if scales > 1:
        keep = 2 * channels
        inner = _scale(config, (keep, height // 2, width // 2), scales - 1, index + 1)
        layers.append(Multiscale(Chain(inner), keep))
    return [*layers, Inverted(OrderedSqueeze(), shape)]


def _unsqueezed(config: RealNVPConfig, shape: Shape) -> list[Layer]:
    """Couplings at full resolution, for images whose sides are odd: checkerboards and channels."""
    channels, height, width = shape
    names = ["checkerboard"] * (height * width > 1) + ["channels"] * (channels > 1)
    layers: list[Layer] = []
    for step in range(config.couplings or 8):
        mask = torch.zeros(shape, dtype=torch.bool)  # a single number: nothing to keep
        if names:
            named = as_mask(names[step // 2 % len(names)], shape)
            mask = ~named if step % 2 else named
        layers += _step(config, mask, 0, step)
    return layers


def _step(config: RealNVPConfig, mask: torch.Tensor, index: int, step: int) -> list[Layer]:
    """Norm, 1x1 convolution where channels have more to say than positions, coupling."""
    shape: Shape = tuple(mask.shape)
    net = partial(
        ConvNet,
        width=(config.width or 48) * (3 + index) // 3,
        blocks=config.depth or 1,
        activation=config.activation,
        dropout=config.dropout,
        positions=config.positions,
    )
    mixing: list[Layer] = []
    if config.mixing is not None:
        mixing = _mixing(config.mixing, shape[0], config.seed * 1000 + 100 * index + step)
    elif shape[0] > 1:
        mixing = [LULinear(shape[0], seed=None)]
    coupling = Coupling(shape, mask, net, _law(config), context=config.context)
    return [*_norm(config, shape), *mixing, coupling]


FAMILIES = (Family(RealNVPConfig, build_realnvp),)

PRESETS = {
    "realnvp": Preset(
        RealNVP,
        RealNVPConfig,
        "Real NVP of today for rows and images of any shape (give shape=)",
        recommend=recommend,
    )
}
