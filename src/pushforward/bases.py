"""Base distributions: the simple densities that a flow pulls data back to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from .errors import InputError
from .layers.layer import Shape, sum_event

if TYPE_CHECKING:
    from .gaussians.mixture import GaussianMixture

__all__ = ["Base", "DiagonalNormal", "GaussianMixture", "Logistic", "StandardNormal", "Uniform"]


def __getattr__(name: str) -> Any:
    if name == "GaussianMixture":  # it has a file of its own, which begins by importing this one
        from .gaussians.mixture import GaussianMixture

        return GaussianMixture
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class Base(nn.Module):
    """A density over latents z of event shape ``shape``, independent over elements.

    ``log_prob(z)``: ``(N, *shape) -> (N,)`` in nats. ``sample(n)``: ``(n, *shape)``;
    ``temperature`` multiplies the spread of the draws (1 is the density itself).
    """

    anchor: Tensor
    reads_data: ClassVar[bool] = False
    """Whether ``initialise`` sets something."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = tuple(shape)
        # Follows the module to its device and dtype, so that samples are made there.
        self.register_buffer("anchor", torch.zeros(()), persistent=False)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of each event, in nats."""
        raise NotImplementedError

    def sample(
        self, n: int, temperature: float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw ``n`` events."""
        raise NotImplementedError

    def initialise(self, z: Tensor) -> None:
        """Read what is read off the first latents ``(N, *shape)``, once; nothing as a rule."""

    def _normal(self, n: int, generator: torch.Generator | None) -> Tensor:
        return torch.randn(
            n, *self.shape, generator=generator, dtype=self.anchor.dtype, device=self.anchor.device
        )

    def _uniform(self, n: int, generator: torch.Generator | None) -> Tensor:
        return torch.rand(
            n, *self.shape, generator=generator, dtype=self.anchor.dtype, device=self.anchor.device
        )

    def extra_repr(self) -> str:
        """Show the event shape."""
        return f"shape={self.shape}"


class StandardNormal(Base):
    r""":math:`\log p(z) = -\tfrac12 \sum_i (z_i^2 + \log 2\pi)`."""

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of each event, in nats."""
        return -0.5 * (sum_event(z.square()) + math.log(2 * math.pi) * math.prod(self.shape))

    def sample(
        self, n: int, temperature: float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw ``n`` events."""
        return temperature * self._normal(n, generator)


class Logistic(Base):
    r""":math:`\log p(z) = \sum_i \log\sigma(z_i) + \log\sigma(-z_i)`, the prior of NICE on MNIST.

    Source: Dinh et al. 2014 (NICE), section 3.4.
    """

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of each event, in nats."""
        return sum_event(logsigmoid(z) + logsigmoid(-z))

    def sample(
        self, n: int, temperature: float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw ``n`` events."""
        u = self._uniform(n, generator)
        tiny = torch.finfo(u.dtype).eps
        return temperature * torch.logit(u.clamp(tiny, 1 - tiny))


class Uniform(Base):
    r"""Density 1 on :math:`[0, 1]^D`, 0 (``-inf`` nats) outside.

    A temperature below 1 shrinks the draws towards the centre; above 1 it is refused.
    """

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of each event, in nats."""
        inside = ((z >= 0) & (z <= 1)).flatten(1).all(dim=1)
        return torch.where(inside, 0.0, -math.inf).to(torch.promote_types(z.dtype, torch.float32))

    def sample(
        self, n: int, temperature: float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw ``n`` events."""
        if temperature > 1:
            raise InputError(
                f"a uniform base has no samples beyond [0, 1]: temperature must be at most 1, got "
                f"{temperature}."
            )
        return 0.5 + temperature * (self._uniform(n, generator) - 0.5)


class DiagonalNormal(Base):
    r"""A normal with learned mean and scale per element.

    .. math:: \log p(z) = -\tfrac12 \sum_i \left(\epsilon_i^2 + \log 2\pi\right) - \sum_i s_i,
              \qquad \epsilon_i = (z_i - m_i) e^{-s_i}
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.mean = nn.Parameter(torch.zeros(self.shape))
        self.log_scale = nn.Parameter(torch.zeros(self.shape))

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of each event, in nats."""
        eps = (z - self.mean) * torch.exp(-self.log_scale)
        constant = math.log(2 * math.pi) * math.prod(self.shape)
        return -0.5 * (sum_event(eps.square()) + constant) - self.log_scale.sum()

    def sample(
        self, n: int, temperature: float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw ``n`` events."""
        return self.mean + temperature * torch.exp(self.log_scale) * self._normal(n, generator)
