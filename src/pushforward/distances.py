"""How far two sets of events are apart, where no density says so."""

from __future__ import annotations

import torch
from torch import Tensor

from .errors import InputError

__all__ = ["sliced_wasserstein"]


@torch.no_grad()
def sliced_wasserstein(
    a: Tensor, b: Tensor, *, directions: int = 256, seed: int = 0, chunk: int = 64
) -> float:
    r"""The sliced 2-Wasserstein distance of two samples of equal size.

    .. math:: W = \Big(\frac{1}{K} \sum_{k=1}^{K} \frac{1}{N} \sum_{i=1}^{N}
              \big(\langle \theta_k, a\rangle_{(i)} - \langle \theta_k, b\rangle_{(i)}\big)^2
              \Big)^{1/2}

    with K random unit vectors :math:`\theta_k`, and (i) the i-th smallest: along one direction
    the best way to carry one sample into the other is to keep the order. Where every number of an
    event is moved by d, W is d on average. Two samples of one distribution have a distance above
    0, which falls as :math:`N^{-1/2}`.

    It is no likelihood: it sees one direction at a time, and events that were learned by heart
    please it as much as new ones.

    Shapes: a, b ``(N, ...)``.
    Source: Rabin et al. 2011; Bonneel et al. 2015.

    Raises:
        InputError: other sizes, or nothing to compare.
    """
    if a.shape != b.shape or not len(a):
        raise InputError(
            f"sliced_wasserstein compares samples of one shape (N, ...), N at least 1; got "
            f"{tuple(a.shape)} and {tuple(b.shape)}."
        )
    a, b = a.flatten(1).double(), b.flatten(1).double()
    generator = torch.Generator().manual_seed(seed)
    theta = torch.randn(a.shape[1], directions, generator=generator, dtype=torch.float64)
    theta = (theta / theta.norm(dim=0)).to(a)
    total = 0.0
    for part in theta.split(chunk, dim=1):
        gaps = (a @ part).sort(0).values - (b @ part).sort(0).values
        total += float(gaps.square().mean(0).sum())
    return (total / directions) ** 0.5
