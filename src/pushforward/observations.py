"""How data lie about what a latent says of them: the p(x|z) of a latent-variable model."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, softplus

from .errors import InputError

__all__ = [
    "OBSERVATIONS",
    "Bernoulli",
    "Categorical",
    "DiscretisedLogistic",
    "Normal",
    "Observation",
    "make_observation",
]

_NARROWEST = 7.0
"""Bound of log-scales: a pixel that never changes would otherwise call for a scale of 0."""


class Observation(nn.Module):
    r"""The law of each number of x given parameters that a network made of z.

    ``parameters`` are ``(N, count, *shape)``. ``log_prob(x, parameters)`` is ``(N,)`` in nats,
    summed over the event, at least float32; ``mean(parameters)`` and
    ``sample(parameters, u)``, with u uniform in (0, 1), are ``(N, *shape)``, and sampling is the
    inverse of the cumulative distribution at u.

    Attributes:
        count: parameters per number.
        levels: of integer data; None for real numbers.
    """

    count: int
    levels: int | None = None

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """The log-probability, or log-density, of each event."""
        raise NotImplementedError

    def mean(self, parameters: Tensor) -> Tensor:
        """The expected x, real numbers also for integer data."""
        raise NotImplementedError

    def sample(self, parameters: Tensor, u: Tensor) -> Tensor:
        """The x whose cumulative probability is u; integers of the smallest type."""
        raise NotImplementedError

    def _integers(self, x: Tensor) -> Tensor:
        assert self.levels is not None
        kind = torch.uint8 if self.levels <= 256 else torch.int32
        return x.clamp(0, self.levels - 1).to(kind)

    def extra_repr(self) -> str:
        """Show the number of levels."""
        return "" if self.levels is None else f"levels={self.levels}"


class Bernoulli(Observation):
    r"""Of 0 and 1: :math:`\log p = x \log\sigma(h) + (1 - x) \log\sigma(-h)`.

    Source: Kingma and Welling 2014, appendix C.1.
    """

    count = 1
    levels = 2

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """The log-probability of each event."""
        h = parameters[:, 0]
        return (x.to(h.dtype) * h - softplus(h)).flatten(1).sum(1)

    def mean(self, parameters: Tensor) -> Tensor:
        """The probability of 1."""
        return torch.sigmoid(parameters[:, 0])

    def sample(self, parameters: Tensor, u: Tensor) -> Tensor:
        """1 where u lies in the upper part."""
        return self._integers(u > torch.sigmoid(-parameters[:, 0]))


class Categorical(Observation):
    r"""Of L integers, a probability for each: :math:`\log p = h_x - \log \sum_l e^{h_l}`."""

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.count = self.levels = levels

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """The log-probability of each event."""
        table = torch.log_softmax(parameters, dim=1)  # (N, L, *shape)
        return table.gather(1, x.long()[:, None]).flatten(1).sum(1)

    def mean(self, parameters: Tensor) -> Tensor:
        """The expected integer."""
        values = torch.arange(self.count, dtype=parameters.dtype, device=parameters.device)
        places = values.reshape(-1, *(1 for _ in parameters.shape[2:]))
        return (torch.softmax(parameters, dim=1) * places).sum(1)

    def sample(self, parameters: Tensor, u: Tensor) -> Tensor:
        """How many of the cumulated probabilities u has passed."""
        edges = torch.softmax(parameters, dim=1).cumsum(1)
        return self._integers((u[:, None] > edges).sum(1))


class DiscretisedLogistic(Observation):
    r"""Of L integers in order, the mass of a logistic over the cell of each; end cells are open.

    .. math:: P(v) = \sigma(b) - \sigma(a) = \sigma(b)\, \sigma(-a)\, \left(1 - e^{a - b}\right),
              \qquad a, b = \frac{(v + \tfrac12 \mp \tfrac12) / L - m}{s}

    The product has no difference of nearly equal numbers in it, and stays finite in the tails.
    Parameters are the place m, from the middle of (0, 1), and the raw log-scale.

    Source: Salimans et al. 2017 (PixelCNN++), section 2.1; the product form is ours.
    """

    count = 2

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels: int = levels

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """The log-probability of each event."""
        place, log_scale = self._moments(parameters)
        left, cell = x.to(place.dtype) / self.levels - place, 1 / self.levels
        narrow = torch.exp(-log_scale)
        a, b, width = left * narrow, (left + cell) * narrow, cell * narrow
        log_b = torch.where(x == self.levels - 1, 0.0, logsigmoid(b))
        log_a = torch.where(x == 0, 0.0, logsigmoid(-a))
        inner = torch.where((x == 0) | (x == self.levels - 1), 0.0, torch.log(-torch.expm1(-width)))
        return (log_b + log_a + inner).flatten(1).sum(1)

    def mean(self, parameters: Tensor) -> Tensor:
        """The integer, not rounded, at the middle of the logistic: its median."""
        place = self._moments(parameters)[0]
        return (place * self.levels - 0.5).clamp(0, self.levels - 1)

    def sample(self, parameters: Tensor, u: Tensor) -> Tensor:
        """The cell of the quantile."""
        place, log_scale = self._moments(parameters)
        x = place + torch.exp(log_scale) * (torch.log(u) - torch.log1p(-u))
        return self._integers((x * self.levels).floor())

    def _moments(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        # A scale of 0.1 at first: most of (0, 1) is near.
        return 0.5 + parameters[:, 0], _bounded(parameters[:, 1]) - math.log(10)


class Normal(Observation):
    r"""Of real numbers: :math:`\log p = -\tfrac12 (\epsilon^2 + \log 2\pi) - s`, with
    :math:`\epsilon = (x - m) e^{-s}`. Parameters are the mean m and the raw log-scale.
    """

    count = 2

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """The log-density of each event."""
        mean, log_scale = self._moments(parameters)
        epsilon = (x - mean) * torch.exp(-log_scale)
        return -(0.5 * epsilon.square() + 0.5 * math.log(2 * math.pi) + log_scale).flatten(1).sum(1)

    def mean(self, parameters: Tensor) -> Tensor:
        """The mean."""
        return self._moments(parameters)[0]

    def sample(self, parameters: Tensor, u: Tensor) -> Tensor:
        """The quantile."""
        mean, log_scale = self._moments(parameters)
        return mean + torch.exp(log_scale) * torch.special.ndtri(u)

    def _moments(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return parameters[:, 0], _bounded(parameters[:, 1])


def _bounded(h: Tensor) -> Tensor:
    """A log-scale that is h near 0 and stays within seven either way."""
    return _NARROWEST * torch.tanh(h / _NARROWEST)


OBSERVATIONS = ("bernoulli", "categorical", "logistic", "normal")


def make_observation(name: str | None, levels: int | None) -> Observation:
    """The law of that name for data of so many levels, or the usual one for them.

    Two levels are ``bernoulli``, up to 8 ``categorical``, more ``logistic``; real numbers are
    ``normal``.

    Raises:
        InputError: the law is not for such data.
    """
    possible: tuple[str, ...]
    if levels is None:
        usual, possible = "normal", ("normal",)
    elif levels == 2:
        usual, possible = "bernoulli", ("bernoulli", "categorical", "logistic")
    else:
        usual = "categorical" if levels <= 8 else "logistic"
        possible = ("categorical", "logistic")
    name = name or usual
    if name not in possible:
        kind = "real numbers" if levels is None else f"integers of {levels} levels"
        raise InputError(
            f"observation = {name!r} is not for {kind}; choose {' or '.join(possible)}."
        )
    if levels is None:
        return Normal()
    if name == "bernoulli":
        return Bernoulli()
    return Categorical(levels) if name == "categorical" else DiscretisedLogistic(levels)
