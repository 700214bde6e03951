"""The checks of ``verify`` on stability, batches and the total mass of the density."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...errors import InputError
from .case import Case, judge
from .density import base_log_mass, integrate
from .layerwise import batch_culprit, growth, inverse_culprit
from .leaves import spread, worst_error
from .report import Check

__all__ = ["batch_checks", "density_checks", "stability_checks"]

FAR = 20.0
HOT = 3.0
ROUGH = 1e-2
"""The error that is tolerated far from the data; any finite error beyond is a warning."""
FINITE = math.nextafter(math.inf, 0)


def stability_checks(case: Case) -> list[Check]:
    """Far from the data, and what becomes of small changes."""
    log_prob = case.log_prob(case.native, case.y)
    share = float((~torch.isfinite(log_prob)).double().mean())
    culprit = inverse_culprit(case.native.chain, case.x, case.context, 0) if share else None
    what = "share of log_probs not finite"
    checks = [judge("stability", "finite log_prob", share, 0.0, 0.0, what, culprit)]
    if case.invertible:
        checks += [*_far(case), *_hot(case)]
    return checks + _growth(case)


def _far(case: Case) -> list[Check]:
    """Inputs unlike the data, and back: rows far away, or images of noise, black and white."""
    flow, context = case.native, case.context
    if case.discrete:
        far, place, what = _strange(case), case.body, "error on noise and constant events"
    else:
        near, _ = case.after(flow, case.body, case.core)(case.y, context)
        noise = case.normal(near)
        over = (0, *range(2, near.ndim))
        far = (near.double().mean(over, keepdim=True) + FAR * spread(near) * noise).to(near)
        place, what = case.core, f"relative error {FAR:g} deviations away"
    core = case.after(flow, place)
    if not len(core):
        return []
    error = worst_error(far, core.inverse(core(far, context)[0], context)[0], spread(far))
    culprit = None
    if not error <= ROUGH:
        culprit = inverse_culprit(flow.chain, far, context, place)
    return [judge("stability", "far inputs", error, ROUGH, FINITE, what, culprit)]


def _strange(case: Case) -> Tensor:
    """Integers unlike the data, as the real numbers that they become."""
    top = (case.native.levels or 2) - 1
    v = top * torch.rand(case.x.shape, generator=case.generator, device=case.generator.device)
    v = v.round().to(case.x)
    v[0::3], v[1::3] = 0, top
    return case.after(case.native, 0, case.body)(v, case.context)[0]


def _hot(case: Case) -> list[Check]:
    """Latents beyond those of the data, and back."""
    flow, context = case.native, case.context
    try:
        z = case.double.base.sample(len(case.x), HOT, case.generator).to(case.native.base.anchor)
    except InputError:
        case.notes.append(f"latents at temperature {HOT:g}: the base has none.")
        return []
    body = case.after(flow, case.core if case.bounded else case.body)
    y, log_det = body.inverse(z, context)
    finite = bool(torch.isfinite(y).all() and torch.isfinite(log_det).all())
    if case.discrete and case.restores:
        v, _ = flow.chain.inverse(z, context)
        again, _ = flow.chain.inverse(flow.chain(v, context)[0], context)
        wrong = (again != v).double()
        error = float(wrong.mean()) if finite else math.inf
        allowed, what = 1e-3, f"share of values changed, temp. {HOT:g}"
    else:
        error = worst_error(z, body(y, context)[0], spread(z)) if finite else math.inf
        allowed, what = ROUGH, f"error of latents at temperature {HOT:g}"
    return [judge("stability", "far latents", error, allowed, FINITE, what)]


def _growth(case: Case) -> list[Check]:
    """The factor by which random small changes grow, through one layer and through all."""
    core = case.after(case.double, case.core)
    inner = [layer for layer in case.layers if not layer.front]
    if not len(core) or not inner:
        return []
    rates = [max(layer.growth or 0.0, layer.growth_back or 0.0) for layer in inner]
    worst = inner[rates.index(max(rates))]
    way = "back" if (worst.growth_back or 0.0) > (worst.growth or 0.0) else "forth"
    what = f"times, in {worst.name}, {way}"
    name = "growth, layer"
    checks = [judge("stability", name, max(rates), 1e3, 1e6, what, worst.name)]
    start, _ = case.after(case.double, case.body, case.core)(case.y64, case.context64)
    rate, way = growth(core, start, case.context64, case.generator, case.directions), "forth"
    if case.invertible:
        z, _ = core(start, case.context64)
        back = growth(core.inverse, z, case.context64, case.generator, case.directions)
        rate, way = max((rate, "forth"), (back, "back"))
    what = f"times, through all layers, {way}"
    checks.append(judge("stability", "growth, whole", rate, 1e4, 1e7, what, worst.name))
    return checks


# Batches ----------------------------------------------------------------------------------------


def batch_checks(case: Case) -> list[Check]:
    """An event alone, among others and in another order, in float64."""
    flow, tolerance = case.double, 1e-8 * max(1.0, case.double.dims / 64)
    x, context = case.x64, case.context64
    if len(x) == 1:  # it needs company: itself, turned round
        x = torch.cat((x, x.flatten(1).flip(1).reshape(x.shape)))
        context = None if context is None else context.expand(2, -1)
    some = min(len(x), 4)

    def value(rows: Tensor) -> Tensor:
        given = None if context is None else context[rows]
        return flow.log_prob(x[rows], given, check=False)

    order = torch.arange(len(x), device=x.device)
    whole = value(order)
    alone = torch.cat([value(order[i : i + 1]) for i in range(some)])
    gap = max(_largest(whole[:some] - alone), _largest(whole - value(order.flip(0)).flip(0)))
    what = "nats, an event alone or reordered"
    culprit = batch_culprit(flow.chain, x, context) if gap > tolerance else None
    limit = 100 * tolerance
    checks = [judge("batch", "log_prob, alone", gap, tolerance, limit, what, culprit)]
    if case.invertible and len(case.z64) > 1:
        z, context = case.z64, case.context64
        whole = flow.chain.inverse(z, context)[0].double()
        parts = [
            flow.chain.inverse(z[i : i + 1], None if context is None else context[i : i + 1])[0]
            for i in range(some)
        ]
        unit = torch.ones_like(whole[:1]) if case.discrete else spread(whole)
        error = worst_error(whole[:some], torch.cat(parts), unit)
        what = "standard deviations, a latent alone"
        if case.discrete:
            what = "levels, a latent alone"
        if error > 1e-9:
            culprit = batch_culprit(flow.chain, z, context, back=True)
        checks.append(judge("batch", "decode, alone", error, 1e-9, 1e-6, what, culprit))
    return checks


def _largest(difference: Tensor) -> float:
    return float(torch.nan_to_num(difference.abs(), nan=math.inf).amax())


# Density ----------------------------------------------------------------------------------------


def density_checks(case: Case) -> list[Check]:
    """The integral of the base, and of flows over one or two numbers."""
    checks = []
    mass = base_log_mass(case.double.base, case.generator)
    if mass is None:
        case.notes.append("the integral of the base: not one of independent, smooth elements.")
    else:
        tolerance = 1e-6 * max(1.0, case.double.dims / 64)
        what = "nats, log of the base's integral"
        checks.append(judge("density", "base", abs(mass), tolerance, 100 * tolerance, what))
    if not 0 < case.y[:1].numel() <= 2:
        return checks
    flow, samples = case.native, case.y
    one = None if case.context is None else case.context[:1]
    body = case.after(flow, case.body)
    if case.invertible:
        z = case.double.base.sample(2048, 1.0, case.generator).to(case.native.base.anchor)
        samples = body.inverse(z, None if one is None else one.expand(2048, -1))[0]

    def log_prob(points: Tensor) -> Tensor:
        z, log_det = body(points, None if one is None else one.expand(len(points), -1))
        return flow.base.log_prob(z) + log_det

    if not bool(torch.isfinite(samples).all()):
        case.notes.append("the integral of the density: its samples are not finite.")
        return checks
    found = integrate(log_prob, samples)
    grid = f"over {found.box}, {found.points:,} points"
    what = f"integral less 1, {grid}"
    # At an edge the grid itself is wrong; how much, two grids show.
    allowed, limit = max(1e-3, min(found.noise, 1e-2)), 1e-2
    if found.noise > 1e-2:
        what, limit = f"{what}, too few to settle", 0.5
    checks.append(judge("density", "integral", abs(found.value - 1), allowed, limit, what))
    return checks
