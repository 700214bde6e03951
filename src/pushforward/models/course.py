"""The MNIST flow of a university course: Real NVP with fully connected networks throughout."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import nn

from ..elementwise import Affine
from ..errors import InputError
from ..flow import Flow
from ..layers import Coupling, Dequantize, Layer, Logit
from ..nets import MLP
from .family import Family, Preset
from .settings import checked, event_shape, settings

__all__ = ["CourseConfig", "build_course", "course"]


@dataclass(config=settings, kw_only=True)
class CourseConfig:
    """What the course's flow is built from."""

    family: ClassVar[str] = "course"

    shape: tuple[PositiveInt, ...] = (1, 28, 28)
    levels: int = Field(default=256, ge=2)
    couplings: int = Field(default=8, ge=1)
    width: int = Field(default=1024, ge=1)
    """Hidden units of each of the two layers of a coupling's network."""
    alpha: float = Field(default=1e-5, gt=0, lt=0.5)
    """Squash before the logit; the course's formula counts it from both ends together."""
    seed: int = Field(default=0, ge=0, lt=2**31)


def course(**options: Any) -> Flow:
    """Build the course's flow; options are the fields of ``CourseConfig``."""
    return build_course(checked(CourseConfig, options, "course-mnist"))


def build_course(config: CourseConfig) -> Flow:
    r"""Build the flow that ``config`` describes.

    Checkerboard couplings, the kept pixels exchanged each time. The network of each sees the whole
    image with zeros at the changed pixels: ReLU layers, then two heads that start at zero, the
    shift and :math:`s = \tanh h` without a learned scale.

    .. math:: z_b = x_b\, e^{\tanh h(x_a)} + t(x_a)

    The course's code squashes by :math:`(1 - \alpha) x + \alpha / 2`, which is ``Logit(alpha / 2)``
    here, and leaves the squash's own :math:`\log(1 - \alpha)`, 1.4e-5 bits/dim, out of its
    figures; here it is in.

    Raises:
        InputError: the shape is not that of images with at least two pixels.
    """
    shape = event_shape(config.shape, "course-mnist")
    if len(shape) != 3 or shape[1] * shape[2] < 2:
        raise InputError(
            f"the course's flow is for images (C, H, W) of two pixels or more; got {shape}."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        net = partial(MLP, hidden=(config.width, config.width))
        layers: list[Layer] = [Dequantize(config.levels), Logit(config.alpha / 2, config.levels)]
        for index in range(config.couplings):
            law = Affine(nn.Tanh())
            layers.append(Coupling(shape, "checkerboard", net, law, flip=index % 2 == 1))
        flow = Flow(shape, layers, name="Course")
    flow.config = config
    return flow


FAMILIES = (Family(CourseConfig, build_course),)

PRESETS = {
    "course-mnist": Preset(
        course,
        CourseConfig,
        "a university course's MNIST flow, 27.7 M parameters, of fully connected networks",
        {"shape": (1, 28, 28)},
        # The course clips nats per image at 5; the loss of fit is in bits/dim.
        {
            "optimiser": "adam",
            "lr": 1e-3,
            "batch_size": 128,
            "clip": 5 / (784 * 0.6931471805599453),
            "schedule": "constant",
            "warmup": 0,
            "ema": 0.0,
        },
    )
}
