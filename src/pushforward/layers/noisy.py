"""Layers that draw noise, whose log-det is one draw of a lower bound."""

from __future__ import annotations

import torch
from torch import Tensor

from .layer import Layer
from .noise import content_noise

__all__ = ["Noisy"]


class Noisy(Layer):
    r"""A layer that maps an event x with noise e, so that its log-det bounds from below.

    .. math:: \log p(x) \ge \mathbb{E}_e \left[ \log p(z(x, e)) + \mathrm{log\_det}(x, e) \right]

    What ``forward`` gives is one draw; ``Flow.log_prob(x, samples=K)`` takes the log of the mean
    of K. The noise is hashed from the event and ``seed`` (noise.py): in evaluation it is the same
    at every call, whatever the batch; in training mode every pass has its own.

    Attributes:
        levels: the number of integer levels of the data that it takes; None for real numbers.
        restores: whether ``inverse`` gives the very event back, as that of dequantisation does.

    Source: Burda et al. 2016 (the bound); Nielsen et al. 2020 (such layers in a flow).
    """

    exact = False
    reversible = False
    levels: int | None = None
    restores: bool = True
    seed: Tensor
    passes: Tensor
    anchor: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seed", torch.zeros((), dtype=torch.int64), persistent=False)
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64), persistent=False)
        # Integers have no float type of their own: what they become takes that of this buffer.
        self.register_buffer("anchor", torch.zeros(()), persistent=False)

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type of the noise, at least float32."""
        return torch.promote_types(self.anchor.dtype, torch.float32)

    def uniform(
        self,
        x: Tensor,
        shape: tuple[int, ...] | None = None,
        *,
        bits: int | None = None,
        latent: bool = False,
    ) -> Tensor:
        """Noise in (0, 1), of the shape of ``x`` or ``(N, *shape)``; call it once in a forward.

        Args:
            x: the events that it is hashed from.
            shape: of an event's noise.
            bits: how fine it is; as the type of floating-point numbers allows if None.
            latent: ``x`` are latents, real numbers even if the data are integers.
        """
        seed = self.seed
        if self.training:
            self.passes.add_(1)
            seed = -(seed + self.passes)  # below 0, where no evaluation looks
        if bits is None:
            bits = 44 if self.dtype == torch.float64 else 21
        if self.levels is not None and not latent:
            x = x.to(torch.int64)  # 3 and 3.0 are the same pixel
        return content_noise(x, seed, bits, self.dtype, shape)

    def normal(self, x: Tensor, shape: tuple[int, ...] | None = None) -> Tensor:
        """Standard normal noise, made from ``uniform``; its tails end at 5 (7.8 in float64)."""
        return torch.special.ndtri(self.uniform(x, shape))
