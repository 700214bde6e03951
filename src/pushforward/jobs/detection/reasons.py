"""Why an event is unusual: which columns of a row, which places of an image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...flow import Flow
from ...layers.columns import ColumnSpec
from ...scoring import score
from .incomplete import observed_log_prob

__all__ = ["Reasons", "heat_maps", "row_reasons"]

Array = np.ndarray[Any, np.dtype[Any]]

_COARSE, _FINE = 41, 49
"""Points of the two grids over a column: over the range of the data, and where the density is."""
_DEPTH = 6.0
"""Nats below the best at which a value has no weight."""


@dataclass(frozen=True)
class Reasons:
    """Of each row and column, ``(N, D)``; NaN where a row was not looked at.

    Attributes:
        gain: nats that log p would rise by, were this value the best one given the others.
        best: that value.
        low, high: between which 90 % of the values would lie, given the others.
    """

    gain: Array
    best: Array
    low: Array
    high: Array


def row_reasons(
    flow: Flow,
    rows: Array,
    reference: Array,
    context: Any = None,
    *,
    samples: int = 1,
) -> Reasons:
    r"""How much each column takes part in a row being unusual, the other columns as they are.

    .. math:: a_j = \max_v \log p(v, x_{-j}) - \log p(x)
              = \max_v \log p(v \mid x_{-j}) - \log p(x_j \mid x_{-j}) \ge 0

    No unit of a column enters, unlike in a conditional density, so that columns can be compared. Of
    a normal density it is half the squared distance of :math:`x_j` from its conditional mean, in
    conditional standard deviations. The conditional density itself comes from the same values of
    log p, by the trapezoid rule over v: 5 and 95 % of it are ``low`` and ``high``.

    v runs over a grid across the range of ``reference`` (and as far as the row itself), then over a
    finer one where the density is: D times 90 densities a row, for the rows that matter.

    Args:
        flow: a density of rows.
        rows: ``(N, D)``; a missing value has no part in it (NaN).
        reference: ``(n, D)`` usual rows, which say where values lie.
        context: ``(N, K)`` for a conditional flow.
        samples: draws of noise per density, where it is a lower bound.
    """
    n, dims = rows.shape
    own = _log_prob(flow, rows, context, samples)
    specs = getattr(flow.config, "columns", None) or (None,) * dims
    result = {name: np.full((n, dims), math.nan) for name in ("gain", "best", "low", "high")}
    for j in range(dims):
        seen = np.flatnonzero(~np.isnan(rows[:, j]))
        if not len(seen):
            continue
        spec, part = specs[j], rows[seen]
        given = None if context is None else context[seen]
        codes = None if spec is None or spec.count is None else np.arange(float(spec.count))
        if codes is None:
            grid = _possible(_grid(part[:, j], reference[:, j]), spec)
        else:
            grid = np.tile(codes, (len(part), 1))
        log_p = _over(flow, part, j, grid, given, samples)
        if codes is None:
            fine = _possible(_about(grid, log_p), spec)
            grid = np.concatenate([grid, fine], axis=1)
            log_p = np.concatenate([log_p, _over(flow, part, j, fine, given, samples)], axis=1)
            order = np.argsort(grid, axis=1, kind="stable")
            grid = np.take_along_axis(grid, order, 1)
            log_p = np.take_along_axis(log_p, order, 1)
        best = log_p.argmax(axis=1)
        top = np.take_along_axis(log_p, best[:, None], 1)[:, 0]
        result["gain"][seen, j] = np.maximum(top - own[seen], 0)
        result["best"][seen, j] = np.take_along_axis(grid, best[:, None], 1)[:, 0]
        low, high = _interval(grid, np.exp(log_p - top[:, None]), discrete=codes is not None)
        result["low"][seen, j], result["high"][seen, j] = low, high
    return Reasons(**result)


def _log_prob(flow: Flow, rows: Array, context: Any, samples: int) -> Array:
    if not flow.takes_missing and np.isnan(rows).any():
        return observed_log_prob(flow, rows)  # all rows of a comparison lack the same
    return score(flow, rows, context, samples=samples)


def _over(flow: Flow, rows: Array, j: int, grid: Array, context: Any, samples: int) -> Array:
    """log p of each row with the values of its grid ``(N, G)`` in the place of column j."""
    n, points = grid.shape
    tried = np.repeat(rows, points, axis=0)  # (N, D) -> (N G, D)
    tried[:, j] = grid.reshape(-1)
    given = None if context is None else np.repeat(np.asarray(context), points, axis=0)
    values = _log_prob(flow, tried, given, samples)
    # Far from all data a density may underflow to 0.
    return np.maximum(values, -1e300).reshape(n, points)


def _grid(own: Array, reference: Array) -> Array:
    """Quantiles of the reference, and evenly from its least to its largest, and each own value."""
    usual = reference[~np.isnan(reference)].astype(np.float64)
    if not len(usual):
        usual = own.astype(np.float64)
    low, high = usual.min(), usual.max()
    margin = 0.1 * (high - low) or max(1.0, abs(high))
    quantiles = np.quantile(usual, np.linspace(0, 1, _COARSE // 2))
    even = np.linspace(low - margin, high + margin, _COARSE - len(quantiles) - 1)
    common = np.concatenate([quantiles, even])
    return np.sort(np.column_stack([np.tile(common, (len(own), 1)), own]), axis=1)


def _possible(grid: Array, spec: ColumnSpec | None) -> Array:
    """The nearest values that the column may hold."""
    if spec is None:
        return grid
    if spec.on_grid:
        grid = np.round(grid / spec.grid) * spec.grid
    return np.clip(grid, *spec.bounds)


def _about(grid: Array, log_p: Array) -> Array:
    """A finer grid over what has any weight, one point further on each side: ``(N, _FINE)``."""
    ends = np.empty((2, len(grid)))
    for i, (points, values) in enumerate(zip(grid, log_p, strict=True)):
        weighty = points[values > values.max() - _DEPTH]
        # The nearest that differ: quantiles repeat where values do.
        less, more = points[points < weighty[0]], points[points > weighty[-1]]
        ends[0, i] = less[-1] if len(less) else weighty[0]
        ends[1, i] = more[0] if len(more) else weighty[-1]
    return np.linspace(ends[0], ends[1], _FINE, axis=1)


def _interval(grid: Array, weight: Array, *, discrete: bool) -> tuple[Array, Array]:
    """Where 5 and 95 % of a density over a grid lie: values of it, or in between."""
    if discrete:
        mass = weight.cumsum(axis=1) / weight.sum(axis=1, keepdims=True)
        low = (mass < 0.05).sum(axis=1)
        high = np.minimum((mass < 0.95).sum(axis=1), grid.shape[1] - 1)
        rows = np.arange(len(grid))
        return grid[rows, low], grid[rows, high]
    area = 0.5 * (weight[:, 1:] + weight[:, :-1]) * np.diff(grid, axis=1)
    mass = np.concatenate([np.zeros((len(grid), 1)), area.cumsum(axis=1)], axis=1)
    ends = np.empty((2, len(grid)))
    for i in range(len(grid)):
        ends[:, i] = np.interp(np.array([0.05, 0.95]) * mass[i, -1], mass[i], grid[i])
    return ends[0], ends[1]


# Images ------------------------------------------------------------------------------------------


def heat_maps(
    flow: Flow, images: Array, reference: Array, context: Any = None, *, patch: int | None = None
) -> Array:
    r"""How much each place of an image takes part in its being unusual: ``(N, H, W)``, nats.

    .. math:: a_P = \max_k \log p(r^{(k)}_P, x_{-P}) - \log p(x)

    averaged over the patches P that cover a pixel: what log p gains when the patch is replaced by
    that of a usual image, or by the mean of its surroundings. A defect is where the gain is large.

    Args:
        flow: a density of images.
        images: ``(N, C, H, W)``.
        reference: usual images ``(n, C, H, W)``; a few of them are tried.
        context: ``(N, K)`` for a conditional flow.
        patch: side of a patch; an eighth of the image, but at least 2 pixels, if None. Patches
            overlap by half.
    """
    n, _, height, width = images.shape
    side = patch or max(2, round(min(height, width) / 8))
    step = max(1, side // 2)
    ys = [*range(0, height - side, step), height - side]
    xs = [*range(0, width - side, step), width - side]
    places = [(y, x) for y in ys for x in xs]
    donors = reference[np.linspace(0, len(reference) - 1, min(4, len(reference))).astype(int)]
    total, count = np.zeros((n, height, width)), np.zeros((height, width))
    for y, x in places:
        count[y : y + side, x : x + side] += 1
    tries = len(donors) + 1
    for i, image in enumerate(images):
        tried = np.repeat(image[None], 1 + tries * len(places), axis=0)
        for place, (y, x) in enumerate(places):
            at = slice(y, y + side), slice(x, x + side)
            first = 1 + tries * place
            tried[first : first + len(donors), :, at[0], at[1]] = donors[:, :, at[0], at[1]]
            tried[first + len(donors), :, at[0], at[1]] = _surroundings(image, y, x, side)
        given = (
            None if context is None else np.repeat(np.asarray(context)[i : i + 1], len(tried), 0)
        )
        with torch.no_grad():
            log_p = score(flow, tried, given)
        gains = np.maximum(log_p[1:].reshape(len(places), tries).max(axis=1) - log_p[0], 0)
        for gain, (y, x) in zip(gains, places, strict=True):
            total[i, y : y + side, x : x + side] += gain
    return total / count


def _surroundings(image: Array, y: int, x: int, side: int) -> Array:
    """The mean of the pixels about a patch, ``(C, 1, 1)``."""
    top, left = max(0, y - 1), max(0, x - 1)
    around = image[:, top : y + side + 1, left : x + side + 1]
    inside = image[:, y : y + side, x : x + side]
    sums = around.sum(axis=(1, 2), dtype=np.float64) - inside.sum(axis=(1, 2), dtype=np.float64)
    mean = sums / max(1, around[0].size - inside[0].size)
    if image.dtype.kind in "iu":
        mean = np.rint(mean)
    return mean.astype(image.dtype)[:, None, None]
