"""Jet: affine couplings over the patches of an image, with vision transformers as conditioners.

No scales, no factor-out, no ActNorm, no 1x1 convolutions: what Real NVP looks like when the
networks are strong.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from ..elementwise import SigmoidScale
from ..errors import InputError
from ..flow import Flow
from ..layers import (
    Coupling,
    Dequantize,
    Inverted,
    Layer,
    Logit,
    Rescale,
    Shape,
    Squeeze,
    Standardize,
    VariationalDequantize,
)
from ..nets import ViT
from .family import Family, Preset
from .settings import checked, event_shape, settings

__all__ = ["Jet", "JetConfig", "build_jet"]


@dataclass(config=settings, kw_only=True)
class JetConfig:
    """What ``Jet`` is built from. ``None`` stands for a default that depends on the shape."""

    family: ClassVar[str] = "jet"

    shape: tuple[PositiveInt, ...]
    levels: int | None = Field(default=None, ge=2)
    """Integer levels of discrete data; None for continuous data."""
    context: int = Field(default=0, ge=0)
    couplings: int = Field(default=20, ge=1)
    blocks: int = Field(default=1, ge=1)
    """Transformer blocks of each conditioner."""
    width: int = Field(default=64, ge=1)
    """Numbers of a token within a conditioner."""
    heads: int | None = Field(default=None, ge=1)
    """Of the attention; one for each 64 of the width."""
    patch: int | None = Field(default=None, ge=1)
    """Side of the square patches that become tokens: 4, or 3 or 2 where the sides ask for it."""
    channel_couplings: int = Field(default=4, ge=0)
    """Couplings between channels for each one between tokens."""
    front: Literal["linear", "logit"] = "logit"
    """How (0, 1) enters: as (-1, 1), like the authors', or by the logit, for blank paper."""
    alpha: float | None = Field(default=None, gt=0, lt=0.5)
    """Squash before the logit; None lets the data choose when training begins."""
    dequantization: Literal["uniform", "variational"] = "uniform"
    dropout: float = Field(default=0.0, ge=0, lt=1)
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Of the starting weights and of the channels that each coupling keeps."""


def Jet(
    shape: Sequence[int], *, levels: int | Literal["auto"] | None = "auto", **options: Any
) -> Flow:
    """Jet over images ``(C, H, W)`` whose sides can be cut into square patches.

    The image becomes a grid of tokens, one a patch. Couplings change half of the channels of every
    token, a random half each time, or every fifth time half of the tokens: checkerboard, columns
    and rows in turn. The flow starts as the identity, and each coupling scales by less than 2.

    Args:
        shape: the event shape.
        levels: integer levels: 256 unless given; None for images of real numbers.
        **options: any field of ``JetConfig``: context, couplings, blocks, width, heads, patch,
            channel_couplings, front, alpha, dequantization, dropout, seed.

    Raises:
        InputError: rows, sides that no patch divides, or an unknown or impossible option.

    Example:
        >>> flow = Jet((1, 28, 28), couplings=10)
        >>> flow.sample(3).shape
        torch.Size([3, 1, 28, 28])

    Source: Kolesnikov, Pinto and Tschannen 2024 (Jet), and the authors' code.
    """
    shape = event_shape(shape, "Jet")
    levels = 256 if levels == "auto" else levels
    return build_jet(checked(JetConfig, {"shape": shape, "levels": levels, **options}, "Jet"))


def build_jet(config: JetConfig) -> Flow:
    """Build the flow that ``config`` describes, its weights drawn from ``config.seed``.

    As the authors' code, but for this. A token coupling hands its network the whole grid with zeros
    where tokens change; theirs cuts half of the tokens up into a whole grid, which is equal work.
    Every second channel coupling exchanges the halves of the one before it, so that few couplings
    change every number too; theirs draws new ones. A context is added to every token.
    """
    shape = event_shape(config.shape, "Jet")
    if len(shape) != 3:
        raise InputError(
            f"Jet cuts images (C, H, W) into patches; got {shape}. For rows use RealNVP."
        )
    patch = config.patch or _patch_for(shape)
    if shape[1] % patch or shape[2] % patch:
        raise InputError(
            f"Jet cannot cut {shape[1]}x{shape[2]} images into patches of {patch}x{patch}: choose "
            f"a patch that divides both sides, or resize the images."
        )
    if shape == (1, 1, 1):
        raise InputError("Jet needs something to condition on; an image of one number has nothing.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        front, squeeze = _front(config), Squeeze(patch)
        couplings = _couplings(config, squeeze.output_shape(shape))
        layers = [*front, squeeze, *couplings, Inverted(Squeeze(patch), shape)]
        flow = Flow(shape, layers, context=config.context, name="Jet")
    flow.config = config
    return flow


def _patch_for(shape: Shape) -> int:
    """The largest patch of 4, 3 or 2 pixels that leaves at least 4x4 tokens, or else 2x2."""
    _, height, width = shape
    for tokens in (4, 2):
        for patch in (4, 3, 2):
            if height % patch == width % patch == 0 and min(height, width) >= tokens * patch:
                return patch
    raise InputError(
        f"Jet cuts images into patches of 2, 3 or 4 pixels a side, which {height}x{width} images "
        f"do not allow: pad or resize them to sides that can be divided, such as "
        f"{max(4, -(-height // 4) * 4)}x{max(4, -(-width // 4) * 4)}, or use RealNVP."
    )


def _front(config: JetConfig) -> list[Layer]:
    """From the data to real numbers of moderate size."""
    levels = config.levels
    if levels is None:
        return [Standardize(config.shape)]
    uniform = config.dequantization == "uniform"
    noisy = Dequantize(levels) if uniform else VariationalDequantize(config.shape, levels)
    if config.front == "logit":
        return [noisy, Logit(config.alpha, levels)]
    # The darkest level is at -1 and the brightest at 1, each with a cell above it.
    return [noisy, Rescale(2 * levels / (levels - 1), -1.0)]


def _couplings(config: JetConfig, grid: Shape) -> list[Layer]:
    """So many couplings between channels, then one between tokens, and again."""
    net = partial(
        ViT, width=config.width, blocks=config.blocks, heads=config.heads, dropout=config.dropout
    )
    channels, tokens = _channel_masks(grid, config.seed), itertools.cycle(_token_masks(grid))
    every = config.channel_couplings + 1
    layers: list[Layer] = []
    for index in range(config.couplings):
        between_tokens = index % every == every - 1
        # The second of a pair stands in where there is but one token, or one channel.
        pair = (tokens, channels) if between_tokens else (channels, tokens)
        mask = next(itertools.chain(*pair))
        layers.append(Coupling(grid, mask, net, SigmoidScale(), context=config.context))
    return layers


def _channel_masks(grid: Shape, seed: int) -> Iterator[Tensor]:
    """A random half of the channels, then the other half; then another random half."""
    generator = torch.Generator().manual_seed(seed)
    while grid[0] > 1:
        mask = torch.zeros(grid, dtype=torch.bool)
        mask[torch.randperm(grid[0], generator=generator)[: grid[0] // 2]] = True
        yield mask
        yield ~mask


def _token_masks(grid: Shape) -> list[Tensor]:
    """Checkerboard, columns and rows of tokens, each with its inverse, as far as there are any."""
    _, height, width = grid
    rows, columns = torch.arange(height)[:, None], torch.arange(width)[None, :]
    parities = (rows + columns, columns + 0 * rows, rows + 0 * columns)
    masks = [parity % 2 == kept for parity in parities for kept in (0, 1)]
    return [mask.expand(grid).clone() for mask in masks if mask.any() and not mask.all()]


FAMILIES = (Family(JetConfig, build_jet),)

_RECIPE = {
    "lr": 3e-4,
    "schedule": "cosine",
    "weight_decay": 1e-5,
    "clip": 1.0,
    "ema": 0.0,
    "precision": "bf16",
}

PRESETS = {
    "jet": Preset(
        Jet,
        JetConfig,
        "couplings over patches with vision transformers, for images; trains on two cores",
    ),
    "jet-cifar10": Preset(
        Jet,
        JetConfig,
        "Jet for CIFAR-10 on one GPU: 32 couplings of 2 blocks, 52 M parameters (sizes our own)",
        {
            "shape": (3, 32, 32),
            "couplings": 32,
            "blocks": 2,
            "width": 256,
            "front": "linear",
            "dropout": 0.1,
        },
        {**_RECIPE, "batch_size": 256, "warmup": 2000, "ema": 0.999, "flip": True},
    ),
    "jet-imagenet64": Preset(
        Jet,
        JetConfig,
        "the authors' smaller ImageNet 64x64 model: 32 couplings of 2 blocks, 207 M parameters",
        {"shape": (3, 64, 64), "couplings": 32, "blocks": 2, "width": 512, "front": "linear"},
        {**_RECIPE, "batch_size": 1024, "epochs": 200, "warmup": 25_000, "memory": "checkpoint"},
    ),
}
