"""The variational autoencoder: a flow whose one layer draws a latent."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from ..bases import StandardNormal
from ..checks import check_context, check_events
from ..elementwise import Affine, SoftClamp
from ..errors import InputError
from ..flow import Flow
from ..layers import Coupling, Layer, Permutation, Standardize
from ..layers.latent_variable import LatentVariable
from ..nets import MLP
from ..observations import make_observation
from .family import Family, Preset
from .settings import checked, event_shape, settings

__all__ = ["FAMILIES", "PRESETS", "VAE", "VAEConfig", "VariationalAutoencoder", "build_vae"]

_FEATURES = 64
"""Numbers that a flow posterior sees of an event besides the mean and scale it starts from."""
_FADING = 1_000
"""Training passes after which no nats are free."""


@dataclass(config=settings, kw_only=True)
class VAEConfig:
    """What ``VAE`` is built from. ``None`` stands for a default that depends on the shape."""

    family: ClassVar[str] = "vae"

    shape: tuple[PositiveInt, ...]
    levels: int | None = Field(default=None, ge=2)
    """Integer levels of discrete data; None for continuous data."""
    context: int = Field(default=0, ge=0)
    latent: int | None = Field(default=None, ge=1)
    """Numbers of the latent: 20, or as many as a row has if that is fewer."""
    hidden: tuple[PositiveInt, ...] | None = None
    """Widths of the encoder's hidden layers: 500 for images, 128 and 128 for rows; the decoder has
    them in the other order."""
    activation: str = "relu"
    dropout: float = Field(default=0.0, ge=0, lt=1)
    observation: Literal["bernoulli", "categorical", "logistic", "normal"] | None = None
    """The law p(x|z): by the levels, bernoulli (2), categorical (to 8), logistic (more), or
    normal (real numbers)."""
    prior: Literal["normal", "flow"] = "normal"
    posterior: Literal["normal", "flow"] = "normal"
    couplings: int = Field(default=4, ge=1)
    """Of a flow prior, and of a flow posterior."""
    width: int = Field(default=128, ge=1)
    """Hidden units of their conditioners."""
    free_nats: float | None = Field(default=None, ge=0)
    """Divergence that each number of the latent has for nothing when training begins, which fades
    over 1,000 steps: 1 for rows of real numbers, else 0."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Of the starting weights."""


def VAE(
    shape: int | Sequence[int], *, levels: int | Literal["auto"] | None = "auto", **options: Any
) -> VariationalAutoencoder:
    """A variational autoencoder over rows ``(D,)`` or images ``(C, H, W)`` of any size.

    Its log_prob is one draw of the evidence lower bound, so that it stands on the same ruler as
    flows: bits/dim of integers, nats of real numbers. See docs/vae.md.

    Args:
        shape: the event shape; images are flattened.
        levels: integer levels: 256 for images and none for rows unless given; None for images
            of real numbers.
        **options: any field of ``VAEConfig``: context, latent, hidden, activation, dropout,
            observation, prior, posterior, couplings, width, free_nats, seed.

    Raises:
        InputError: an unknown or impossible option; says which and why.

    Example:
        >>> vae = VAE((1, 28, 28), levels=2, latent=2)
        >>> vae.sample(3).shape
        torch.Size([3, 1, 28, 28])

    Source: Kingma and Welling 2014; flow posteriors from Rezende and Mohamed 2015.
    """
    shape = event_shape(shape, "VAE")
    if levels == "auto":
        levels = 256 if len(shape) == 3 else None
    return build_vae(checked(VAEConfig, {"shape": shape, "levels": levels, **options}, "VAE"))


class VariationalAutoencoder(Flow):
    """A flow with a ``LatentVariable``: what it can do besides is to reconstruct.

    ``encode`` gives the latent at noise 0, the posterior's mean; ``decode`` and ``sample`` draw x
    from p(x|z), the same x for the same z; ``expected`` and ``reconstruct`` give means instead,
    which is what papers show.
    """

    about: ClassVar[str] = (
        "A variational autoencoder: its log_prob is a lower bound on that of the data."
    )
    example: ClassVar[Sequence[str]] = ("model.log_prob(x, samples=100)", "model.reconstruct(x)")

    def elbo(
        self, x: Any, context: Any = None, *, analytic: bool = True, check: bool = True
    ) -> Tensor:
        r"""The evidence lower bound of each event with one draw of z, in nats: ``(N,)``.

        .. math:: \log p(x \mid z) - \mathrm{KL}(q(z \mid x) \,\|\, p(z)), \qquad z \sim q(z \mid x)

        Args:
            x: ``(N, *shape)``.
            context: ``(N, context)`` for a conditional model.
            analytic: take the divergence in closed form where there is one, as is usual in
                training; otherwise this is ``log_prob``, which has the same mean.
            check: look for faults in the input first.
        """
        x, context = self.prepare(x, context, check)
        if not (analytic and self._has_divergence):
            return self._log_prob(x, context, check)
        explained, divergence = self._terms(x, context)
        return explained - divergence.sum(1)

    def objective(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        r"""The bound that training raises: with the divergence in closed form where there is one.

        .. math:: \log p(x \mid z) - \sum_j \max(\lambda_t, \mathrm{KL}_j), \qquad
                  \lambda_t = \lambda \max(0, 1 - t / 1000)

        With :math:`\lambda`, ``free_nats``, it is at first a bound below the ELBO that has no
        interest in latents of less than that: else a wide p(x|z) about a straight line, which is
        learned in the first hundred steps, leaves the other latents without use for good. With a
        flow for prior or posterior the sum over j is of one draw, and as many nats are free.

        Source: Kingma et al. 2016, appendix C.8 (free bits; there of batch means, and for good).
        """
        explained, divergence = self._terms(*self.prepare(x, context, False))
        if self._free:
            passes = self._latent.passes & 0xFFFFFFFF  # above are the bits of the run's seed
            free = self._free * (1 - passes / _FADING).clamp(min=0)
            free = free * (self._latent.latent / divergence.shape[1])
            divergence = torch.maximum(divergence, free.to(divergence))
        return explained - divergence.sum(1)

    def _terms(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """log p(x|z) of a draw, ``(N,)``, and the divergence of each latent: ``(N, latent)``.

        Where that has no closed form, it is log q(z|x) - log p(z) of the draw: ``(N, 1)``.
        """
        layers, log_dets = list(self.chain), torch.zeros((), device=x.device)
        index = layers.index(self._latent)
        for layer in layers[:index]:
            x, log_det = layer(x, context)
            log_dets = log_dets + log_det
        draw = self._latent.draw(x, context)
        explained = log_dets + draw.log_likelihood
        if self._has_divergence and draw.divergence is not None:
            return explained, draw.divergence
        u, log_prior = draw.z, torch.zeros((), device=x.device)
        for layer in layers[index + 1 :]:
            u, log_det = layer(u, context)
            log_prior = log_prior + log_det
        return explained, (draw.log_posterior - self.base.log_prob(u) - log_prior)[:, None]

    @property
    def _latent(self) -> LatentVariable:
        return next(layer for layer in self.chain if isinstance(layer, LatentVariable))

    @property
    def _free(self) -> float:
        asked = getattr(self.config, "free_nats", None)
        usual = 1.0 if len(self.shape) == 1 and self.levels is None else 0.0
        return usual if asked is None else float(asked)

    @property
    def _has_divergence(self) -> bool:
        last = self.chain[len(self.chain) - 1]
        normal = isinstance(last, LatentVariable) and not len(last.posterior)
        return normal and isinstance(self.base, StandardNormal)

    def latents(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The latent of each event at noise 0, ``(N, latent)``: the mean of a normal posterior."""
        for layer in self.chain:
            if isinstance(layer, LatentVariable):
                x = layer.centre(x, context)
            else:
                x = layer(x, context)[0]
        return x

    def expected(self, z: Any, context: Any = None) -> Tensor:
        """The mean of p(x|z) for each latent: ``(N, *shape)``, real numbers also for integers."""
        z = check_events(z, name=f"expected of {self.name}", shape=self.latent_shape, levels=None)
        context = check_context(context, name=self.name, size=self.context, rows=len(z))
        z = z.to(self.device, self.dtype)
        context = None if context is None else context.to(z)
        with self.evaluating():
            for layer in reversed(list(self.chain)):
                if isinstance(layer, LatentVariable):
                    z = layer.expected(z, context)
                else:
                    z = layer.inverse(z, context)[0]
        return z

    def reconstruct(self, x: Any, context: Any = None) -> Tensor:
        """What is left of each event after its latent: ``expected(encode(x))``."""
        return self.expected(self.encode(x, context), context)


def build_vae(config: VAEConfig) -> VariationalAutoencoder:
    """Build the model that ``config`` describes, its weights drawn from ``config.seed``."""
    rows = len(config.shape) == 1
    latent = config.latent or (min(20, config.shape[0]) if rows else 20)
    hidden = config.hidden or ((128, 128) if rows else (500,))
    try:
        observation = make_observation(config.observation, config.levels)
    except InputError as error:
        raise InputError(f"VAE: {error}") from None
    net = partial(MLP, activation=config.activation, dropout=config.dropout)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        features = _FEATURES if config.posterior == "flow" else 0
        layer = LatentVariable(
            config.shape,
            latent,
            partial(net, hidden=hidden),
            partial(net, hidden=hidden[::-1]),
            observation,
            _couplings(config, latent, features) if features else (),
            features=features,
            context=config.context,
        )
        for module in (layer.encoder, layer.decoder):
            # Not from zero as in a coupling: z would at first be without consequence.
            assert isinstance(module.last, nn.Linear)
            module.last.reset_parameters()
        front: list[Layer] = [Standardize(config.shape)] if config.levels is None else []
        prior = _couplings(config, latent, config.context) if config.prior == "flow" else []
        model = VariationalAutoencoder(
            config.shape, [*front, layer, *prior], context=config.context, name="VAE"
        )
    model.config = config
    return model


def _couplings(config: VAEConfig, latent: int, context: int) -> list[Layer]:
    """Affine couplings over the latent, in turns of halves and permuted between."""
    net = partial(MLP, hidden=(config.width,), activation=config.activation)
    layers: list[Layer] = []
    for index in range(config.couplings):
        if index % 2 == 0 and index and latent > 2:
            layers.append(Permutation.random(latent, config.seed * 1000 + index))
        flip = index % 2 == 1 and latent > 1
        law = Affine(SoftClamp(2.0))
        layers.append(Coupling((latent,), "half", net, law, flip=flip, context=context))
    return layers


_COURSE = {
    "optimiser": "adam",
    "lr": 1e-3,
    "batch_size": 128,
    "schedule": "constant",
    "warmup": 0,
    "ema": 0.0,
    "clip": 1e6,
    "patience": None,
}

PRESETS = {
    "vae": Preset(VAE, VAEConfig, "variational autoencoder for rows and images of any shape"),
    "vae-mnist": Preset(
        VAE,
        VAEConfig,
        "784-500-20-500-784, for MNIST binarised (levels=2) as in Kingma and Welling 2014",
        {"shape": (1, 28, 28), "levels": 2, "latent": 20},
        _COURSE,
    ),
    "vae-mnist-2d": Preset(
        VAE,
        VAEConfig,
        "the same with a latent of two numbers, whose plane can be drawn",
        {"shape": (1, 28, 28), "levels": 2, "latent": 2},
        _COURSE,
    ),
}
FAMILIES = (Family(VAEConfig, build_vae),)
