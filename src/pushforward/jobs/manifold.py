"""The plane of a model with two latent numbers, as a picture of what each place stands for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError

if TYPE_CHECKING:
    from ..models.vae import VariationalAutoencoder

__all__ = ["manifold", "normal_grid", "write_manifold"]


def normal_grid(side: int = 20, edge: float = 0.01) -> Tensor:
    r"""A square of latents at equal steps of probability, not of distance: ``(side^2, 2)``.

    .. math:: z_{ij} = \left(\Phi^{-1}(p_j),\; \Phi^{-1}(p_i)\right), \qquad
              p = \mathrm{edge}, \dots, 1 - \mathrm{edge}

    so that each place of the picture holds the same share of a normal prior. Row by row, the
    second number falling from top to bottom.
    """
    if side < 1 or not 0 < edge < 0.5:
        raise InputError(f"a grid needs side >= 1 and 0 < edge < 0.5; got {side} and {edge}.")
    place = torch.special.ndtri(torch.linspace(edge, 1 - edge, side, dtype=torch.float64))
    return torch.stack((place.repeat(side), place.flip(0).repeat_interleave(side)), dim=1).float()


def manifold(model: VariationalAutoencoder, side: int = 20, edge: float = 0.01) -> Tensor:
    """What a model with two latent numbers expects at each place: ``(side^2, *shape)``.

    Raises:
        InputError: its latent has another size.
    """
    if tuple(model.latent_shape) != (2,) or not hasattr(model, "expected"):
        raise InputError(
            f"the manifold of {model.name} cannot be drawn: that needs a VAE with latent=2; this "
            f"one's latent has shape {tuple(model.latent_shape)}."
        )
    with torch.no_grad():
        return model.expected(normal_grid(side, edge))


def write_manifold(
    model: VariationalAutoencoder, path: str | os.PathLike[str], side: int = 20
) -> None:
    """Draw the manifold of a model of images as a PNG, without gaps.

    Raises:
        InputError: no two latent numbers, or no images.
    """
    from ..pictures import as_pixels, write_png

    if len(model.shape) != 3:
        raise InputError(f"{model.name} is over rows; a manifold is drawn of images.")
    tiles = as_pixels(manifold(model, side).cpu().numpy(), model.levels)  # (side^2, H, W, C)
    height, width, channels = tiles.shape[1:]
    sheet = tiles.reshape(side, side, height, width, channels).transpose(0, 2, 1, 3, 4)
    write_png(path, np.ascontiguousarray(sheet.reshape(side * height, side * width, channels)))
