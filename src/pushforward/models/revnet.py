"""RevNet, a residual network that keeps no activations, and the ResNet of the same size."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad, relu

from ..elementwise import Additive
from ..errors import InputError
from ..layers import Chain, Coupling, Layer, Shape
from ..nets.batch_norm import BatchNorm
from ..nets.residual import Residual, convolution
from .classifier import Classifier
from .family import Family, Preset
from .settings import checked, event_shape, settings

__all__ = ["RevNet", "RevNetConfig", "build_revnet"]

Sizes = Annotated[tuple[PositiveInt, ...], Field(min_length=1)]


@dataclass(config=settings, kw_only=True)
class RevNetConfig:
    """What ``RevNet`` is built from."""

    family: ClassVar[str] = "revnet"

    shape: tuple[PositiveInt, ...]
    levels: int | None = Field(default=256, ge=2)
    """Integer levels of the images; None for real numbers."""
    labels: int = Field(default=10, ge=2)
    """Classes to tell apart."""
    blocks: Literal["reversible", "plain"] = "reversible"
    """Plain blocks make the ResNet that a RevNet is compared with."""
    units: Sizes = (3, 3, 3)
    """Residual units of each stage."""
    stem: int = Field(default=32, ge=2)
    """Channels of the first convolution."""
    channels: Sizes = (32, 64, 112)
    """Channels of each stage; its images have half the side of those of the stage before."""
    bottleneck: bool = False
    """Units of 1x1, 3x3 and 1x1 convolutions with a quarter of the channels within."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Of the starting weights."""


class Downsampling(nn.Module):
    r"""The unit with which a stage begins: other channels, or half the side; not invertible.

    .. math:: y_1 = s(x_1) + F(x_2), \qquad y_2 = s(x_2) + G(y_1)

    with s the mean over 2x2 pixels and zeros for new channels, or a 1x1 convolution in units with a
    bottleneck. Its activations are kept. Plain units have :math:`y = s(x) + F(x)`.
    """

    def __init__(
        self, config: RevNetConfig, before: int, after: int, stride: int, active: bool = True
    ) -> None:
        super().__init__()
        self.reversible = config.blocks == "reversible"
        halves = 2 if self.reversible else 1
        self.before, self.after = before // halves, after // halves
        self.stride = stride
        self.first = _net(config, (self.before,), (self.after,), stride=stride, active=active)
        self.second = _net(config, (self.after,), (self.after,)) if self.reversible else None
        projects = config.bottleneck and (stride > 1 or before != after)
        self.shortcuts = nn.ModuleList(
            convolution(self.before, self.after, 1, stride) if projects else nn.Identity()
            for _ in range(halves)
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to the next stage."""
        if self.second is None:
            return self._shortcut(x, 0) + self.first(x)
        x_1, x_2 = x.chunk(2, dim=1)
        y_1 = self._shortcut(x_1, 0) + self.first(x_2)
        return torch.cat((y_1, self._shortcut(x_2, 1) + self.second(y_1)), dim=1)

    def _shortcut(self, x: Tensor, which: int) -> Tensor:
        if not isinstance(self.shortcuts[which], nn.Identity):
            shorter: Tensor = self.shortcuts[which](x)
            return shorter
        if self.stride > 1:
            x = avg_pool2d(x, self.stride)
        new = self.after - self.before
        return pad(x, (0, 0, 0, 0, new // 2, new - new // 2)) if new else x


class Stem(nn.Module):
    """3x3 convolution, batch norm, ReLU."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.convolution = convolution(channels, out_channels, 3)
        self.norm = BatchNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` -> ``(N, out_channels, H, W)``."""
        return relu(self.norm(self.convolution(x)))


def RevNet(shape: Shape | list[int], **options: Any) -> Classifier:
    r"""A reversible residual network for images, or with ``blocks="plain"`` the usual one.

    .. math:: y_1 = x_1 + F(x_2), \quad y_2 = x_2 + G(y_1); \qquad
              x_2 = y_2 - G(y_1), \quad x_1 = y_1 - F(x_2)

    over two halves of the channels: two additive couplings. With ``memory="constant"`` a training
    step restores the input of each from its output, so that depth costs no memory but at the first
    unit of each stage, which is not invertible.

    Args:
        shape: ``(C, H, W)``; sides must halve as often as there are stages after the first.
        **options: any field of ``RevNetConfig``: levels, labels, blocks, units, stem, channels,
            bottleneck, seed.

    Raises:
        InputError: an unknown or impossible option; says which and why.

    Example:
        >>> model = RevNet((1, 8, 8), levels=17, units=(1, 1), channels=(8, 16), stem=8)
        >>> model.predict(torch.zeros(3, 1, 8, 8)).shape
        torch.Size([3])

    Source: Gomez et al. 2017, section 3; He et al. 2016 (pre-activation) for the plain blocks.
    """
    return build_revnet(checked(RevNetConfig, {"shape": shape, **options}, "RevNet"))


def build_revnet(config: RevNetConfig) -> Classifier:
    """Build the classifier that ``config`` describes, its weights drawn from ``config.seed``."""
    shape = event_shape(config.shape, "RevNet")
    _check(config, shape)
    wide = 4 if config.bottleneck else 1
    channels = tuple(wide * count for count in config.channels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        body: list[nn.Module] = [Stem(shape[0], config.stem)]
        _, height, width = shape
        for stage, (before, after) in enumerate(itertools.pairwise((config.stem, *channels))):
            stride = 2 if stage else 1
            height, width = height // stride, width // stride
            body += _stage(config, before, (after, height, width), stage)
        name = "RevNet" if config.blocks == "reversible" else "ResNet"
        model = Classifier(shape, config.labels, config.levels, body, channels[-1], name=name)
    model.config = config
    return model


def _stage(config: RevNetConfig, before: int, shape: Shape, stage: int) -> list[nn.Module]:
    """One stage: the first unit, unless it is as invertible as all others, then those."""
    after, stride = shape[0], 2 if stage else 1
    first: list[nn.Module] = []
    layers: list[Layer] = []
    plain: list[nn.Module] = []
    for unit in range(config.units[stage]):
        # The very first function of the network sees what has just been through a ReLU.
        active = unit > 0 or stage > 0
        if unit == 0 and (stride > 1 or before != after):
            first.append(Downsampling(config, before, after, stride, active))
        elif config.blocks == "plain":
            plain.append(Downsampling(config, after, after, 1, active))
        else:
            f, g = partial(_net, config, active=active), partial(_net, config)
            layers.append(Coupling(shape, "channels", f, Additive(), flip=True))
            layers.append(Coupling(shape, "channels", g, Additive()))
    return [*first, *plain, *([Chain(layers)] if layers else [])]


def _net(
    config: RevNetConfig, in_shape: Shape, out_shape: Shape, context: int = 0, **options: Any
) -> Residual:
    """The residual function between two halves (or wholes) of the channels."""
    out = out_shape[0]
    inner, kernels = ((out // 4,) * 2, (1, 3, 1)) if config.bottleneck else ((out,), (3, 3))
    return Residual(in_shape, out_shape, context, inner=inner, kernels=kernels, **options)


def _check(config: RevNetConfig, shape: Shape) -> None:
    if len(shape) != 3:
        raise InputError(f"RevNet is for images (C, H, W); got {shape}.")
    stages = len(config.units)
    if len(config.channels) != stages:
        raise InputError(
            f"RevNet: units and channels are told for each stage; got {stages} and "
            f"{len(config.channels)} of them."
        )
    divisor = 2 ** (stages - 1)
    if shape[1] % divisor or shape[2] % divisor:
        raise InputError(
            f"RevNet: {stages} stages halve the sides {stages - 1} times, which "
            f"{shape[1]}x{shape[2]} does not allow. Use fewer stages, or resize the images."
        )
    sizes = (config.stem, *config.channels)
    if any(size % 2 for size in sizes) or any(b < a for a, b in itertools.pairwise(sizes)):
        raise InputError(
            f"RevNet: channels are even and do not become fewer from stem to end; got {sizes}."
        )


FAMILIES = (Family(RevNetConfig, build_revnet),)


def _named(error: str, **sizes: Any) -> Preset:
    plain = sizes.get("blocks") == "plain"
    kind = "ResNet that RevNets are compared with" if plain else "RevNet, no activations kept"
    return Preset(
        RevNet,
        RevNetConfig,
        f"the paper's {kind}; classifies CIFAR-10, published error {error} %",
        {"shape": (3, 32, 32), **sizes},
        {**Classifier.training_defaults, "crop": 4, "flip": True, "clip": 100.0},
    )


_PLAIN = {"blocks": "plain", "stem": 16, "channels": (16, 32, 64)}

PRESETS = {
    "revnet": Preset(
        RevNet,
        RevNetConfig,
        "reversible residual network that classifies images of any shape (give shape=)",
        training=Classifier.training_defaults,
    ),
    "revnet-38": _named("7.24", units=(3, 3, 3), stem=32, channels=(32, 64, 112)),
    "revnet-110": _named("5.76", units=(9, 9, 9), stem=32, channels=(32, 64, 128)),
    "revnet-164": _named("5.17", units=(9, 9, 9), stem=32, channels=(32, 64, 128), bottleneck=True),
    "resnet-32": _named("7.14", units=(5, 5, 5), **_PLAIN),
    "resnet-110": _named("5.74", units=(18, 18, 18), **_PLAIN),
    "resnet-164": _named("5.24", units=(18, 18, 18), bottleneck=True, **_PLAIN),
}
