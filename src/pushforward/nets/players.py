"""The two networks of a GAN: one makes events from noise, the other tells them from real ones."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .batch_norm import BatchNorm

__all__ = ["Discriminator", "Generator"]


class Generator(nn.Module):
    """Linear layers with batch norms (but after the first) and leaky ReLUs; a last linear layer.

    Shapes: ``(N, latent)`` -> ``(N, size)``.

    Args:
        latent: numbers of noise.
        size: numbers of an event.
        widths: of the hidden layers.
        bounded: end with tanh, for data in [-1, 1].
        output_norm: a batch norm before that end.
        slope: of the leaky ReLUs below 0.
    """

    def __init__(
        self,
        latent: int,
        size: int,
        *,
        widths: Sequence[int],
        bounded: bool,
        output_norm: bool,
        slope: float,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index, (before, width) in enumerate(itertools.pairwise((latent, *widths))):
            layers.append(nn.Linear(before, width))
            if index:
                layers.append(BatchNorm(width, rank=1))
            layers.append(nn.LeakyReLU(slope))
        layers.append(nn.Linear((latent, *widths)[-1], size))
        if output_norm:
            layers.append(BatchNorm(size, rank=1))
        if bounded:
            layers.append(nn.Tanh())
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Make events; the context is there for ``recalibrate`` and is ignored."""
        made: Tensor = self.layers(z)
        return made


class Discriminator(nn.Module):
    r"""Linear layers with leaky ReLUs: the logit of an event being real.

    .. math:: D(x) = \frac{1}{1 + e^{-\ell(x)}}

    Shapes: ``(N, size)`` -> ``(N,)``.
    """

    def __init__(self, size: int, *, widths: Sequence[int], slope: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, width in itertools.pairwise((size, *widths)):
            layers += [nn.Linear(before, width), nn.LeakyReLU(slope)]
        self.layers = nn.Sequential(*layers, nn.Linear((size, *widths)[-1], 1))

    def forward(self, x: Tensor) -> Tensor:
        """The logits, in float32 at least."""
        logits: Tensor = self.layers(x)[:, 0]
        return logits.to(torch.promote_types(logits.dtype, torch.float32))
