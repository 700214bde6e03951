"""Flows of planar, radial or Sylvester layers: small, and made to be sampled from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass

from ..bases import DiagonalNormal
from ..errors import InputError
from ..flow import Flow
from ..layers import (
    Dequantize,
    Inverted,
    Layer,
    Logit,
    Planar,
    Radial,
    Standardize,
    Sylvester,
)
from .family import Family, Preset
from .settings import checked, event_shape, settings

__all__ = ["FAMILIES", "PRESETS", "PlanarFlow", "PlanarFlowConfig", "build_planar_flow"]


@dataclass(config=settings, kw_only=True)
class PlanarFlowConfig:
    """What ``PlanarFlow`` is built from. ``None`` stands for a default that depends on others."""

    family: ClassVar[str] = "planar"

    shape: tuple[PositiveInt, ...]
    levels: int | None = Field(default=None, ge=2)
    """Integer levels of discrete data; None for continuous data."""
    kind: Literal["planar", "radial", "sylvester"] = "planar"
    layers: int | None = Field(default=None, ge=1)
    """How many: 16, of Sylvester layers 4."""
    direction: Literal["density", "sampling"] = "density"
    """Which side has the cheap formula; the other one searches for roots (radial: no difference).

    ``density`` is for ``fit``, ``sampling`` for ``fit_density`` and as in the paper."""
    columns: int | None = Field(default=None, ge=1)
    """Hidden units of a Sylvester layer; as many as numbers in a row, but at most 8."""
    context: int = Field(default=0, ge=0)
    """Numbers of context, from which networks make the parameters of every layer."""
    width: int = Field(default=64, ge=1)
    """Hidden units of those networks."""
    alpha: float | None = Field(default=None, gt=0, lt=0.5)
    """Squash of integers before the logit; None lets the data choose when training begins."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Of the starting weights."""


def PlanarFlow(
    shape: int | Sequence[int],
    kind: Literal["planar", "radial", "sylvester"] = "planar",
    **options: Any,
) -> Flow:
    """Planar, radial or Sylvester layers over rows, from a normal with learned mean and scale.

    Args:
        shape: ``(D,)``.
        kind: of the layers.
        **options: any other field of ``PlanarFlowConfig``: levels, layers, direction, columns,
            context, width, alpha, seed.

    Raises:
        InputError: not rows, or an unknown or impossible option; says which and why.

    Example:
        >>> flow = PlanarFlow((2,), layers=8, direction="sampling")
        >>> flow.sample(3).shape
        torch.Size([3, 2])

    Source: Rezende and Mohamed 2015; van den Berg et al. 2018.
    """
    shape = event_shape(shape, "PlanarFlow")
    config = checked(PlanarFlowConfig, {"shape": shape, "kind": kind, **options}, "PlanarFlow")
    return build_planar_flow(config)


def build_planar_flow(config: PlanarFlowConfig) -> Flow:
    """Build the flow that ``config`` describes, its weights drawn from ``config.seed``."""
    if len(config.shape) != 1:
        raise InputError(
            f"PlanarFlow is for rows (D,); got events of shape {config.shape}. Use RealNVP for "
            f"images."
        )
    if config.columns is not None and config.kind != "sylvester":
        raise InputError(
            f"columns={config.columns} is of Sylvester layers, and kind is {config.kind!r}: leave "
            f"it out, or take kind='sylvester'."
        )
    (size,) = config.shape
    hidden = (config.width,)
    kinds: dict[str, Callable[[], Layer]] = {
        "planar": partial(Planar, size, context=config.context, hidden=hidden),
        "radial": partial(Radial, size, context=config.context, hidden=hidden),
        "sylvester": partial(
            Sylvester, size, config.columns, context=config.context, hidden=hidden
        ),
    }
    count = config.layers or (4 if config.kind == "sylvester" else 16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        layers = [kinds[config.kind]() for _ in range(count)]
        if config.direction == "sampling":
            layers = [Inverted(layer) for layer in layers]
        start: list[Layer] = [Standardize(config.shape)]
        if config.levels is not None:
            start = [Dequantize(config.levels), Logit(config.alpha, config.levels)]
        flow = Flow(
            config.shape,
            [*start, *layers],
            DiagonalNormal(config.shape),
            context=config.context,
            name="PlanarFlow",
        )
    flow.config = config
    return flow


FAMILIES = (Family(PlanarFlowConfig, build_planar_flow),)

PRESETS = {
    kind: Preset(PlanarFlow, PlanarFlowConfig, about, {"kind": kind})
    for kind, about in {
        "planar": "planar layers for rows, few parameters; sampling or scoring is cheap, not both",
        "radial": "radial layers for rows, few parameters; inverse in closed form",
        "sylvester": "Sylvester layers for rows: planar ones with several units each",
    }.items()
}
