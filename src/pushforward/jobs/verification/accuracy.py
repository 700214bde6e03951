"""The checks of ``verify`` on the inverse and on the log-determinant."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .case import Case, judge
from .jacobian import jacobian_log_det
from .leaves import leaves, spread, worst_error
from .report import Check

__all__ = ["inverse_checks", "log_det_checks"]

WHOLE = 64
"""Up to this many numbers an event the Jacobian of the whole flow is written down."""


def inverse_checks(case: Case) -> list[Check]:
    """There and back, from data and from latents, in the flow's precision and in float64."""
    if not case.invertible or (not case.restores and case.body == len(case.native.chain)):
        return []
    checks = []
    # The latents of a discrete flow go back to the logits only: pixels end at 0 and 1, and so do
    # columns at their bounds.
    start = case.core if case.discrete or case.bounded else case.body
    for way, place in (("x > z > x", case.body), ("z > x > z", start)):
        own = math.inf
        for dtype, flow, y, context in case.precisions:
            chain = case.after(flow, place)
            if way[0] == "x":
                error = worst_error(y, chain.inverse(chain(y, context)[0], context)[0], spread(y))
            else:
                z = case.z64.to(y.device, flow.dtype)
                error = worst_error(z, chain(chain.inverse(z, context)[0], context)[0], spread(z))
            what = f"error on {way[0]}, standard deviations"
            tolerance, limit = (1e-9, 1e-6) if dtype == "float64" else (1e-4, 1e-2)
            if own < 1e-2 and error > max(1e-10, 1e-5 * own):
                tolerance = limit = 1e-10
                what = "no better than float32: some constant or iteration is not in float64"
            name = f"{way}, {dtype}"
            culprit = case.worst_inverse(dtype)
            checks.append(judge("inverse", name, error, tolerance, limit, what, culprit))
            own = error
    return checks + (_decoding(case) if case.discrete and case.restores else [])


def _decoding(case: Case) -> list[Check]:
    """Whether decode(encode(v)) is v, exactly."""
    checks = []
    for dtype, flow, _, context in case.precisions:
        v = case.x.to(flow.device)
        back, _ = flow.chain.inverse(flow.chain(v, context)[0], context)
        wrong = (back != v).flatten(1).double()
        share = float(wrong.amax(1).mean())
        # Rounding moves the odd value at the edge of its cell; one in a thousand is no rounding.
        limit = 1.0 if float(wrong.mean()) <= 1e-3 else 0.0
        what = "share of events changed"
        culprit = case.worst_inverse(dtype)
        checks.append(judge("inverse", f"v > z > v, {dtype}", share, 0.0, limit, what, culprit))
    return checks


def log_det_checks(case: Case) -> list[Check]:
    """The log-dets against automatic differentiation, against each other, and against float32."""
    flow, context, size = case.double, case.context64, case.double.dims
    tolerance = 1e-8 * max(1.0, size / 64)
    culprit = case.worst("log_det_error", tolerance)
    body = case.after(flow, case.body)
    z, log_det = body(case.y64, context)

    def add(name: str, gap: float, meaning: str, layer: str | None = culprit) -> Check:
        return judge("log-det", name, gap, tolerance, 100 * tolerance, meaning, layer)

    checks = []
    if size <= WHOLE:
        some = case.y64[:8]
        try:
            measured = jacobian_log_det(body, some, None if context is None else context[:8])
            what = f"nats, whole Jacobian of {len(some)} events"
            checks.append(add("log_det, whole", _gap(log_det[:8], measured), what))
        except RuntimeError:
            case.notes.append("the Jacobian of the whole flow: it has no derivative.")
    checks += _layer_checks(case, tolerance)
    whole_z, whole = flow.chain(case.x64, context)
    parts_z, parts = _one_by_one(case)
    gap = max(_gap(whole, parts), _gap(whole_z, parts_z))
    checks.append(add("log_det, sum", gap, "nats, flow against its layers' sum", None))
    if case.invertible:
        gap = _gap(log_det, -body.inverse(z, context)[1])
        what, worst = "nats left when both ways are added", case.worst("log_det_left", tolerance)
        checks.append(add("log_det, cancels", gap, what, worst))
    short = [layer.name for layer in case.layers if not layer.keeps_float64]
    what = "layers answering float64 with less"
    first = short[0] if short else None
    checks.append(judge("log-det", "float64 kept", len(short), 0.0, 0.0, what, first))
    if case.dtype != "float64":
        gap = _gap(case.log_prob(case.native, case.y), case.log_prob(flow, case.y64))
        # 1e-4 bits per number of an image, 0.001 nats of a short row
        allowed = max(1e-3, 1e-4 * math.log(2) * size)
        what = "nats of log_prob, against float64"
        checks.append(judge("log-det", "rounding", gap, allowed, 100 * allowed, what))
    return checks


def _layer_checks(case: Case, tolerance: float) -> list[Check]:
    """Each layer's log-det against the one measured, exactly or by an estimate."""
    exact = [la for la in case.layers if la.log_det_error is not None and not la.log_det_noise]
    noisy = [la for la in case.layers if la.log_det_error is not None and la.log_det_noise]
    silent = [la.name for la in case.layers if la.log_det_error is None]
    checks = []
    if exact:
        worst = max(exact, key=lambda la: la.log_det_error or 0.0)
        what = f"nats, {len(exact)} layers by their Jacobians"
        error, limit = worst.log_det_error or 0.0, 100 * tolerance
        name = "log_det, layers"
        checks.append(judge("log-det", name, error, tolerance, limit, what, worst.name))
    if noisy:
        worst = max(noisy, key=lambda la: (la.log_det_error or 0.0) / la.log_det_noise)
        what = f"nats, {len(noisy)} layers, to 5 standard errors"
        error, allowed = worst.log_det_error or 0.0, 5 * worst.log_det_noise
        name = "log_det, estimated"
        checks.append(judge("log-det", name, error, allowed, allowed, what, worst.name))
    if silent:
        case.notes.append(f"the log_det of {', '.join(silent)}: no derivative to measure.")
    return checks


def _one_by_one(case: Case) -> tuple[Tensor, Tensor]:
    """The latents and the log-det when each innermost layer is called by itself, in float64."""
    total = torch.zeros(len(case.x64), dtype=torch.float64, device=case.x64.device)
    walk = leaves(case.double.chain, case.x64, case.context64)
    while True:
        try:
            total = total + next(walk).log_det
        except StopIteration as end:
            return end.value, total


def _gap(one: Tensor, other: Tensor) -> float:
    """The largest difference of two batches of log-densities; those infinite alike agree."""
    one, other = one.double(), other.to(one.device).double()
    difference = torch.where(one == other, 0.0, (one - other).abs())
    return float(difference.amax()) if bool(torch.isfinite(difference).all()) else math.inf
