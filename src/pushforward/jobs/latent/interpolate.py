"""Events on the way from one to another."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from ...errors import InputError
from ...interpolation import between
from ...model import Model
from .latents import decoded, drawn, encoded, normal_scores

__all__ = ["interpolate"]


def interpolate(
    model: Model,
    start: Any = None,
    end: Any = None,
    *,
    steps: int = 8,
    path: Literal["shell", "line"] = "shell",
    pairs: int = 4,
    seed: int | None = None,
    context: Any = None,
) -> Tensor:
    r"""The events on the way from each ``start`` to its ``end``, through the latent space.

    .. math:: x_t = f^{-1}\!\left(\frac{\sin((1-t)\omega)\, f(x_0) + \sin(t\omega)\, f(x_1)}
              {\sin\omega}\right), \qquad t = 0, \dots, 1

    On the ``shell`` the way stays as far from the origin as latents are, where the straight
    ``line`` would pass through a middle in which no latent lies. Of bases that are not normal the
    shell is that of their normal scores; a mixture of normals has none, and the way is straight.

    Args:
        model: a flow, a VAE (its events are means of p(x|z)) or a GAN (between random latents).
        start, end: events ``(P, *shape)``, as many of each; without them the ends are random.
        steps: events on each way, both ends included.
        path: ``shell`` or ``line``.
        pairs: how many ways between random latents.
        seed: of random latents.
        context: ``(context,)`` for all events of a conditional model.

    Returns:
        ``(P, steps, *shape)``; integers for a flow over integers.

    Raises:
        InputError: one end only, ends that differ in number, or what the model will not take.
    """
    if (start is None) != (end is None):
        raise InputError("interpolate takes both a start and an end, or neither for random ones.")
    if start is None:
        if pairs < 1:
            raise InputError(f"interpolate takes at least one pair; got {pairs}.")
        z = drawn(model, 2 * pairs, seed)
        first, last = z[0::2], z[1::2]
    else:
        if len(start) != len(end) or not len(start):
            raise InputError(
                f"interpolate leads from each start to its end; got {len(start)} and {len(end)}."
            )
        first, last = encoded(model, start, context), encoded(model, end, context)
    scores = normal_scores(model)
    to, back = scores if scores else (Tensor.double, Tensor.double)
    ways = [
        between(a[None], b[None], steps, path if scores else "line")
        for a, b in zip(to(first).flatten(1), to(last).flatten(1), strict=True)
    ]
    z = back(torch.stack(ways).reshape(-1, *first.shape[1:]))  # (P * steps, *latent_shape)
    return decoded(model, z, context).reshape(len(ways), steps, *model.shape)
