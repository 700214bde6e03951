"""The way from one latent to another."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from .errors import InputError

__all__ = ["between"]


def between(start: Tensor, end: Tensor, n: int, path: Literal["shell", "line"]) -> Tensor:
    r"""n latents from one to another, both included.

    .. math:: z_t = \frac{\sin((1-t)\omega)\, z_0 + \sin(t\omega)\, z_1}{\sin\omega}

    On the ``shell`` with :math:`\omega` the angle between them, the way stays as far from the
    origin as normal latents are; the straight ``line`` passes nearer by.

    Shapes: start, end ``(1, D)`` -> ``(n, D)``, in float64.

    Raises:
        InputError: fewer than 2 steps, or another path.
    """
    if n < 2:
        raise InputError(f"interpolate takes at least 2 steps, which are the ends; got {n}.")
    if path not in ("shell", "line"):
        raise InputError(f"path is 'shell' or 'line'; got {path!r}.")
    start, end = start.double(), end.double()
    t = torch.linspace(0, 1, n, dtype=torch.float64, device=start.device)[:, None]
    weights = 1 - t, t
    angle = torch.acos(torch.cosine_similarity(start, end).clamp(-1, 1))
    if path == "shell" and float(torch.sin(angle)) > 1e-6:  # else they lie on one line
        weights = torch.sin((1 - t) * angle) / angle.sin(), torch.sin(t * angle) / angle.sin()
    return weights[0] * start + weights[1] * end
