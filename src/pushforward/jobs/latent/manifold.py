"""What four examples span: the figure of the Real NVP paper; or the plane of a small VAE."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor

from ...errors import InputError
from ...model import Model
from ..manifold import manifold as plane
from .latents import check_images, decoded, drawn, encoded, normal_scores

__all__ = ["manifold"]


def manifold(
    model: Model,
    x: Any = None,
    *,
    steps: int = 8,
    seed: int | None = None,
    context: Any = None,
) -> Tensor:
    r"""Images on the manifold of four examples, by two angles.

    .. math:: z = \cos\phi\,(\cos\phi'\, z_1 + \sin\phi'\, z_2)
              + \sin\phi\,(\cos\phi'\, z_3 + \sin\phi'\, z_4), \qquad
              \phi, \phi' \in \left\{0, \tfrac{2\pi}{n}, \dots, \tfrac{2\pi(n-1)}{n}\right\}

    The squares of the four coefficients add up to 1, so that z stays on the shell of normal
    latents. The first example is in the upper left corner; with n = 8, the second is two to the
    right of it, the third two below, and the fourth two below the second. Both angles go round:
    the last row leads to the first.

    A model with two latent numbers (``VAE(..., latent=2)``) has a plane that can be shown whole;
    without examples it is, at equal steps of probability.

    Args:
        model: a flow, VAE or GAN of images.
        x: four images ``(4, C, H, W)``; four random latents if None.
        steps: n, the steps of either angle.
        seed: of random latents.
        context: ``(context,)`` for all images of a conditional model.

    Returns:
        ``(n, n, C, H, W)``: the first angle falls from row to row.

    Raises:
        InputError: a model of rows, a base without a shell, or other than four images.

    Source: Dinh et al. 2017 (Real NVP), equation 19.
    """
    check_images(model, "the manifold")
    if steps < 2:
        raise InputError(f"the manifold takes at least 2 steps; got {steps}.")
    if x is None and hasattr(model, "expected") and model.latent_shape == (2,):
        return plane(cast(Any, model), steps).reshape(steps, steps, *model.shape)
    scores = normal_scores(model)
    if scores is None:
        raise InputError(
            f"the latents of {model.name} are a mixture's and lie on no shell, so four of them "
            f"span no manifold; interpolate takes the straight way between two."
        )
    if x is not None and len(x) != 4:
        raise InputError(f"the manifold is that of four examples; got {len(x)}.")
    z = drawn(model, 4, seed) if x is None else encoded(model, x, context)
    to, back = scores
    angle = torch.arange(steps, dtype=torch.float64, device=z.device) * (2 * math.pi / steps)
    turn = torch.stack((angle.cos(), angle.sin()))  # (2, n)
    # rows by phi (a), columns by phi' (b); z_1, z_2, z_3, z_4 are (0, 0), (0, 1), (1, 0), (1, 1)
    corners = to(z).reshape(2, 2, -1)
    grid = torch.einsum("ai,bj,abd->ijd", turn, turn, corners)
    images = decoded(model, back(grid.reshape(-1, *z.shape[1:])), context)
    return images.reshape(steps, steps, *model.shape)
