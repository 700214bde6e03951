"""i-RevNet, a classifier that can be inverted from its last features to the image."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn.functional import pad

from ..checks import check_events
from ..elementwise import Additive
from ..errors import InputError
from ..layers import Chain, Coupling, Layer, Shape, Squeeze
from ..nets.residual import Residual
from .classifier import Classifier, in_float64
from .family import Family, Preset
from .settings import checked, event_shape, settings

__all__ = [
    "IRevNet",
    "IRevNetConfig",
    "InvertibleClassifier",
    "ZeroChannels",
    "build_irevnet",
    "irevnet_chain",
]

Counts = Annotated[tuple[PositiveInt, ...], Field(min_length=1)]


@dataclass(config=settings, kw_only=True)
class IRevNetConfig:
    """What ``IRevNet`` is built from."""

    family: ClassVar[str] = "irevnet"

    shape: tuple[PositiveInt, ...]
    levels: int | None = Field(default=256, ge=2)
    """Integer levels of the images; None for real numbers."""
    labels: int = Field(default=10, ge=2)
    """Classes to tell apart."""
    units: Counts = (6, 6, 6)
    """Blocks of each stage."""
    strides: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (1, 2, 2)
    """2 where a stage begins with a squeeze, 1 where it does not."""
    squeezes: int = Field(default=0, ge=0)
    """Times that the image is squeezed before all blocks."""
    channels: int | None = Field(default=None, ge=2)
    """Channels of the image when it enters the blocks, 32 or all that it has if None: where it has
    fewer, zeros are added (injective), else the map is bijective."""
    bottleneck: int = Field(default=4, ge=1)
    """How many times fewer channels there are between the convolutions of a block."""
    kernels: Annotated[tuple[PositiveInt, ...], Field(min_length=3, max_length=3)] = (3, 3, 3)
    """Sizes of the three convolutions of a block."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Of the starting weights."""


class ZeroChannels(nn.Module):
    """Add channels of zeros: one-to-one, but not onto."""

    def __init__(self, channels: int, added: int) -> None:
        super().__init__()
        self.channels, self.added = channels, added

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` -> ``(N, C + added, H, W)``."""
        return pad(x, (0, 0, 0, 0, 0, self.added)) if self.added else x

    def inverse(self, z: Tensor) -> Tensor:
        """Leave the added channels away, whatever they hold."""
        return z[:, : self.channels]


class InvertibleClassifier(Classifier):
    """A classifier whose last features determine the image: it discards nothing before the mean."""

    refuses: ClassVar[Mapping[str, str]] = {
        **Classifier.refuses,
        "encode": "an i-RevNet has features(x), from which invert(z) gives x back.",
        "decode": "an i-RevNet has invert(z), which gives the images of features(x).",
    }
    example = (
        "model.classify(x)  # (N, classes) log-probabilities",
        "model.invert(model.features(x))  # x again",
    )

    def features(self, x: Any) -> Tensor:
        """The last features ``(N, *feature_shape)``, before the mean over positions.

        In float64, for the digits that the way back needs; the networks compute in their own type.
        """
        x, _ = self.prepare(x, None, True)
        with self.evaluating():
            return self._features(in_float64(self.scale(x)))

    @torch.no_grad()
    def invert(self, features: Any, *, whole: bool = True) -> Tensor:
        """The images of features: ``invert(features(x))`` is x.

        Args:
            features: ``(N, *feature_shape)``.
            whole: give integers where the images have levels; otherwise real numbers, which show
                how exact the inverse is.

        Raises:
            InputError: features of another shape, or not finite.
        """
        z = check_events(
            features, name=f"invert of {self.name}", shape=self.feature_shape, levels=None
        )
        z = z.to(self.device, torch.promote_types(z.dtype, self.dtype))
        with self.evaluating():
            for part in reversed(self.body):
                z = part.inverse(z)[0] if isinstance(part, Chain) else part.inverse(z)  # type: ignore[operator]
            x = self.scale.inverse(z)
        if not whole or self.levels is None:
            return x
        return x.round().clamp(0, self.levels - 1).long()

    @property
    def feature_shape(self) -> Shape:
        """The shape of ``features`` of one image."""
        shape = self.shape
        for part in self.body:
            if isinstance(part, ZeroChannels):
                shape = (shape[0] + part.added, *shape[1:])
            elif isinstance(part, Chain):
                shape = part.output_shape(shape)
        return shape


def IRevNet(shape: Shape | list[int], **options: Any) -> InvertibleClassifier:
    r"""A classifier of images that is invertible up to its last features.

    Each block adds a function of one half of the channels to the other, the halves taking turns,
    which is an additive coupling; a stage may begin with a squeeze in place of a stride. With as
    many channels in as the image has the map is bijective; zeros added before make it injective.

    Args:
        shape: ``(C, H, W)``.
        **options: any field of ``IRevNetConfig``: levels, labels, units, strides, squeezes,
            channels, bottleneck, kernels, dropout, seed.

    Raises:
        InputError: an unknown or impossible option; says which and why.

    Example:
        >>> model = IRevNet((1, 8, 8), levels=17, units=(2, 2), strides=(1, 2))
        >>> x = torch.randint(17, (3, 1, 8, 8))
        >>> bool((model.invert(model.features(x)) == x).all())
        True

    Source: Jacobsen, Smeulders and Oyallon 2018.
    """
    return build_irevnet(checked(IRevNetConfig, {"shape": shape, **options}, "IRevNet"))


def build_irevnet(config: IRevNetConfig) -> InvertibleClassifier:
    """Build the classifier that ``config`` describes, its weights drawn from ``config.seed``."""
    shape = event_shape(config.shape, "IRevNet")
    if len(shape) != 3:
        raise InputError(f"IRevNet is for images (C, H, W); got {shape}.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        squeezed = [Squeeze() for _ in range(config.squeezes)]
        start = Chain(squeezed).output_shape(shape)
        wanted = config.channels or max(32, start[0] + start[0] % 2)
        if wanted < start[0] or wanted % 2:
            raise InputError(
                f"IRevNet: channels = {wanted} will not do; give an even number of at least "
                f"{start[0]}, which the image has after {config.squeezes} squeezes."
            )
        added = wanted - start[0]
        front: list[Layer] = [] if added else list(squeezed)
        chain = irevnet_chain(config, (wanted, *start[1:]), front)
        body: list[nn.Module] = [chain]
        if added:
            first: list[nn.Module] = [Chain(squeezed)] if squeezed else []
            body = [*first, ZeroChannels(start[0], added), chain]
        features = chain.output_shape(shape if not added else (wanted, *start[1:]))[0]
        model = InvertibleClassifier(
            shape, config.labels, config.levels, body, features, name="IRevNet"
        )
    model.config = config
    return model


def irevnet_chain(config: IRevNetConfig, shape: Shape, front: list[Layer] | None = None) -> Chain:
    """The invertible part: what comes before, then couplings over halves of ``shape``.

    Raises:
        InputError: strides that do not fit the stages or the sides of the images.
    """
    if len(config.units) != len(config.strides) or not set(config.strides) <= {1, 2}:
        raise InputError(
            f"IRevNet: strides are 1 or 2, one for each stage of units; got units "
            f"{config.units} and strides {config.strides}."
        )
    halvings = 2 ** config.strides.count(2)
    if shape[1] % halvings or shape[2] % halvings:
        raise InputError(
            f"IRevNet: its stages halve the sides {config.strides.count(2)} times, which "
            f"{shape[1]}x{shape[2]} does not allow. Use fewer stages, strides of 1, or resize the "
            f"images."
        )
    layers: list[Layer] = list(front or [])
    # The first block sees the half that holds the image, and changes the other. The authors' sees
    # the other, of zeros: what batch norms then make of channels without variance, divided by
    # sqrt(eps), takes the digits from the inverse (float32: no image comes back).
    flip, begun = False, False
    for units, stride in zip(config.units, config.strides, strict=True):
        for unit in range(units):
            squeezes = stride == 2 and unit == 0
            if squeezes:
                layers.append(Squeeze())
                shape = Squeeze().output_shape(shape)
            inner = max(1, shape[0] // 2 // config.bottleneck)
            net = partial(
                Residual,
                inner=(inner, inner),
                kernels=config.kernels,
                active=begun,
                unsqueeze=squeezes,
                dropout=config.dropout,
            )
            layers.append(Coupling(shape, "channels", net, Additive(), flip=flip))
            flip, begun = not flip, True
    return Chain(layers)


FAMILIES = (Family(IRevNetConfig, build_irevnet),)

_IMAGENET: dict[str, Any] = {
    "shape": (3, 224, 224),
    "labels": 1000,
    "strides": (2, 2, 2, 2),
    "squeezes": 1,
    "kernels": (1, 3, 1),
}
# Kernels, and for the injective model units and channels, are those that have the paper's numbers
# of parameters, 29 M and 181 M; the released code's 3x3 throughout would have 125 M for the first.
_TRAINING = {**Classifier.training_defaults, "batch_size": 128, "crop": 4, "flip": True}
_PAPER = {**Classifier.training_defaults, "batch_size": 256, "weight_decay": 1e-4, "flip": True}

PRESETS = {
    "irevnet": Preset(
        IRevNet,
        IRevNetConfig,
        "classifier that is invertible to its last features, images of any shape (give shape=)",
        training=Classifier.training_defaults,
    ),
    "irevnet-cifar10": Preset(
        IRevNet,
        IRevNetConfig,
        "the authors' small model for CIFAR-10, zeros added to the channels; their error 5.5 %",
        {"shape": (3, 32, 32), "channels": 32, "units": (18, 18, 18)},
        {**_TRAINING, "weight_decay": 5e-4},
    ),
    "irevnet-bijective": Preset(
        IRevNet,
        IRevNetConfig,
        "the paper's bijective ImageNet model, 29.2 M parameters; published error 26.7 %",
        {**_IMAGENET, "units": (6, 16, 72, 6), "channels": 12},
        _PAPER,
    ),
    "irevnet-injective": Preset(
        IRevNet,
        IRevNetConfig,
        "the paper's injective ImageNet model, 181 M parameters; published error 24.7 %",
        {**_IMAGENET, "units": (6, 16, 28, 6), "channels": 36},
        _PAPER,
    ),
}
