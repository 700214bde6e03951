"""Glow: learned 1x1 convolutions between couplings, learned priors at every factor-out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from ..bases import DiagonalNormal
from ..elementwise import Additive, Affine, Law, SoftClamp
from ..errors import InputError
from ..flow import Flow
from ..layers import (
    ActNorm,
    Chain,
    Coupling,
    Dequantize,
    Inverted,
    Layer,
    Logit,
    LULinear,
    Multiscale,
    Shape,
    Squeeze,
    Standardize,
    VariationalDequantize,
)
from ..layers.masks import as_mask
from ..nets import GlowNet, ZeroConv
from .family import Family, Preset
from .settings import checked, event_shape, settings

__all__ = ["Glow", "GlowConfig", "SigmoidBound", "build_glow"]


@dataclass(config=settings, kw_only=True)
class GlowConfig:
    """What ``Glow`` is built from. ``None`` stands for a default that depends on the shape."""

    family: ClassVar[str] = "glow"

    shape: tuple[PositiveInt, ...]
    levels: int | None = Field(default=256, ge=2)
    """Integer levels of the pixels (32 for images of 5 bits); None for real numbers."""
    context: int = Field(default=0, ge=0)
    scales: int | None = Field(default=None, ge=0)
    """L, the times that an image is squeezed: up to 3, as its sides allow."""
    steps: int = Field(default=8, ge=1)
    """K, the steps of each scale: ActNorm, 1x1 convolution, coupling."""
    width: int = Field(default=64, ge=1)
    """Feature maps of a conditioner."""
    law: Literal["clamped", "sigmoid", "additive"] = "clamped"
    """The scale of a coupling: bounded both ways, Glow's sigmoid(h + 2), or none."""
    clamp: float = Field(default=2.0, gt=0)
    """Bound of the log-scale, where it is clamped."""
    logit: bool = True
    """Spread pixels over the real line first; the paper leaves them between 0 and 1."""
    alpha: float | None = Field(default=None, gt=0, lt=0.5)
    """Squash before the logit; None lets the data choose when training begins."""
    dequantization: Literal["uniform", "variational"] = "uniform"
    """Noise within the cells of integers: uniform, or shaped by a small flow of its own."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Of the starting weights and rotations."""


def Glow(shape: Sequence[int], **options: Any) -> Flow:
    """Glow over images ``(C, H, W)`` of any size.

    Each scale squeezes 2x2 pixels into channels and takes K steps of ActNorm, a learned 1x1
    convolution (kept in LU form) and an affine coupling over halves of the channels. Half of the
    channels then leave: with a normal density whose mean and scale are a convolution of the kept
    half, which is to say after an affine coupling. Images whose sides are odd are not squeezed;
    their couplings are checkerboards.

    The default sizes train on two cores. The scale of a coupling is clamped to
    :math:`e^{\\pm 2}`: the paper's sigmoid only ever shrinks, so that its inverse stretches without
    a bound, and samples may overflow; ``law="sigmoid"`` has it.

    Args:
        shape: the event shape.
        **options: any field of ``GlowConfig``: levels, context, scales, steps, width, law, clamp,
            logit, alpha, dequantization, seed.

    Raises:
        InputError: an unknown or impossible option, or a shape of rows; says which and why.

    Example:
        >>> flow = Glow((1, 8, 8), levels=17)
        >>> flow.sample(3).shape
        torch.Size([3, 1, 8, 8])

    Source: Kingma and Dhariwal 2018.
    """
    shape = event_shape(shape, "Glow")
    return build_glow(checked(GlowConfig, {"shape": shape, **options}, "Glow"))


def build_glow(config: GlowConfig) -> Flow:
    """Build the flow that ``config`` describes, its weights drawn from ``config.seed``."""
    shape = event_shape(config.shape, "Glow")
    if len(shape) != 3:
        raise InputError(
            f"Glow mixes the channels of images (C, H, W); got the shape {shape}. For rows use "
            f"RealNVP({shape}, mixing='lu')."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        layers: list[Layer] = []
        if config.levels is None:
            layers.append(Standardize(shape))
        else:
            uniform = config.dequantization == "uniform"
            noise = Dequantize if uniform else partial(VariationalDequantize, shape)
            layers.append(noise(config.levels))
            if config.logit:
                layers.append(Logit(config.alpha, config.levels))
        scales = _scales(config, shape)
        layers += _scale(config, shape, scales, 0) if scales else _unsqueezed(config, shape)
        flow = Flow(shape, layers, DiagonalNormal(shape), context=config.context, name="Glow")
    flow.config = config
    return flow


def _scales(config: GlowConfig, shape: Shape) -> int:
    """How often the image is squeezed."""
    _, height, width = shape
    possible = 0
    while height % 2 == 0 and width % 2 == 0:
        height, width, possible = height // 2, width // 2, possible + 1
    if config.scales is None:
        return min(3, possible)
    if config.scales > possible:
        _, height, width = shape
        raise InputError(
            f"Glow cannot make {config.scales} scales of {height}x{width} images: their sides can "
            f"be halved {possible} times before one is odd. Ask for fewer scales, or pad the "
            f"images."
        )
    return config.scales


def _scale(config: GlowConfig, shape: Shape, scales: int, index: int) -> list[Layer]:
    """Squeeze, K steps, factor out half of the channels, go on with the rest, unsqueeze."""
    channels, height, width = 4 * shape[0], shape[1] // 2, shape[2] // 2
    squeezed = (channels, height, width)
    layers: list[Layer] = [Squeeze()]
    for step in range(config.steps):
        mask = as_mask("channels", squeezed)
        layers += _step(config, mask, config.seed * 1000 + 100 * index + step)
    if scales > 1:
        keep = channels // 2
        prior = Affine(_bound(config))
        layers.append(Coupling(squeezed, "channels", ZeroConv, prior, context=config.context))
        inner = _scale(config, (keep, height, width), scales - 1, index + 1)
        layers.append(Multiscale(Chain(inner), keep))
    return [*layers, Inverted(Squeeze(), shape)]


def _unsqueezed(config: GlowConfig, shape: Shape) -> list[Layer]:
    """K steps at full resolution, for images whose sides are odd."""
    channels, height, width = shape
    kind = "checkerboard" if height * width > 1 else "channels"
    layers: list[Layer] = []
    for step in range(config.steps):
        mask = torch.zeros(shape, dtype=torch.bool)  # a single number: nothing to keep
        if channels * height * width > 1:
            mask = as_mask(kind, shape, flip=step % 2 == 1)
        layers += _step(config, mask, config.seed * 1000 + step)
    return layers


def _step(config: GlowConfig, mask: Tensor, seed: int) -> list[Layer]:
    """One step of flow: ActNorm, 1x1 convolution, coupling."""
    shape: Shape = tuple(mask.shape)
    net = partial(GlowNet, width=config.width)
    law: Law = Additive() if config.law == "additive" else Affine(_bound(config))
    mixing = [LULinear(shape[0], seed)] if shape[0] > 1 else []
    return [ActNorm(shape), *mixing, Coupling(shape, mask, net, law, context=config.context)]


def _bound(config: GlowConfig) -> nn.Module:
    return SigmoidBound() if config.law == "sigmoid" else SoftClamp(config.clamp)


class SigmoidBound(nn.Module):
    r"""Glow's log-scale: :math:`s = \log \sigma(h + 2)`, never above 0.

    Source: Kingma and Dhariwal 2018, the authors' code.
    """

    def forward(self, h: Tensor) -> Tensor:
        """Bound ``h``, any shape."""
        return logsigmoid(h + 2)


FAMILIES = (Family(GlowConfig, build_glow),)

PRESETS = {
    "glow": Preset(Glow, GlowConfig, "Glow for images of any size (give shape=)"),
    "glow-cifar10": Preset(
        Glow,
        GlowConfig,
        "Glow for CIFAR-10 as the paper sizes it, 44 M parameters; scales clamped both ways",
        {"shape": (3, 32, 32), "scales": 3, "steps": 32, "width": 512, "logit": False},
        # Adamax, warm-up and averages train it to 3.39 bits/dim at this batch size, Adam to 3.48
        # (as others have reported); the authors' own 3.35 took eight GPUs.
        {
            "optimiser": "adamax",
            "lr": 1e-3,
            "batch_size": 64,
            "schedule": "constant",
            "warmup": 2_000,
            "ema": 0.999,
            "flip": True,
        },
    ),
}
