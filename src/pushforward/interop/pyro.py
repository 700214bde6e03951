"""Flows at the sample sites of Pyro."""

from __future__ import annotations

from typing import Any

import torch

from ..distributions import FlowDistribution
from ..errors import InputError

try:
    from pyro.distributions.torch_distribution import TorchDistributionMixin
except ImportError:
    raise InputError(
        "pushforward.interop.pyro needs Pyro: pip install 'pushforward[interop]'."
    ) from None

__all__ = ["PyroFlow"]


class PyroFlow(FlowDistribution, TorchDistributionMixin):
    r"""``FlowDistribution`` with what ``pyro.sample`` asks for besides: a call, masks, to_event.

    In a guide or a model, name the flow's parameters to Pyro as those of any module:

    >>> def guide():  # doctest: +SKIP
    ...     pyro.module("posterior", flow)
    ...     pyro.sample("w", PyroFlow(flow))

    Args:
        flow: any flow; a guide wants one that samples fast.
        context: of a conditional flow, ``(*batch, K)``; inside ``pyro.plate``, one row for each.
        validate_args: as in ``FlowDistribution``.

    Source: Bingham et al. 2019 (Pyro); ``pyro.distributions.torch_distribution``.
    """

    def expand(self, batch_shape: Any, _instance: Any = None) -> PyroFlow:
        """The same distribution, for a larger batch."""
        new = self._get_checked_instance(PyroFlow, _instance)
        super().expand(torch.Size(batch_shape), _instance=new)
        return new
