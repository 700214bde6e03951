"""Neighbours of events: in the latent space, and beside them in the space of the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ...data.mapped import release
from ...errors import InputError
from ...model import Model
from .latents import averaged

__all__ = ["Neighbours", "nearest"]

Array = np.ndarray[Any, np.dtype[Any]]
Metric = Literal["angle", "distance"]


@dataclass(frozen=True)
class Neighbours:
    """The k nearest of each of Q events, the nearest first: arrays ``(Q, k)``.

    Attributes:
        latent: positions in the data, by distance of latents.
        latent_distance: in degrees for the metric ``angle``, else Euclidean.
        data: positions by distance in the space of the data itself.
        data_distance: Euclidean, in levels for integers and in standard deviations of each column
            for real numbers.
    """

    latent: Array
    latent_distance: Array
    data: Array
    data_distance: Array


def nearest(
    model: Model,
    queries: Any,
    data: Any,
    *,
    k: int = 5,
    metric: Metric | None = None,
    draws: int = 8,
    own: Any = None,
    block: int = 4096,
) -> Neighbours:
    r"""The events of ``data`` whose latents, and whose numbers, are nearest to those of each query.

    .. math:: d(x, x') = \arccos \frac{\bar z \cdot \bar z'}{|\bar z|\, |\bar z'|}
              \quad \text{or} \quad |\bar z - \bar z'|, \qquad
              \bar z = \tfrac1K \sum_k f(x + u_k)

    By angle, since in many dimensions the few latents that lie nearest to the origin are
    neighbours of everybody by distance; over the mean of K draws of noise, since one draw is in
    large part noise where pixels are dequantised.

    Args:
        model: a flow or VAE.
        queries: events ``(Q, *shape)``.
        data: events ``(N, *shape)``; an array may be larger than memory.
        k: how many neighbours.
        metric: ``angle`` or ``distance`` between latents; the angle for images and the distance
            for rows if None.
        draws: K; models without noise need no more than one.
        own: where the queries themselves are in ``data``, ``(Q,)``: none is its own neighbour.
        block: events of ``data`` that are in memory at a time.

    Raises:
        InputError: k is below 1 or more than there are, no draws, another metric, or a model
            without latents of events.
    """
    possible = len(data) - (own is not None)
    if not 1 <= k <= possible:
        raise InputError(
            f"each event has {max(0, possible):,} possible neighbours in these data; got k={k}."
        )
    if draws < 1:
        raise InputError(f"nearest takes at least one draw of noise; got {draws}.")
    if metric not in (None, "angle", "distance"):
        raise InputError(f"metric is 'angle' or 'distance'; got {metric!r}.")
    angle = metric == "angle" or (metric is None and len(model.shape) == 3)

    def latents(x: Any) -> Tensor:
        z = averaged(model, x, draws).flatten(1).cpu()
        return normalize(z, dim=1) if angle else z

    places = None if own is None else torch.as_tensor(own).reshape(-1)
    scale = _spread(model, data, block)
    near, far = _search(latents, queries, data, k, places, block)
    if angle:  # from the chord between two points of the unit sphere
        far = np.degrees(2 * np.arcsin(np.clip(far / 2, 0, 1)))
    beside = _search(lambda x: _flat(x) / scale, queries, data, k, places, block)
    return Neighbours(near, far, *beside)


def _search(
    numbers: Callable[[Any], Tensor],
    queries: Any,
    data: Any,
    k: int,
    own: Tensor | None,
    block: int,
) -> tuple[Array, Array]:
    """The k nearest by these numbers: positions and distances."""
    wanted = numbers(queries)
    best = torch.full((len(wanted), 0), torch.inf, dtype=torch.float64)
    where = torch.zeros((len(wanted), 0), dtype=torch.long)
    for start in range(0, len(data), block):
        part = numbers(data[start : start + block])
        if isinstance(data, np.ndarray):
            release(data)
        # Not by the product of matrices, which loses the digits of small distances.
        far = torch.cdist(wanted, part, compute_mode="donot_use_mm_for_euclid_dist")
        at = torch.arange(start, start + len(part)).expand(len(wanted), -1)
        if own is not None:
            far = far.masked_fill(at == own[:, None], torch.inf)
        best, where = torch.cat((best, far), 1), torch.cat((where, at), 1)
        best, chosen = best.sort(dim=1, stable=True)  # of equals, the first in the data
        best, where = best[:, :k], where.gather(1, chosen)[:, :k]
    return where.numpy(), best.numpy()


def _flat(x: Any) -> Tensor:
    return torch.as_tensor(np.asarray(x)).double().flatten(1)


def _spread(model: Model, data: Any, block: int) -> Tensor:
    """The standard deviation of each number that is real; 1 for levels and constant columns."""
    if model.levels is not None:
        return torch.ones(1, dtype=torch.float64)
    count, total, squares = 0, torch.zeros(1).double(), torch.zeros(1).double()
    centre = _flat(data[:1])  # so that the squares do not lose their digits
    for start in range(0, len(data), block):
        part = _flat(data[start : start + block]) - centre
        count, total = count + len(part), total + part.sum(0)
        squares = squares + part.square().sum(0)
    spread = (squares / count - (total / count).square()).clamp(min=0).sqrt()
    return torch.where(spread > 0, spread, 1.0)
