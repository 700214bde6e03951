"""Can this flow's numbers be trusted? Every promise of a flow, measured."""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...checks import check_context, check_events
from ...errors import InputError
from ...flow import Flow
from ...layers import Chain, Noisy
from ...threads import few_threads
from .accuracy import inverse_checks, log_det_checks
from .case import Case
from .layerwise import inspect_layers
from .leaves import FRONT
from .report import Verification
from .robustness import batch_checks, density_checks, stability_checks

__all__ = ["verify"]


def verify(
    flow: Flow,
    x: Any = None,
    context: Any = None,
    *,
    events: int | None = None,
    directions: int = 8,
    seed: int = 0,
) -> Verification:
    r"""Measure whether a flow keeps its promises, and name the layer that does not.

    It works on copies of the flow in evaluation mode, one in the flow's own precision and one in
    float64; the flow itself is not touched, nor is any random state.

    * **inverse**: x -> z -> x and z -> x -> z in both precisions, in standard deviations. A flow
      over integers is measured on the reals that dequantisation makes of them, and besides by the
      share of events for which ``decode(encode(v))`` is not exactly v.
    * **log-det**: against automatic differentiation in float64. Up to 64 numbers an event, the
      determinant of the whole Jacobian. At any size, every layer by itself: structures that random
      vectors prove (permutation, element-wise, coupling, mixing of channels) or a dense Jacobian
      give its exact log-det; what has neither is estimated with a standard error, see
      ``jacobian.py``. The sum over layers must be what the flow returns, and the log-dets of both
      ways must cancel. This finds a wrong constant as well as a wrong dependence on x, at the
      events looked at and no others; of an estimated layer, only errors beyond five standard
      errors.
    * **stability**: rows 20 standard deviations from the data, or integers that are noise or all
      alike; latents at temperature 3; the factor by which small perturbations grow in each layer.
    * **batch**: an event scored alone, among others and in another order.
    * **density**: the integral over a grid (flows over one or two numbers), and of the base.

    Args:
        flow: any flow.
        x: ``(N, *shape)``, events of the kind it was trained on; its own samples if None.
        context: for a conditional flow, ``(K,)`` or a row for each event. The integral over a grid
            is taken at the first row.
        events: how many events to look at, drawn from ``x`` by ``seed``; if None, 256 rows or 32
            images, fewer if they are large. The time grows with it: two will do for a deep network.
        directions: random perturbations per layer.
        seed: of the events, samples and directions.

    Raises:
        InputError: not a flow, or events or a context that it cannot score.

    Example:
        >>> verify(RealNVP((6,)), rows).ok  # doctest: +SKIP
        True
    """
    started = time.perf_counter()
    if not isinstance(flow, Flow):
        raise InputError(f"verify takes a Flow; got {type(flow).__name__}.")
    for name, number in (("events", events), ("directions", directions)):
        if number is not None and number < 1:
            raise InputError(f"verify: {name} must be at least 1; got {number}.")
    quiet = _quiet_random_state(flow, seed)
    with torch.inference_mode(False), torch.no_grad(), quiet, few_threads(flow, events or 32):
        case, source = _case(flow, x, context, events, directions, seed)
        checks = inverse_checks(case)
        checks += log_det_checks(case)
        checks += stability_checks(case)
        checks += batch_checks(case)
        checks += density_checks(case)
    return Verification(
        flow=flow.name,
        checks=checks,
        layers=case.layers,
        events=len(case.x),
        source=source,
        dtype=case.dtype,
        device=str(case.native.device),
        exact=flow.exact,
        seed=seed,
        seconds=round(time.perf_counter() - started, 2),
        notes=case.notes,
    )


def _case(
    flow: Flow, x: Any, context: Any, events: int | None, directions: int, seed: int
) -> tuple[Case, str]:
    native = copy.deepcopy(flow).eval().requires_grad_(False)
    if native.device.type == "mps":  # which knows no float64
        native = native.cpu()
    double = copy.deepcopy(native).double()
    most = 256 if len(flow.shape) == 1 else 32
    count = events or min(most, max(2, 2**15 // max(flow.dims, 1)))
    if x is None:
        x, context = _samples(native, context, count, seed)
        source = "samples of the flow"
    else:
        x, context, total = _chosen(native, x, context, count, seed)
        source = f"of {total:,} given" if total > len(x) else "given"
    parts = list(native.chain)
    body = max((i + 1 for i, part in enumerate(parts) if isinstance(part, Noisy)), default=0)
    core = body
    while core < len(parts) and isinstance(parts[core], FRONT):
        core += 1
    y = Chain(parts[:body])(x, context)[0]
    generator = torch.Generator(native.device).manual_seed(seed)
    case = Case(native, double, x, context, y, body, core, generator, directions)
    case.layers = inspect_layers(
        native.chain,
        double.chain,
        x,
        context,
        generator,
        directions=directions,
        measured=min(len(x), 8 if flow.dims <= 64 else 2),
    )
    return case, source


def _samples(flow: Flow, context: Any, count: int, seed: int) -> tuple[Tensor, Tensor | None]:
    given = check_context(
        context, name=flow.name, size=flow.context, rows=None if _is_table(context) else count
    )
    if given is not None:
        if len(given) == 0:
            raise InputError(f"verify of {flow.name} got a context without rows.")
        given = given[torch.arange(count, device=given.device) % len(given)]
        given = given.to(flow.device, flow.dtype)
    try:
        return flow.sample(count, context=given, seed=seed), given
    except NotImplementedError:
        raise InputError(
            f"{flow.name} cannot be sampled, since a layer of it has no inverse: give verify the "
            f"events to look at, verify(flow, x)."
        ) from None


def _is_table(context: Any) -> bool:
    return context is not None and np.ndim(context) == 2


def _chosen(
    flow: Flow, x: Any, context: Any, count: int, seed: int
) -> tuple[Tensor, Tensor | None, int]:
    """Rows drawn from the data: a memory-mapped array is read at those rows only."""
    shape = tuple(getattr(x, "shape", ()))
    if not isinstance(x, Tensor | np.ndarray) or shape[1:] != flow.shape:
        x = check_events(x, name=flow.name, shape=flow.shape, levels=flow.levels)
    total = len(x)
    if total == 0:
        raise InputError(f"verify of {flow.name} got no events; give at least one, or x=None.")
    context = check_context(context, name=flow.name, size=flow.context, rows=total)
    order = torch.randperm(total, generator=torch.Generator().manual_seed(seed))
    rows = order[:count].sort().values
    part = x[rows.to(x.device)] if isinstance(x, Tensor) else np.ascontiguousarray(x[rows.numpy()])
    part = check_events(part, name=flow.name, shape=flow.shape, levels=flow.levels)
    if context is not None:
        context = context[rows.to(context.device)].to(flow.device, flow.dtype)
    part = part.to(flow.device)
    return (part if flow.levels is not None else part.to(flow.dtype)).clone(), context, total


@contextlib.contextmanager
def _quiet_random_state(flow: Flow, seed: int) -> Iterator[None]:
    devices = [flow.device] if flow.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
