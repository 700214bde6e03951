"""Flows as the density estimators of sbi, the toolkit for simulation-based inference."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..flow import Flow
from ..layers import Standardize
from ..models import NSF

try:
    from sbi.neural_nets.estimators.base import ConditionalDensityEstimator
except ImportError:
    raise InputError(
        "pushforward.interop.sbi needs sbi: pip install 'pushforward[interop]'."
    ) from None

__all__ = ["FlowEstimator", "density_estimator"]


class FlowEstimator(ConditionalDensityEstimator):
    r"""A conditional flow :math:`q(\theta \mid x)`, as sbi's ``NPE`` trains and samples it.

    The condition is standardised by the moments of the simulations that it was built from; the
    flow standardises the parameters itself.

    Args:
        flow: over parameters ``(D,)``, with as many numbers of context as a condition has.
        condition_shape: of one simulation.
    """

    def __init__(self, flow: Flow, condition_shape: torch.Size) -> None:
        super().__init__(flow, torch.Size(flow.shape), torch.Size(condition_shape))
        self.scaling = Standardize((math.prod(condition_shape),))

    def initialise(self, input: Tensor, condition: Tensor) -> None:
        """Read moments of parameters and simulations: ``(N, D)`` and ``(N, *condition_shape)``."""
        self.scaling.initialise(condition.flatten(1))
        self.net.initialise(input, self._context(condition))

    def log_prob(self, input: Tensor, condition: Tensor, **kwargs: Any) -> Tensor:
        """Log-densities of ``(sample, batch, D)`` given ``(batch, *condition)``."""
        input, condition, batch = self._broadcast_and_align(input, condition)
        rows = input.shape[0] * batch
        context = self._context(condition.reshape(rows, *self.condition_shape))
        x = input.reshape(rows, *self.input_shape)
        return self.net.log_prob(x, context, check=False).reshape(-1, batch)

    def loss(self, input: Tensor, condition: Tensor, **kwargs: Any) -> Tensor:
        """What training makes small, of each pair: minus the log-density, ``(batch,)``."""
        return -self.log_prob(input[None], condition)[0]

    def sample(self, sample_shape: Any, condition: Tensor, **kwargs: Any) -> Tensor:
        """Draws ``(*sample_shape, batch, D)``."""
        drawn: Tensor = self._distribution(condition).sample(sample_shape)
        return drawn

    def sample_and_log_prob(
        self, sample_shape: Any, condition: Tensor, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Draws and their log-densities, in one pass."""
        with torch.no_grad():
            return self._distribution(condition).rsample_and_log_prob(sample_shape)

    def _distribution(self, condition: Tensor) -> Any:
        context = self._context(condition)
        return self.net.distribution(context, validate_args=False)

    def _context(self, condition: Tensor) -> Tensor:
        return self.scaling(condition.flatten(1))[0]


def density_estimator(
    make: Callable[..., Flow] = NSF, **options: Any
) -> Callable[[Tensor, Tensor], FlowEstimator]:
    """What ``NPE(prior, density_estimator=...)`` takes: a function from simulations to a network.

    Args:
        make: ``NSF``, ``RealNVP``, ``MAF`` or any function of ``(shape, context=K, **options)``.
        **options: of that model, such as ``steps=5, width=64``.

    Example:
        >>> from sbi.inference import NPE  # doctest: +SKIP
        >>> NPE(prior, density_estimator=density_estimator(pf.NSF, steps=5))  # doctest: +SKIP
    """

    def build(theta: Tensor, x: Tensor) -> FlowEstimator:
        flow = make(tuple(theta.shape[1:]), context=math.prod(x.shape[1:]), **options)
        estimator = FlowEstimator(flow, x.shape[1:])
        estimator.initialise(theta, x)
        return estimator.train()

    return build
