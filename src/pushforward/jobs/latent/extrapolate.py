"""Samples larger than what was learned from, by a flow whose weights know no size."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

from torch import Tensor

from ...errors import InputError
from ...flow import Flow
from ...layers import Multiscale
from ...model import Model
from ...models.registry import rebuild
from .latents import check_images

__all__ = ["enlarge", "extrapolate"]


def extrapolate(
    flow: Model,
    n: int = 1,
    *,
    scale: int = 2,
    temperature: float = 1.0,
    seed: int | None = None,
    context: Any = None,
) -> Tensor:
    """Draw images so many times as high and wide as those that the flow learned.

    A convolution has the same weights wherever it looks. What was learned of textures goes on
    beyond the edge; what was learned of a whole (a digit, a face) does not become a larger one.

    Args:
        flow: a fully convolutional flow of images (see ``enlarge``).
        n: how many.
        scale: 2 or 10 in the paper; 1 is ``sample`` itself.
        temperature: spread of the base draws.
        seed: makes the draw repeatable.
        context: ``(context,)`` or ``(n, context)`` for a conditional flow.

    Returns:
        ``(n, C, scale H, scale W)``.

    Raises:
        InputError: as ``enlarge``.

    Source: Dinh et al. 2017 (Real NVP), appendix C.
    """
    larger = enlarge(flow, scale)
    return larger.sample(n, temperature=temperature, seed=seed, context=context)


def enlarge(flow: Model, scale: int) -> Flow:
    """The same flow for images ``scale`` times as high and wide, with the same weights.

    It has a log_prob as any other; it is not trained for those images.

    Raises:
        InputError: no flow of images, or weights that hold for their places alone; names one.
    """
    check_images(flow, "extrapolate")
    if not isinstance(scale, int) or isinstance(scale, bool) or scale < 1:
        raise InputError(f"scale is a whole number from 1, such as 2 or 10; got {scale}.")
    if not isinstance(flow, Flow) or flow.config is None:
        raise InputError(
            f"{flow.name} cannot be carried to another size: that takes a fully convolutional flow "
            f"of this library, such as RealNVP(shape, positions=False) or realnvp-cifar10."
        )
    channels, height, width = flow.shape
    changes: dict[str, object] = {"shape": (channels, scale * height, scale * width)}
    if getattr(flow.config, "scales", 0) is None:  # a default that depends on the shape
        changes["scales"] = _scales(flow)
    values = dataclasses.asdict(flow.config) | changes
    try:
        larger = cast(Flow, rebuild(flow.config.family, values)).to(flow.device, flow.dtype)
    except InputError as error:
        raise InputError(f"{flow.name} cannot be built {scale} times as large: {error}") from None
    weights, wanted = flow.state_dict(), larger.state_dict()
    bound = [
        name for name in wanted if name not in weights or weights[name].shape != wanted[name].shape
    ] or sorted(weights.keys() - wanted.keys())
    if bound:
        raise InputError(
            f"{flow.name} cannot be carried to another size: {len(bound)} of its tensors hold for "
            f"their places alone, the first {bound[0]!r}. Train RealNVP(shape, positions=False) "
            f"or realnvp-cifar10, whose weights are convolutions."
        )
    larger.load_state_dict(weights)
    return larger.eval()


def _scales(flow: Flow) -> int:
    """How often a flow with a default number of scales squeezes: once more than it factors out."""
    factored = sum(isinstance(module, Multiscale) for module in flow.modules())
    squeezed = any(type(module).__name__.endswith("Squeeze") for module in flow.modules())
    return factored + 1 if squeezed else 0
