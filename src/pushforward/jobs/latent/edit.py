"""Change an attribute of events: along a direction of the latent space, or by another context."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...checks import check_context
from ...errors import InputError
from ...model import Model
from .latents import decoded, encoded

__all__ = ["STRENGTHS", "direction", "edit", "swap"]

STRENGTHS = (-1.0, -0.5, 0.0, 0.5, 1.0)


def direction(model: Model, having: Any, lacking: Any) -> Tensor:
    r"""What an attribute is in the latent space: from those without it to those with it.

    .. math:: d = \frac1{|A|} \sum_{x \in A} f(x) - \frac1{|B|} \sum_{x \in B} f(x)

    Args:
        model: a flow or VAE.
        having: A, events with the attribute.
        lacking: B, events without it.

    Returns:
        ``latent_shape``, in float64.

    Raises:
        InputError: one of the two is empty, or the model has no latents of events.
    """
    for events, what in ((having, "with"), (lacking, "without")):
        if not len(events):
            raise InputError(f"there is no event {what} the attribute; a direction takes both.")
    return _mean(model, having) - _mean(model, lacking)


def edit(model: Model, x: Any, along: Tensor, *, strengths: Sequence[float] = STRENGTHS) -> Tensor:
    r"""Events moved along a direction: :math:`x_s = f^{-1}(f(x) + s\, d)` for each strength s.

    Args:
        model: a flow or VAE.
        x: events ``(N, *shape)``.
        along: d, from ``direction`` or any other vector of ``latent_shape``.
        strengths: how far; at 0 an event is itself, 1 is as far as the two means are apart.

    Returns:
        ``(N, len(strengths), *shape)``.

    Raises:
        InputError: a direction of another shape, or what the model will not take.

    Source: Kingma and Dhariwal 2018 (Glow), section 5, semantic manipulation.
    """
    if not len(strengths):
        raise InputError("edit takes at least one strength, such as 0.5.")
    z = encoded(model, x)
    if tuple(along.shape) != tuple(z.shape[1:]):
        raise InputError(
            f"the direction has shape {tuple(along.shape)}; latents of {model.name} have "
            f"{tuple(z.shape[1:])}."
        )
    along = along.to(z.device)
    moved = torch.stack([z.double() + s * along for s in strengths], dim=1)
    # (N, S, *latent_shape) -> (N * S, *latent_shape)
    return decoded(model, moved.flatten(0, 1)).reshape(len(z), len(strengths), *model.shape)


def swap(model: Model, x: Any, context: Any, others: Any) -> Tensor:
    r"""Events with another context and the same latent: :math:`x' = f^{-1}(f(x; y); y')`.

    What a conditional model leaves to z (the hand that wrote, the pose) stays; what it is told
    (the digit, the smile) changes.

    Args:
        model: a conditional flow or VAE.
        x: events ``(N, *shape)``.
        context: y of each event, ``(N, K)``, or one for all, ``(K,)``.
        others: the contexts y' that each event is given, ``(M, K)``.

    Returns:
        ``(N, M, *shape)``.

    Raises:
        InputError: the model is not conditional, or a context is of another size.

    Source: Dinh et al. 2017 (Real NVP), appendix F.
    """
    if not model.context:
        raise InputError(
            f"{model.name} is not conditional, so there is no context to exchange; move events "
            f"along a direction instead, or train a model with context."
        )
    wanted = check_context(others, name=model.name, size=model.context, rows=None)
    assert wanted is not None
    z = encoded(model, x, context)
    n, m = len(z), len(wanted)
    x = decoded(model, z.repeat_interleave(m, 0), wanted.repeat(n, 1))
    return x.reshape(n, m, *model.shape)


def _mean(model: Model, x: Any, most: int = 4096) -> Tensor:
    """The mean latent, of so many events at a time: large sets may lie on the disk."""
    parts = [encoded(model, x[i : i + most]).double().sum(0) for i in range(0, len(x), most)]
    return torch.stack(parts).sum(0) / len(x)
