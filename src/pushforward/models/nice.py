"""NICE: additive couplings between the even and the odd numbers, and one diagonal scaling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import nn

from ..bases import Base, Logistic, StandardNormal
from ..elementwise import Additive
from ..flow import Flow
from ..layers import (
    Coupling,
    Dequantize,
    Flatten,
    Inverted,
    Layer,
    Scaling,
    Standardize,
    Whiten,
)
from ..nets import MLP
from .family import Family, Preset
from .settings import checked, event_shape, settings

__all__ = ["NICE", "NICEConfig", "build_nice", "unit_log_likelihood"]


@dataclass(config=settings, kw_only=True)
class NICEConfig:
    """What ``NICE`` is built from. ``None`` stands for a default that depends on the shape."""

    family: ClassVar[str] = "nice"

    shape: tuple[PositiveInt, ...]
    levels: int | None = Field(default=None, ge=2)
    """Integer levels of discrete data; None for continuous data."""
    context: int = Field(default=0, ge=0)
    couplings: int = Field(default=4, ge=1)
    """Three or more let every number depend on every other."""
    width: int | None = Field(default=None, ge=1)
    """Hidden units of each layer: 128 for rows, 500 for images."""
    depth: int | None = Field(default=None, ge=1)
    """Hidden layers: 2 for rows, 3 for images."""
    activation: str = "relu"
    dropout: float = Field(default=0.0, ge=0, lt=1)
    base: Literal["logistic", "normal"] = "logistic"
    whiten: Literal["none", "zca", "pca"] = "none"
    eps: float = Field(default=1e-3, ge=0)
    """Regularisation of the whitening, a share of the mean variance."""
    init: Literal["zero", "uniform"] = "zero"
    """The start: networks that are zero and scales read off the data, or, as the authors', weights
    from U(-0.01, 0.01) and scales of 1."""
    seed: int = Field(default=0, ge=0, lt=2**31)


def NICE(
    shape: int | Sequence[int], *, levels: int | Literal["auto"] | None = "auto", **options: Any
) -> Flow:
    """NICE over rows ``(D,)`` or images ``(C, H, W)``, which it takes as rows of C H W numbers.

    Images of integers are dequantised to (0, 1), anything else is standardised; then perhaps
    whitened; then additive couplings, of which each changes the odd or the even numbers by a
    fully connected network of the others; then a diagonal scaling, the only layer with a say in
    the log-det.

    Args:
        shape: the event shape.
        levels: integer levels: 256 for images and none for rows unless given; None for images
            of real numbers.
        **options: any field of ``NICEConfig``: context, couplings, width, depth, activation,
            dropout, base, whiten, eps, init, seed.

    Raises:
        InputError: an unknown or impossible option; says which and why.

    Example:
        >>> flow = NICE((6,), base="normal")
        >>> flow.sample(3).shape
        torch.Size([3, 6])

    Source: Dinh, Krueger and Bengio 2014.
    """
    shape = event_shape(shape, "NICE")
    if levels == "auto":
        levels = 256 if len(shape) == 3 else None
    return build_nice(checked(NICEConfig, {"shape": shape, "levels": levels, **options}, "NICE"))


def build_nice(config: NICEConfig) -> Flow:
    """Build the flow that ``config`` describes, its weights drawn from ``config.seed``."""
    shape = event_shape(config.shape, "NICE")
    images, size = len(shape) == 3, math.prod(shape)
    hidden = (config.width or (500 if images else 128),) * (config.depth or (3 if images else 2))
    net = partial(MLP, hidden=hidden, activation=config.activation, dropout=config.dropout)
    bases: dict[str, type[Base]] = {"normal": StandardNormal, "logistic": Logistic}
    layers: list[Layer] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        layers.append(Standardize(shape) if config.levels is None else Dequantize(config.levels))
        if config.whiten != "none":
            layers.append(Whiten(shape, config.whiten, eps=config.eps))
        if images:
            layers.append(Flatten(shape))
        for index in range(config.couplings):
            # The even numbers are seen first; a single number can only be changed.
            flip = index % 2 == 1 or size == 1
            layers.append(
                Coupling((size,), "alternating", net, Additive(), flip=flip, context=config.context)
            )
        layers.append(Scaling((size,), from_data=config.init == "zero"))
        if images:
            layers.append(Inverted(Flatten(shape), shape))
        flow = Flow(shape, layers, bases[config.base](shape), context=config.context, name="NICE")
        if config.init == "uniform":
            _start_uniform(flow)
    flow.config = config
    return flow


def _start_uniform(flow: nn.Module) -> None:
    """As the authors' code: all weights from U(-0.01, 0.01), all biases 0."""
    for linear in flow.modules():
        if isinstance(linear, nn.Linear):
            nn.init.uniform_(linear.weight, -0.01, 0.01)
            nn.init.zeros_(linear.bias)


def unit_log_likelihood(
    bits_per_dim: float, dims: int, *, levels: int = 256, width: float = 1.0
) -> float:
    r"""The log-likelihood that NICE reports: of the dequantised image as real numbers, in nats.

    .. math:: \mathrm{LL} = D \left(\log \frac{L}{w} - b \log 2\right)

    Args:
        bits_per_dim: b, of the L integer levels.
        dims: D, the numbers of an image.
        levels: L.
        width: w, of the interval that the levels are spread over: 1 for [0, 1], 2 for [-1, 1].

    Example:
        >>> round(unit_log_likelihood(4.356, 784), 0)
        1980.0
    """
    return dims * (math.log(levels / width) - bits_per_dim * math.log(2))


# The paper's models ------------------------------------------------------------------------------


def _paper(about: str, shape: tuple[int, int, int], **settings: Any) -> Preset:
    """One of the paper's, trained as its authors do.

    Adam at a constant 1e-3; the validation loss picks the weights. Batches of 200 are the code's.
    The paper's second-moment decay of .99 and epsilon of 1e-4 are not settings of ``fit``, which
    has torch's .999 and 1e-8. Its 1500 epochs are for the user to ask for.
    """
    training = {
        "optimiser": "adam",
        "lr": 1e-3,
        "batch_size": 200,
        "schedule": "constant",
        "warmup": 0,
        "ema": 0.0,
    }
    chosen = {"shape": shape, "levels": 256, "couplings": 4, "init": "uniform", **settings}
    return Preset(NICE, NICEConfig, about, chosen, training)


FAMILIES = (Family(NICEConfig, build_nice),)

PRESETS = {
    "nice": Preset(NICE, NICEConfig, "NICE for rows and images of any shape (give shape=)"),
    "nice-mnist": _paper(
        "the paper's MNIST model, 19.2 M parameters; as paper and code",
        (1, 28, 28),
        width=1000,
        depth=5,
    ),
    "nice-tfd": _paper(
        "the paper's Toronto Faces model, 346 M parameters (code: 8 couplings of 2000, logistic)",
        (1, 48, 48),
        width=5000,
        depth=4,
        base="normal",
        whiten="zca",
        eps=0.1,
    ),
    "nice-svhn": _paper(
        "the paper's SVHN model, 72.6 M parameters (code: 3 layers of 2000, normal)",
        (3, 32, 32),
        width=2000,
        depth=4,
        whiten="zca",
    ),
    "nice-cifar10": _paper(
        "the paper's CIFAR-10 model, 72.6 M parameters (code: 8 couplings of 2400, normal)",
        (3, 32, 32),
        width=2000,
        depth=4,
        whiten="zca",
    ),
}
