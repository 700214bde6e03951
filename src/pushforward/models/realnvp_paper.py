"""Real NVP as published: the architectures of Dinh, Sohl-Dickstein and Bengio 2017.

Where the paper and the authors' released code disagree, each choice says which it follows.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import nn

from ..elementwise import Affine, LearnedTanh
from ..errors import InputError
from ..flow import Flow
from ..layers import (
    Chain,
    Coupling,
    Dequantize,
    FlowBatchNorm,
    Inverted,
    Layer,
    Logit,
    Multiscale,
    OrderedSqueeze,
    Shape,
    Squeeze,
)
from ..layers.masks import as_mask
from ..nets import ResNet
from .family import Family, Preset
from .settings import checked, event_shape, settings

__all__ = ["RealNVPPaperConfig", "build_realnvp_paper", "paper_decayed", "realnvp_paper"]


@dataclass(config=settings, kw_only=True)
class RealNVPPaperConfig:
    """What the paper varies between data sets."""

    family: ClassVar[str] = "realnvp-paper"

    shape: tuple[PositiveInt, ...] = (3, 32, 32)
    levels: int = Field(default=256, ge=2)
    context: int = Field(default=0, ge=0)
    scales: int = Field(default=2, ge=1)
    """Including the last, which is not squeezed: 2 squeezes once."""
    width: int = Field(default=64, ge=1)
    """Feature maps of the first scale; doubled by each squeeze."""
    blocks: int = Field(default=8, ge=1)
    """Residual blocks of each conditioner."""
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    average: Literal["batch", "running"] = "batch"
    """Moments of the output batch norm in training; "running" is the paper's appendix E."""
    seed: int = Field(default=0, ge=0, lt=2**31)


def realnvp_paper(**options: Any) -> Flow:
    """Build the paper's architecture; options are the fields of ``RealNVPPaperConfig``."""
    return build_realnvp_paper(checked(RealNVPPaperConfig, options, "realnvp-paper"))


def build_realnvp_paper(config: RealNVPPaperConfig) -> Flow:
    """Build the flow that ``config`` describes.

    Scale k: three checkerboard couplings, squeeze, three channel-wise couplings of twice the
    width, unsqueeze, ordered squeeze; half of the channels leave, the others are the next scale.
    The last scale: four checkerboard couplings. Every coupling is followed by batch norm.

    * Squash before the logit: symmetric, as the code (the printed formula is infinite at 1).
    * First checkerboard: keeps pixels of even row + column, as the code (paper: odd).
    * Coupling: x exp(s) + t, as the paper (code: (x + t) exp(s); the same family).
    * Moments of the output batch norm: of the changed part, as the paper (code: counts zeros).
    * Sampling: running averages throughout and the squash undone (the code does neither).

    Raises:
        InputError: the sides cannot be halved as often as the scales ask.
    """
    shape = event_shape(config.shape, "realnvp-paper")
    if len(shape) != 3:
        raise InputError(f"the paper's Real NVP is for images (C, H, W); got {shape}.")
    divisor = 2 ** (config.scales - 1)
    if shape[1] % divisor or shape[2] % divisor:
        raise InputError(
            f"{config.scales} scales need sides that can be halved {config.scales - 1} times; got "
            f"{shape[1]}x{shape[2]}. Ask for fewer scales or resize the images."
        )
    if shape[1] * shape[2] == divisor**2:
        raise InputError(
            f"{config.scales} scales leave the last one a single pixel of {shape[1]}x{shape[2]}, "
            f"where a checkerboard has nothing to change. Ask for fewer scales."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        front: list[Layer] = [Dequantize(config.levels), Logit(config.alpha, config.levels)]
        layers = front + _scale(config, shape, config.scales, config.width)
        flow = Flow(shape, layers, context=config.context, name="RealNVP-paper")
    flow.config = config
    return flow


def _scale(config: RealNVPPaperConfig, shape: Shape, scales: int, width: int) -> list[Layer]:
    """One scale and, through its factor-out, all that follow."""
    channels, height, pixels = shape
    if scales == 1:
        return [la for k in range(4) for la in _coupling(config, shape, "checkerboard", k, width)]
    squeezed = (4 * channels, height // 2, pixels // 2)
    half = (2 * channels, height // 2, pixels // 2)
    layers = [la for k in range(3) for la in _coupling(config, shape, "checkerboard", k, width)]
    layers.append(Squeeze())
    layers += [la for k in range(3) for la in _coupling(config, squeezed, "channels", k, 2 * width)]
    layers.append(Inverted(Squeeze(), shape))
    layers.append(OrderedSqueeze())
    inner = _scale(config, half, scales - 1, 2 * width)
    layers.append(Multiscale(Chain(inner), keep=2 * channels))
    layers.append(Inverted(OrderedSqueeze(), shape))
    return layers


def _coupling(
    config: RealNVPPaperConfig, shape: Shape, kind: str, index: int, width: int
) -> list[Layer]:
    """A coupling with its batch norm; every second one keeps the other part.

    The learned scale starts at 0 for checkerboards and at 1 for channel-wise ones, as the code.
    """
    mask = as_mask(kind, shape, flip=index % 2 == 1)
    net = partial(ResNet, width=width, blocks=config.blocks)
    checkerboard = kind == "checkerboard"
    if checkerboard:
        net = partial(net, mask=mask)
    law = Affine(LearnedTanh(0.0 if checkerboard else 1.0, decay=checkerboard))
    return [
        Coupling(shape, mask, net, law, context=config.context),
        FlowBatchNorm(shape, mask, average=config.average),
    ]


def paper_decayed(flow: nn.Module) -> list[nn.Parameter]:
    r"""The parameters :math:`w` of the paper's penalty :math:`5 \cdot 10^{-5} \sum w^2`.

    They are the gains of weight-normalised convolutions and the learned scales of checkerboard
    couplings: each module names its own in ``decayed``. In an optimiser whose ``weight_decay`` is
    the gradient's share (torch's Adam, not AdamW) the penalty, with a loss in nats per image, is
    ``weight_decay=1e-4``.

    Source: the authors' released code; of the paper, section 4.1.
    """
    named = [getattr(m, name) for m in flow.modules() for name in getattr(m, "decayed", ())]
    return [parameter for parameter in named if parameter is not None]


# The authors train by Adam at 1e-3 on batches of 64 and clip the gradient of the nats per image at
# 100; ``fit`` takes the loss in bits/dim, so the same clipping is 100 / (D ln 2). Their L2 of 5e-5,
# in nats as there, is on learned scales and magnitudes. All but ImageNet are mirrored at random.
def _paper(shape: tuple[int, int, int], about: str, **settings: Any) -> Preset:
    dims = shape[0] * shape[1] * shape[2]
    training = {
        "lr": 1e-3,
        "batch_size": 64,
        "clip": 100 / (dims * 0.6931471805599453),
        "schedule": "constant",
        "warmup": 0,
        "ema": 0.0,
        "l2": 5e-5,
        "flip": "ImageNet" not in about,
    }
    return Preset(realnvp_paper, RealNVPPaperConfig, about, {"shape": shape, **settings}, training)


FAMILIES = (Family(RealNVPPaperConfig, build_realnvp_paper),)

PRESETS: dict[str, Preset] = {
    "realnvp-cifar10": _paper(
        (3, 32, 32),
        "the paper's CIFAR-10 model, 19.6 M parameters; scales and maps as the paper",
        scales=2,
        width=64,
        blocks=8,
        average="running",
    ),
    "realnvp-imagenet32": _paper(
        (3, 32, 32),
        "the paper's ImageNet 32x32 model, 46.2 M parameters; as paper and code",
        scales=4,
        width=32,
        blocks=4,
    ),
    "realnvp-imagenet64": _paper(
        (3, 64, 64),
        "the paper's ImageNet 64x64 model; 2 residual blocks as the paper (code's README: 4)",
        scales=5,
        width=32,
        blocks=2,
    ),
    "realnvp-celeba": _paper(
        (3, 64, 64),
        "the paper's CelebA model; 2 residual blocks as the paper (code's README: 4)",
        scales=5,
        width=32,
        blocks=2,
    ),
    "realnvp-lsun": _paper(
        (3, 64, 64),
        "the paper's LSUN model; 2 residual blocks as the paper (code's README: 4)",
        scales=5,
        width=32,
        blocks=2,
    ),
}
