"""Autoregressive flows: MADE, masked autoregressive flow, and inverse autoregressive flow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass

from ..elementwise import NormalMixture
from ..errors import InputError
from ..flow import Flow
from ..layers import (
    ActNorm,
    Autoregressive,
    Flatten,
    FlowBatchNorm,
    Inverted,
    Layer,
    LULinear,
    Permutation,
)
from ..layers.columns import ColumnSpec
from ..nets import MADE
from .base_names import BaseName, make_base
from .family import Family, Preset
from .front import row_front
from .laws import LawName, make_law
from .settings import checked, event_shape, settings

__all__ = ["FAMILIES", "IAF", "MAF", "PRESETS", "MAFConfig", "build_maf"]


@dataclass(config=settings, kw_only=True)
class MAFConfig:
    """What ``MAF`` is built from. ``None`` stands for a default that depends on the shape."""

    family: ClassVar[str] = "maf"

    shape: tuple[PositiveInt, ...]
    levels: int | None = Field(default=None, ge=2)
    """Integer levels of discrete data; None for continuous data."""
    columns: tuple[ColumnSpec, ...] | None = None
    """What each column of a table holds; None: plain numbers."""
    missing: bool = False
    """NaN is a missing cell, not an error."""
    context: int = Field(default=0, ge=0)
    direction: Literal["density", "sampling"] = "density"
    """Which one takes one pass and not D steps: the density (MAF) or sampling (IAF)."""
    law: LawName = "affine"
    layers: int = Field(default=5, ge=0)
    """Autoregressive layers; a single one is a MADE."""
    mog: int = Field(default=0, ge=0)
    """Components of a mixture-of-Gaussians MADE after the layers, as their base; 0: none."""
    width: int | None = Field(default=None, ge=1)
    """Hidden units: 128 for rows, 1024 for images."""
    depth: int | None = Field(default=None, ge=1)
    """Hidden layers, with ``residual`` one and residual blocks: 2 for rows, 1 for images."""
    residual: bool = False
    activation: str = "relu"
    dropout: float = Field(default=0.0, ge=0, lt=1)
    clamp: float = Field(default=4.0, gt=0)
    """Bound of a layer's log-scale."""
    bins: int = Field(default=8, ge=1, le=500)
    """Of the spline law."""
    tail: float = Field(default=3.0, gt=0)
    """The spline law bends numbers between -tail and tail."""
    components: int = Field(default=8, ge=1)
    """Of the mixture law."""
    order: Literal["reversed", "random", "natural"] = "reversed"
    """Of the numbers: turned round from layer to layer, drawn anew for each, or always as given."""
    norm: Literal["actnorm", "batch", "none"] = "actnorm"
    mixing: Literal["none", "lu"] = "none"
    """A learned linear map before each layer, or not."""
    alpha: float | None = Field(default=None, gt=0, lt=0.5)
    """Squash of integers before the logit; None lets the data choose when training begins."""
    base: BaseName = "normal"
    """``mixture``: EM fits it to the latents before the first step."""
    base_components: int | None = Field(default=None, ge=1)
    """Of the mixture base; None lets the data choose when training begins."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Of the starting weights and of random orders."""


def MAF(
    shape: int | Sequence[int], *, levels: int | Literal["auto"] | None = "auto", **options: Any
) -> Flow:
    """Masked autoregressive flow over rows ``(D,)`` or images, which it takes as rows of C H W.

    The density takes one pass, and sampling D steps after one another in each layer. ``layers=1``
    is a MADE, ``layers=0, mog=10`` the mixture-of-Gaussians MADE, whose density is exactly that of
    its mixtures, and ``mog`` beside layers the MAF MoG.

    Args:
        shape: the event shape.
        levels: integer levels: 256 for images and none for rows unless given; None for images
            of real numbers.
        **options: any field of ``MAFConfig``: columns, missing, context, direction, law,
            layers, mog, width, depth, residual, activation, dropout, clamp, bins, tail,
            components, order, norm, mixing, alpha, base, base_components, seed.

    Raises:
        InputError: an unknown or impossible option; says which and why.

    Example:
        >>> flow = MAF((6,), layers=10)
        >>> flow.log_prob(torch.zeros(3, 6)).shape
        torch.Size([3])

    Source: Papamakarios, Pavlakou and Murray 2017; Germain et al. 2015 (MADE).
    """
    shape = event_shape(shape, "MAF")
    if levels == "auto":
        levels = 256 if len(shape) == 3 else None
    return build_maf(checked(MAFConfig, {"shape": shape, "levels": levels, **options}, "MAF"))


def IAF(shape: int | Sequence[int], **options: Any) -> Flow:
    """Inverse autoregressive flow: the layers of MAF turned round, and options as of ``MAF``.

    Sampling, with the density of what was sampled, takes one pass, which is what ``fit_density``
    asks for; the density of given data takes D steps in each layer, and so does a step of ``fit``.

    Raises:
        InputError: an unknown or impossible option; says which and why.

    Source: Kingma et al. 2016.
    """
    return MAF(shape, **{"direction": "sampling", **options})


def build_maf(config: MAFConfig) -> Flow:
    """Build the flow that ``config`` describes, its weights drawn from ``config.seed``."""
    shape = event_shape(config.shape, "MAF")
    if config.layers + config.mog == 0:
        raise InputError("MAF with layers=0 and mog=0 has nothing to learn; ask for one of them.")
    images, size = len(shape) == 3, math.prod(shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        layers = row_front(config, "MAF")
        if images:
            layers.append(Flatten(shape))
        for index in range(config.layers + bool(config.mog)):
            layers += _step(config, size, index)
        if images:
            layers.append(Inverted(Flatten(shape), shape))
        name = "MAF" if config.direction == "density" else "IAF"
        base = make_base(config.base, shape, components=config.base_components, seed=config.seed)
        flow = Flow(shape, layers, base, context=config.context, name=name)
    flow.config = config
    return flow


def _step(config: MAFConfig, size: int, index: int) -> list[Layer]:
    """Norm, linear map, autoregressive layer; the last of a MAF MoG has another law."""
    layers: list[Layer] = []
    if config.norm != "none":
        layers.append((ActNorm if config.norm == "actnorm" else FlowBatchNorm)((size,)))
    if config.mixing == "lu":
        layers.append(LULinear(size, seed=None))
    images = len(config.shape) == 3
    depth = (config.depth or (1 if images else 2)) + config.residual
    made = partial(
        MADE,
        hidden=(config.width or (1024 if images else 128),) * depth,
        residual=config.residual,
        order=_order(config, size, index),
        activation=config.activation,
        dropout=config.dropout,
    )
    law = make_law(
        config.law,
        clamp=config.clamp,
        bins=config.bins,
        tail=config.tail,
        components=config.components,
    )
    if index == config.layers:
        law = NormalMixture(config.mog)
    layer = Autoregressive((size,), law, made, context=config.context)
    return [*layers, layer if config.direction == "density" else Inverted(layer)]


def _order(config: MAFConfig, size: int, index: int) -> torch.Tensor | str:
    if config.order == "random":
        return Permutation.random(size, config.seed * 1000 + index).order
    return "reversed" if config.order == "reversed" and index % 2 else "natural"


FAMILIES = (Family(MAFConfig, build_maf),)

# As in the comparison of Durkan et al. 2019: Adam, cosine, batches of 512 (fit's own for rows). The
# authors of MAF train at a constant 1e-4 in batches of 100, for many hours.
_TRAINING = {"optimiser": "adam", "lr": 5e-4, "schedule": "cosine", "clip": 5.0}

PRESETS = {
    "maf": Preset(
        MAF, MAFConfig, "masked autoregressive flow, 5 layers (give shape=)", {}, _TRAINING
    ),
    "maf-mog": Preset(
        MAF,
        MAFConfig,
        "the same over a mixture-of-Gaussians MADE of 10 components",
        {"mog": 10},
        _TRAINING,
    ),
    "maf-mnist": Preset(
        MAF,
        MAFConfig,
        "MAF (5) of the paper for MNIST: 1024 hidden units, batch norm, alpha 1e-6",
        {"shape": (1, 28, 28), "alpha": 1e-6, "norm": "batch"},
        {"optimiser": "adam", "lr": 1e-4, "batch_size": 100, "schedule": "constant", "ema": 0.0},
    ),
    "iaf": Preset(
        IAF,
        MAFConfig,
        "inverse autoregressive flow: fast sampling, slow density; for fit_density",
        {},
        _TRAINING,
    ),
    "made": Preset(
        MAF, MAFConfig, "MADE: one layer of normals", {"layers": 1, "norm": "none"}, _TRAINING
    ),
    "made-mog": Preset(
        MAF,
        MAFConfig,
        "mixture-of-Gaussians MADE: one layer, 10 components each",
        {"layers": 0, "mog": 10, "norm": "none"},
        _TRAINING,
    ),
}
