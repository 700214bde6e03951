"""Neural spline flows: rational-quadratic splines in couplings or in autoregressive layers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass

from ..elementwise import RationalQuadratic
from ..errors import InputError
from ..flow import Flow
from ..layers import (
    Autoregressive,
    Coupling,
    Layer,
    LULinear,
    Permutation,
)
from ..layers.columns import ColumnSpec
from ..nets import MADE, MLP
from .base_names import BaseName, make_base
from .family import Family, Preset
from .front import row_front
from .settings import checked, event_shape, settings

__all__ = ["FAMILIES", "NSF", "PRESETS", "NSFConfig", "build_nsf"]


@dataclass(config=settings, kw_only=True)
class NSFConfig:
    """What ``NSF`` is built from."""

    family: ClassVar[str] = "nsf"

    shape: tuple[PositiveInt, ...]
    levels: int | None = Field(default=None, ge=2)
    """Integer levels of discrete data; None for continuous data."""
    columns: tuple[ColumnSpec, ...] | None = None
    """What each column of a table holds; None: plain numbers."""
    missing: bool = False
    """NaN is a missing cell, not an error."""
    context: int = Field(default=0, ge=0)
    autoregressive: bool = False
    """RQ-NSF (AR), which fits better but samples in D steps; couplings are fast both ways."""
    steps: int = Field(default=10, ge=1)
    bins: int = Field(default=8, ge=1, le=500)
    tail: float = Field(default=3.0, gt=0)
    """Numbers between -tail and tail, in units of about a standard deviation, are bent."""
    width: int = Field(default=256, ge=1)
    blocks: int = Field(default=2, ge=1)
    """Residual blocks of a conditioner, of two layers each."""
    activation: str = "relu"
    dropout: float = Field(default=0.0, ge=0, lt=1)
    alpha: float | None = Field(default=None, gt=0, lt=0.5)
    """Squash of integers before the logit; None lets the data choose when training begins."""
    base: BaseName = "normal"
    """``mixture``: EM fits it to the latents before the first step."""
    base_components: int | None = Field(default=None, ge=1)
    """Of the mixture base; None lets the data choose when training begins."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Of the starting weights and of the permutations."""


def NSF(shape: int | Sequence[int], **options: Any) -> Flow:
    """Neural spline flow over rows: linear maps in LU form, and splines after each.

    Args:
        shape: ``(D,)``.
        **options: any other field of ``NSFConfig``: levels, columns, missing, context,
            autoregressive, steps, bins, tail, width, blocks, activation, dropout, alpha, base,
            base_components, seed.

    Raises:
        InputError: not rows, or an unknown or impossible option; says which and why.

    Example:
        >>> flow = NSF((6,), steps=5, width=64)
        >>> flow.sample(3).shape
        torch.Size([3, 6])

    Source: Durkan et al. 2019, section 5 and appendix B. There, the half that a coupling keeps is
    bent too, by splines that depend on nothing; here it is left alone.
    """
    shape = event_shape(shape, "NSF")
    return build_nsf(checked(NSFConfig, {"shape": shape, **options}, "NSF"))


def build_nsf(config: NSFConfig) -> Flow:
    """Build the flow that ``config`` describes, its weights drawn from ``config.seed``."""
    if len(config.shape) != 1:
        raise InputError(
            f"NSF is for rows (D,); got events of shape {config.shape}. For images use "
            f"RealNVP(shape, law='spline')."
        )
    layers = row_front(config, "NSF")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        for index in range(config.steps):
            layers += [*_linear(config, index), _spline(config, index)]
        layers += _linear(config, config.steps)
        base = make_base(
            config.base, config.shape, components=config.base_components, seed=config.seed
        )
        flow = Flow(config.shape, layers, base, context=config.context, name="NSF")
    flow.config = config
    return flow


def _linear(config: NSFConfig, index: int) -> list[Layer]:
    """A random permutation and a learned map that begins as the identity."""
    (size,) = config.shape
    if size == 1:
        return []
    return [Permutation.random(size, config.seed * 1000 + index), LULinear(size, seed=None)]


def _spline(config: NSFConfig, index: int) -> Layer:
    law = RationalQuadratic(config.bins, config.tail)
    common: dict[str, Any] = {
        "residual": True,
        "activation": config.activation,
        "dropout": config.dropout,
    }
    if config.autoregressive:
        hidden = (config.width,) * (1 + config.blocks)
        made = partial(MADE, hidden=hidden, **common)
        return Autoregressive(config.shape, law, made, context=config.context)
    # A block of two layers, as two residual steps of one.
    net = partial(MLP, hidden=(config.width,) * (1 + 2 * config.blocks), **common)
    flip = index % 2 == 1 or config.shape[0] == 1  # a single number is bent, not kept
    return Coupling(config.shape, "alternating", net, law, flip=flip, context=config.context)


FAMILIES = (Family(NSFConfig, build_nsf),)

# The paper's for POWER (appendix B): 400,000 steps of Adam, of 512 rows each, from 5e-4 down to 0
# along a cosine, gradients clipped at 5. How many steps is for the user to say.
_TRAINING = {
    "optimiser": "adam",
    "lr": 5e-4,
    "batch_size": 512,
    "schedule": "cosine",
    "warmup": 0,
    "clip": 5.0,
    "ema": 0.0,
}

PRESETS = {
    "nsf": Preset(
        NSF,
        NSFConfig,
        "RQ-NSF (C): rational-quadratic spline couplings for rows, as the paper's for POWER",
        {},
        _TRAINING,
    ),
    "nsf-ar": Preset(
        NSF,
        NSFConfig,
        "RQ-NSF (AR): the same in autoregressive layers; the best density, slow to sample",
        {"autoregressive": True},
        _TRAINING,
    ),
}
