"""The layer of a variational autoencoder: from an event to a draw of a latent, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..elementwise import SoftClamp
from ..errors import InputError
from ..observations import Observation
from .coupling import Conditioner
from .layer import Chain, Layer, Shape, same_shape
from .noisy import Noisy

__all__ = ["Draw", "LatentVariable"]


@dataclass(frozen=True)
class Draw:
    r"""A latent of each event, and what it costs, in nats: ``(N,)`` where nothing is said.

    Attributes:
        z: ``(N, latent)``.
        log_likelihood: :math:`\log p(x \mid z)`.
        log_posterior: :math:`\log q(z \mid x)`.
        divergence: :math:`\mathrm{KL}(q(z_j \mid x) \,\|\, \mathcal N(0, 1))` of each number of
            the latent in closed form, ``(N, latent)``; None where layers make the posterior
            another one than a normal.
    """

    z: Tensor
    log_likelihood: Tensor
    log_posterior: Tensor
    divergence: Tensor | None


class LatentVariable(Noisy):
    r"""Put a latent z, drawn given x, in the place of x, which is then explained by z.

    .. math:: z \sim q(z \mid x), \qquad
              \mathtt{log\_det} = \log p(x \mid z) - \log q(z \mid x)

    Over a base p(z), the flow's log_prob is one draw of the evidence lower bound (ELBO), and with
    ``samples=K`` one of the importance-weighted bound. Layers after this one make a prior of more
    than the base; ``posterior`` layers make q more than a normal: they map :math:`z_0 = \mu +
    \sigma \epsilon`, given features of x, and

    .. math:: \log q(z \mid x) = \log \mathcal N(z_0;\, \mu(x), \sigma(x)^2)
              - \log \left| \det \frac{\partial z}{\partial z_0} \right|

    ``inverse`` draws x from p(x|z). It is no inverse in the sense of other layers; but its noise is
    hashed from z as that of ``forward`` is from x, so that either gives the same at every call.
    Its log_det is minus that of ``forward`` with the same x and z.

    Shapes: x ``(N, *shape)``, z ``(N, latent)``; log_det ``(N,)`` in nats.
    Source: Kingma and Welling 2014, equation 3; Rezende and Mohamed 2015, equation 15 (posterior
    layers); Nielsen et al. 2020 (as a layer).

    Args:
        shape: the event shape.
        latent: how many numbers z has.
        encoder: builds the network from (input shape, output shape, context) that sees x, integers
            being divided by the largest, and gives mean, raw log-scale and features.
        decoder: builds the one that sees z and gives the parameters of ``observation``.
        observation: the law p(x|z).
        posterior: layers over ``(latent,)`` with a context of ``features`` numbers.
        features: numbers of the encoder's output that the posterior layers see.
        context: numbers that both networks see besides.
    """

    restores = False

    def __init__(
        self,
        shape: Shape,
        latent: int,
        encoder: Conditioner,
        decoder: Conditioner,
        observation: Observation,
        posterior: Sequence[Layer] = (),
        *,
        features: int = 0,
        context: int = 0,
    ) -> None:
        super().__init__()
        if latent < 1:
            raise InputError(f"a latent has at least one number; got {latent}.")
        self.shape, self.latent, self.features = tuple(shape), latent, features
        self.levels = observation.levels
        self.observation = observation
        self.encoder = encoder(self.shape, (2 * latent + features,), context)
        self.decoder = decoder((latent,), (observation.count, *self.shape), context)
        self.posterior = Chain(posterior)
        self.posterior.output_shape((latent,))
        self.bound = SoftClamp(8.0)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Draw z given x."""
        draw = self.draw(x, context)
        return draw.z, draw.log_likelihood - draw.log_posterior

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Draw x given z."""
        parameters = self.decoder(z, context)
        x = self.observation.sample(parameters, self.uniform(z, self.shape, latent=True))
        mean, log_scale, features = self._encoded(x, context)
        start, log_det = self.posterior.inverse(z, features) if len(self.posterior) else (z, 0.0)
        epsilon = (start - mean) * torch.exp(-log_scale)
        log_posterior = _log_normal(epsilon, log_scale) + log_det
        return x, log_posterior - self.observation.log_prob(x, parameters)

    def draw(self, x: Tensor, context: Tensor | None = None) -> Draw:
        """A latent of each event, with the terms of the bound by themselves."""
        mean, log_scale, features = self._encoded(x, context)
        epsilon = self.normal(x, (self.latent,))
        z = mean + torch.exp(log_scale) * epsilon
        log_posterior = _log_normal(epsilon, log_scale)
        divergence = None
        if len(self.posterior):
            z, log_det = self.posterior(z, features)
            log_posterior = log_posterior - log_det
        else:
            # sigma^2 is the exponential of twice the log-scale: with that of once it, the "KL" is
            # none, and too small by about half the sum of |log sigma|.
            square = mean.square() + torch.exp(2 * log_scale)
            divergence = 0.5 * (square - 1) - log_scale
        likelihood = self.observation.log_prob(x, self.decoder(z, context))
        return Draw(z, likelihood, log_posterior, divergence)

    def centre(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The latent at noise 0, the mean of a normal posterior: ``(N, latent)``."""
        mean, _, features = self._encoded(x, context)
        return self.posterior(mean, features)[0] if len(self.posterior) else mean

    def posterior_normal(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log-scale of the normal that the posterior is, or is made from."""
        mean, log_scale, _ = self._encoded(x, context)
        return mean, log_scale

    def expected(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """The mean of p(x|z): ``(N, *shape)``, real numbers."""
        return self.observation.mean(self.decoder(z, context))

    def _encoded(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        seen = x.to(self.dtype) if self.levels is None else x.to(self.dtype) / (self.levels - 1)
        sizes = (self.latent, self.latent, self.features)
        mean, raw, features = self.encoder(seen, context).split(sizes, dim=1)
        return mean, self.bound(raw), features

    def output_shape(self, shape: Shape) -> Shape:
        """``(latent,)``; of anything but the shape it was built for, an error."""
        same_shape(self, self.shape, shape)
        return (self.latent,)

    def extra_repr(self) -> str:
        """Show both shapes."""
        return f"shape={self.shape}, latent={self.latent}"


def _log_normal(epsilon: Tensor, log_scale: Tensor) -> Tensor:
    """The log-density of a diagonal normal at ``epsilon`` scales from its mean: ``(N,)``."""
    return -(0.5 * epsilon.square() + 0.5 * math.log(2 * math.pi) + log_scale).sum(1)
