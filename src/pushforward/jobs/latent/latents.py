"""From events to latents and back, whatever the model: flow, VAE or GAN; batch by batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from ...bases import Base, DiagonalNormal, Logistic, StandardNormal, Uniform
from ...checks import check_context
from ...data.mapped import release
from ...errors import InputError, NumericalError
from ...layers import Noisy
from ...layers.latent_variable import LatentVariable
from ...model import Model
from ...scoring import batch_for

__all__ = ["averaged", "check_images", "decoded", "drawn", "encoded", "normal_scores"]

Move = Callable[[Tensor], Tensor]


def encoded(model: Model, x: Any, context: Any = None) -> Tensor:
    """The latent of each event, ``(N, *latent_shape)``, in batches and without gradients.

    Raises:
        InputError: the model has no latents of events (a GAN, a classifier), or x will not do.
    """
    if "encode" in model.refuses:
        raise model.refusal("encode")
    context = check_context(context, name=model.name, size=model.context, rows=len(x))
    size, parts = batch_for(model), []
    with torch.no_grad():
        for start in range(0, max(1, len(x)), size):
            given = None if context is None else context[start : start + size]
            parts.append(model.encode(x[start : start + size], given))
            if isinstance(x, np.ndarray):
                release(x)
    return torch.cat(parts)


def averaged(model: Model, x: Any, draws: int) -> Tensor:
    """The mean latent of each event over so many draws of noise, ``(N, *latent_shape)``, float64.

    Integers are dequantised on their way, and a single latent is as much of that noise as of the
    event: on blank paper of nothing else. Without noise one draw is enough, and is all that is
    taken.
    """
    noisy = [
        module
        for module in model.modules()
        if isinstance(module, Noisy) and not isinstance(module, LatentVariable)
    ]
    if not noisy:
        return encoded(model, x).double()
    before = [layer.seed.clone() for layer in noisy]
    total: Tensor | float = 0.0
    try:
        for _ in range(draws):
            total = total + encoded(model, x).double()
            for layer in noisy:
                layer.seed.add_(1)
    finally:
        for layer, seed in zip(noisy, before, strict=True):
            layer.seed.copy_(seed)
    return cast(Tensor, total) / draws


def decoded(model: Model, z: Tensor, context: Any = None) -> Tensor:
    """The event of each latent, ``(N, *shape)``; of a VAE the mean of p(x|z), as papers show it.

    Raises:
        InputError: the model has no way from latents to events (a classifier).
        NumericalError: an event is not finite.
    """
    if "decode" in model.refuses:
        raise model.refusal("decode")
    context = check_context(context, name=model.name, size=model.context, rows=len(z))
    way = getattr(model, "expected", model.decode)
    size, parts = batch_for(model), []
    with torch.no_grad():
        for start in range(0, max(1, len(z)), size):
            given = None if context is None else context[start : start + size]
            parts.append(way(z[start : start + size], given))
    x = torch.cat(parts)
    broken = ~torch.isfinite(x).flatten(1).all(dim=1)
    if bool(broken.any()):
        raise NumericalError(
            f"{int(broken.sum()):,} of {len(x):,} latents of {model.name} lead to numbers that are "
            f"not finite; keep nearer to the data, or train the model further."
        )
    return x


def drawn(model: Model, n: int, seed: int | None = None) -> Tensor:
    """Latents ``(n, *latent_shape)`` drawn as ``sample`` draws them.

    Raises:
        InputError: n is below 1, or the model makes no events (a classifier).
    """
    if "sample" in model.refuses:
        raise model.refusal("sample")
    if n < 1:
        raise InputError(f"at least one latent is drawn; got {n}.")
    generator = None if seed is None else torch.Generator(model.device).manual_seed(seed)
    base = getattr(model, "base", None)
    with torch.no_grad():
        if isinstance(base, Base):
            return base.sample(n, 1.0, generator)
        return cast(Tensor, model.noise(n, generator))  # type: ignore[operator]


def normal_scores(model: Model) -> tuple[Move, Move] | None:
    r"""From latents to numbers that are standard normal under the base density, and back.

    .. math:: u = \Phi^{-1}(F(z)), \qquad z = F^{-1}(\Phi(u))

    with F the distribution function of each latent number: where the base is normal these are the
    latents themselves, in units of its scale. Both ways are in float64. None where the numbers
    depend on one another (a mixture): there is no shell to stay on.
    """
    base = getattr(model, "base", None)
    if base is None or isinstance(base, StandardNormal):  # a GAN has normal noise and no base
        return Tensor.double, Tensor.double
    if isinstance(base, DiagonalNormal):
        mean, scale = base.mean.detach().double(), base.log_scale.detach().double().exp()
        return lambda z: (z.double() - mean) / scale, lambda u: u * scale + mean
    if isinstance(base, Logistic):
        return _from_logistic, lambda u: log_ndtr(u) - log_ndtr(-u)
    if isinstance(base, Uniform):
        tiny = 1e-300
        return (
            lambda z: torch.special.ndtri(z.double().clamp(tiny, 1 - 2**-53)),
            lambda u: torch.special.ndtr(u),
        )
    return None


log_ndtr = torch.special.log_ndtr


def _from_logistic(z: Tensor) -> Tensor:
    """By the tail that is near 0, which keeps its digits: ``ndtri`` of 1 is infinite."""
    z = z.double()
    return -z.sign() * torch.special.ndtri(torch.sigmoid(-z.abs()).clamp(min=1e-300))


def check_images(model: Model, what: str) -> None:
    """Refuse a model of rows where only pictures mean something."""
    if len(model.shape) != 3:
        raise InputError(
            f"{model.name} is over rows of {math.prod(model.shape)} numbers; {what} is for images."
        )
