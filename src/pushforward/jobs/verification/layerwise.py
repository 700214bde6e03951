"""What each layer of a flow does to rounding errors, and whether its log-determinant is right."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ...layers import Chain, Dequantize, DequantizeColumns
from .jacobian import Map, Measured, measure_log_det
from .leaves import FRONT, Leaf, leaves, round_trip

__all__ = ["LayerReport", "batch_culprit", "growth", "inspect_layers", "inverse_culprit"]


@dataclass(frozen=True, kw_only=True)
class LayerReport:
    """One layer of a flow, looked at by itself on the data that reaches it.

    Attributes:
        name: its place and class, ``layer 7 Coupling``.
        shape: of the events that it takes.
        front: whether it only changes units (dequantise, logit, standardise).
        inverse: largest error of x -> z -> x in the flow's own precision, in standard deviations
            of its input's channels; None if the layer has no inverse.
        inverse64: the same in float64.
        growth: the largest factor by which one of the random small perturbations grew from data to
            latent. A lower bound of the largest singular value of the Jacobian. None for integers.
        growth_back: from latent to data.
        log_det_error: largest difference of its log_det from the measured one, nats, in float64;
            None if it has no derivative to measure.
        log_det_how: how that was measured, see ``jacobian.py``.
        log_det_noise: standard error of the measurement, nats; 0 if exact.
        log_det_left: what is left when its log_dets both ways are added, nats, in float64.
        keeps_float64: whether a float64 copy answers float64 with float64.
    """

    name: str
    shape: tuple[int, ...]
    front: bool
    inverse: float | None
    inverse64: float | None
    growth: float | None
    growth_back: float | None
    log_det_error: float | None
    log_det_how: str
    log_det_noise: float
    log_det_left: float | None
    keeps_float64: bool


def inspect_layers(
    native: Chain,
    double: Chain,
    x: Tensor,
    context: Tensor | None,
    generator: torch.Generator,
    *,
    directions: int,
    measured: int,
) -> list[LayerReport]:
    """Walk two copies of a chain, in its own precision and in float64, over the same events.

    Args:
        native: the chain as it is.
        double: its float64 copy.
        x: events in the flow's precision (or integers).
        context: for each event, or None.
        generator: of the random directions, on the device of ``double``.
        directions: perturbations tried per layer and way.
        measured: on how many of the events a log-determinant is measured.
    """
    device = generator.device
    wide = x.to(device, torch.float64) if x.is_floating_point() else x.to(device)
    context64 = None if context is None else context.to(device, torch.float64)
    pairs = zip(leaves(native, x, context), leaves(double, wide, context64), strict=True)
    reports = []
    for own, leaf in pairs:
        found = _measure(leaf, generator, measured)
        draws = not getattr(leaf.layer, "restores", True)  # no map of its input alone
        there_and_back = None if draws else round_trip(own)
        there_and_back64 = None if draws else round_trip(leaf)
        forth = back = None
        if leaf.x.is_floating_point() and not draws:
            forth = growth(leaf.layer, leaf.x, leaf.context, generator, directions)
            if there_and_back64 is not None:
                back = growth(leaf.layer.inverse, leaf.z, leaf.context, generator, directions)
        reports.append(
            LayerReport(
                name=leaf.name,
                shape=tuple(leaf.x.shape[1:]),
                front=isinstance(leaf.layer, FRONT),
                inverse=there_and_back and there_and_back[0],
                inverse64=there_and_back64 and there_and_back64[0],
                growth=forth,
                growth_back=back,
                log_det_error=_log_det_error(leaf, found),
                log_det_how=found.how,
                log_det_noise=found.error,
                log_det_left=there_and_back64 and there_and_back64[1],
                keeps_float64=leaf.z.dtype == leaf.log_det.dtype == torch.float64,
            )
        )
    return reports


def _log_det_error(leaf: Leaf, found: Measured) -> float | None:
    if found.how == "none":
        return None
    error = (leaf.log_det[: len(found.log_det)].double() - found.log_det).abs().amax()
    return math.inf if bool(torch.isnan(error)) else float(error)


def _one(leaf: Leaf) -> Tensor | None:
    return None if leaf.context is None else leaf.context[:1]


def _measure(leaf: Leaf, generator: torch.Generator, events: int) -> Measured:
    x = leaf.x[:events]
    if type(leaf.layer) is Dequantize:
        # No map of real numbers, so without a Jacobian: its term is -D log L by definition.
        value = -math.log(leaf.layer.levels) * x[0].numel()
        return Measured(torch.full((len(x),), value, dtype=torch.float64, device=x.device), "cells")
    noisy = isinstance(leaf.layer, DequantizeColumns)  # cells have no Jacobian either
    if noisy or not x.is_floating_point() or not getattr(leaf.layer, "restores", True):
        return Measured(leaf.log_det[:events].double(), "none")
    context = None if leaf.context is None else leaf.context[:events]
    return measure_log_det(leaf.layer, x, context, generator)


def growth(
    function: Map,
    x: Tensor,
    context: Tensor | None,
    generator: torch.Generator,
    directions: int,
) -> float:
    r"""The largest :math:`\|f(x + hv) - f(x)\| / \|hv\|` over random v, for a small h.

    ``x`` is float64; each direction is tried at another event. Infinite where it is not a number.
    """
    some = x[:directions]
    rows = torch.arange(directions, device=x.device) % len(some)
    given = None if context is None else context[rows]
    v = torch.randn(some[rows].shape, generator=generator, dtype=x.dtype, device=x.device)
    level = float((x - x.mean()).square().mean().sqrt())
    moved = some[rows] + 1e-6 * (level or 1.0) * v
    still = function(some, None if context is None else context[:directions])[0][rows]
    change = (function(moved, given)[0] - still).flatten(1).norm(dim=1)
    ratio = (change / (moved - some[rows]).flatten(1).norm(dim=1)).amax()
    return float(ratio) if bool(torch.isfinite(ratio)) else math.inf


# Who is to blame --------------------------------------------------------------------------------


def batch_culprit(
    chain: Chain, x: Tensor, context: Tensor | None, *, back: bool = False
) -> str | None:
    """The layer whose value for the first event depends most on the events beside it.

    ``back`` looks at the inverses; ``x`` are then latents.
    """
    worst, name = 0.0, None
    for leaf in _inverses(chain, x, context) if back else leaves(chain, x, context):
        function = leaf.layer.inverse if back else leaf.layer
        z, log_det = function(leaf.x[:1], _one(leaf))
        moved = (z.double() - leaf.z[:1].double()).abs().amax()
        difference = float(moved + (log_det - leaf.log_det[:1]).abs().amax())
        if not difference <= worst:
            worst, name = difference, leaf.name
    return name


def _inverses(chain: Chain, z: Tensor, context: Tensor | None) -> Iterator[Leaf]:
    for index in reversed(range(len(chain))):
        x, log_det = chain[index].inverse(z, context)
        yield Leaf(str(index), chain[index], z, context, x, log_det)
        z = x


def inverse_culprit(chain: Chain, x: Tensor, context: Tensor | None, start: int) -> str | None:
    """The first layer that makes something not finite, or else the one that is inverted worst."""
    worst, name = 0.0, None
    for leaf in leaves(chain, x, context, start=start):
        if not bool(torch.isfinite(leaf.z).all() and torch.isfinite(leaf.log_det).all()):
            return leaf.name
        found = round_trip(leaf)
        if found is not None and found[0] > worst:
            worst, name = found[0], leaf.name
    return name
