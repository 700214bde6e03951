"""Flow++: mixture-of-logistics couplings, attention within them, and learned dequantisation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass

from ..elementwise import Affine, Law, LogisticMixture, SoftClamp
from ..errors import InputError
from ..flow import Flow
from ..layers import (
    ActNorm,
    Coupling,
    Dequantize,
    Inverted,
    Layer,
    Logit,
    LULinear,
    Shape,
    Squeeze,
    Standardize,
    VariationalDequantize,
)
from ..nets import GatedConvNet
from .family import Family, Preset
from .settings import checked, event_shape, settings

__all__ = ["FlowPP", "FlowPPConfig", "build_flowpp"]


@dataclass(config=settings, kw_only=True)
class FlowPPConfig:
    """What ``FlowPP`` is built from; the sizes are for two cores."""

    family: ClassVar[str] = "flowpp"

    shape: tuple[PositiveInt, ...]
    levels: int | None = Field(default=None, ge=2)
    """Integer levels of discrete data; None for continuous data."""
    context: int = Field(default=0, ge=0)
    couplings: tuple[int, int, int] = (0, 4, 4)
    """Between columns at full size; after the squeeze between channels, and between columns."""
    law: Literal["mixture", "affine"] = "mixture"
    components: int = Field(default=8, ge=1)
    """Logistic distributions in a mixture."""
    width: int = Field(default=32, ge=1)
    blocks: int = Field(default=2, ge=1)
    """Gated convolutions in every conditioner."""
    attention: bool = False
    """Among all positions, after each convolution; worth its time on a GPU."""
    heads: int = Field(default=2, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    dequantization: Literal["uniform", "variational"] = "variational"
    noise_width: int = Field(default=32, ge=1)
    """Feature maps of the conditioners of the four couplings that shape the noise."""
    noise_blocks: int = Field(default=1, ge=1)
    alpha: float | None = Field(default=None, gt=0, lt=0.5)
    """Squash before the logit; None lets the data choose when training begins."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Of the starting weights."""


def FlowPP(
    shape: Sequence[int], *, levels: int | Literal["auto"] | None = "auto", **options: Any
) -> Flow:
    """Flow++ over images ``(C, H, W)`` of even sides.

    Dequantise by learned noise, logit; couplings between even and odd columns, squeeze, couplings
    between halves of the channels, couplings between columns again. Each has an ActNorm and a 1x1
    convolution before it. Nothing is factored out. ``law``, ``attention`` and ``dequantization``
    switch what the paper adds to its predecessors, one at a time; attention is off by default, for
    on a processor it takes more than half of the time.

    Args:
        shape: the event shape.
        levels: integer levels: 256 unless given; None for images of real numbers.
        **options: any field of ``FlowPPConfig``: context, couplings, law, components, width,
            blocks, attention, heads, dropout, dequantization, noise_width, noise_blocks, alpha,
            seed.

    Raises:
        InputError: rows, odd sides, or an unknown or impossible option; says which and why.

    Example:
        >>> flow = FlowPP((1, 28, 28), blocks=1)
        >>> flow.sample(3).shape
        torch.Size([3, 1, 28, 28])

    Source: Ho et al. 2019 (Flow++), and the authors' code.
    """
    shape = event_shape(shape, "FlowPP")
    levels = 256 if levels == "auto" else levels
    given = {"shape": shape, "levels": levels, **options}
    return build_flowpp(checked(FlowPPConfig, given, "FlowPP"))


def build_flowpp(config: FlowPPConfig) -> Flow:
    """Build the flow that ``config`` describes, its weights drawn from ``config.seed``.

    The authors' code calls its first split a checkerboard; it is one of columns, as here. Theirs
    normalises each pixel of its own, and mixes the channels of each half on their own; here both
    are by channel, of both halves together.
    """
    shape = event_shape(config.shape, "FlowPP")
    if len(shape) != 3:
        raise InputError(f"FlowPP is for images (C, H, W); got {shape}. For rows use RealNVP.")
    channels, height, width = shape
    if height % 2 or width % 2:
        raise InputError(
            f"FlowPP squeezes its images, whose sides must be even; got {height}x{width}. Pad or "
            f"resize them to {height + height % 2}x{width + width % 2}, or use RealNVP."
        )
    squeezed = (4 * channels, height // 2, width // 2)
    full, between_channels, between_columns = config.couplings
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        layers = [
            *_front(config),
            *_between_columns(config, shape, full),
            Squeeze(),
            *_steps(config, squeezed, "half", between_channels),
            *_between_columns(config, squeezed, between_columns),
            Inverted(Squeeze(), shape),
        ]
        flow = Flow(shape, layers, context=config.context, name="FlowPP")
    flow.config = config
    return flow


def _front(config: FlowPPConfig) -> list[Layer]:
    """From the data to real numbers of moderate size."""
    levels = config.levels
    if levels is None:
        return [Standardize(config.shape)]
    if config.dequantization == "uniform":
        return [Dequantize(levels), Logit(config.alpha, levels)]
    net = _conditioner(config, width=config.noise_width, blocks=config.noise_blocks)
    noise = VariationalDequantize(config.shape, levels, conditioner=net, law=partial(_law, config))
    return [noise, Logit(config.alpha, levels)]


def _between_columns(config: FlowPPConfig, shape: Shape, count: int) -> list[Layer]:
    """Couplings whose halves are even and odd columns; rows or channels where those are odd."""
    _, height, width = shape
    if height % 2 and width % 2:
        return _steps(config, shape, "half", count)
    columns = Squeeze((2, 1) if width % 2 else (1, 2))  # channels 2c are even, 2c + 1 odd columns
    steps = _steps(config, columns.output_shape(shape), "alternating", count)
    return [columns, *steps, Inverted(Squeeze(columns.block), shape)]


def _steps(config: FlowPPConfig, shape: Shape, mask: str, count: int) -> list[Layer]:
    """So many times: norm, 1x1 convolution, coupling, the halves exchanged each time."""
    net = _conditioner(config, width=config.width, blocks=config.blocks)
    layers: list[Layer] = []
    for index in range(count):
        flip = index % 2 == 1
        layers += [ActNorm(shape), LULinear(shape[0], seed=None)]
        layers.append(Coupling(shape, mask, net, _law(config), flip=flip, context=config.context))
    return layers


def _law(config: FlowPPConfig) -> Law:
    if config.law == "affine":
        return Affine(SoftClamp(2.0))
    return LogisticMixture(config.components)


def _conditioner(config: FlowPPConfig, *, width: int, blocks: int) -> partial[GatedConvNet]:
    return partial(
        GatedConvNet,
        width=width,
        blocks=blocks,
        heads=config.heads,
        attention=config.attention,
        dropout=config.dropout,
    )


FAMILIES = (Family(FlowPPConfig, build_flowpp),)

PRESETS = {
    "flowpp": Preset(
        FlowPP,
        FlowPPConfig,
        "mixture-of-logistics couplings, gated networks, learned noise, for images of even sides",
    ),
    "flowpp-cifar10": Preset(
        FlowPP,
        FlowPPConfig,
        "the paper's CIFAR-10 model, 32 M parameters; layers and sizes of the authors' code",
        {
            "shape": (3, 32, 32),
            "couplings": (4, 2, 3),
            "components": 32,
            "width": 96,
            "blocks": 10,
            "attention": True,
            "heads": 4,
            "dropout": 0.2,
            "noise_width": 96,
            "noise_blocks": 2,
            "alpha": 0.05,
        },
        {
            "batch_size": 64,
            "lr": 3e-4,
            "warmup": 2000,
            "schedule": "constant",
            "clip": 1.0,
            "ema": 0.999,
        },
    ),
}
