"""Fill in missing values by draws from what the model says of them, given what is observed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...checks import check_context
from ...errors import InputError
from ...flow import Flow
from .chain import Chains
from .incomplete import incomplete
from .proposal import Proposal, fit_proposal
from .space import FillingSpace
from .summary import Filled, summarise

__all__ = ["Imputation", "impute"]

Array = np.ndarray[Any, np.dtype[Any]]

_CHAINS = 8
"""Chains of a row at least, for means, spreads and the check of convergence."""

_SNAPSHOTS = 32
"""States of a chain at most that are kept after the warm-up."""

_NUMBERS = 2**22
"""Of the conditionals and of the snapshots that are held at a time."""

_CYCLE = ("leap", "walk", "leap", "climb")
_LOCAL = ("climb", "walk", "climb", "walk", "climb", "leap")
"""The kinds of step in turn; and where leaps hardly land, as the warm-up shows."""


@dataclass
class Imputation:
    """Rows or images with what was missing filled in; observed values are those given, to the bit.

    Attributes:
        mean: ``(N, *shape)``, the conditional mean; of a column of categories the most probable
            code, of other columns on a grid the nearest value of it.
        best: ``(N, *shape)``, the most probable values together: of all states seen the one of the
            highest density, refined by ascent (discrete values as the middles of cells).
        draws: ``(K, N, *shape)``, independent draws from p(missing | observed).
        spread: ``(N, *shape)``, the conditional standard deviation; 0 where observed.
        low, high: ``(N, *shape)``, the 5 % and 95 % quantiles; where observed, the value.
        missing: ``(N, *shape)``, True where filled in.
        acceptance: the share of accepted steps, by their kind.
        rhat: ``(N, *shape)``, split R-hat of each filled number (Gelman et al. 2013, section 11.4),
            1 where chains agree; NaN where observed.
        notes: what to know about the result, a sentence each; empty if all went well.
    """

    mean: Array
    best: Array
    draws: Array
    spread: Array
    low: Array
    high: Array
    missing: Array
    acceptance: dict[str, float] = field(default_factory=dict)
    rhat: Array = field(default_factory=lambda: np.empty(0))
    notes: list[str] = field(default_factory=list)


def impute(
    flow: Any,
    x: Any,
    *,
    missing: Any = None,
    draws: int = 1,
    steps: int = 60,
    seed: int = 0,
    context: Any = None,
) -> Imputation:
    r"""Draw the missing values of each row from :math:`p(x_m \mid x_o)`, and summarise them.

    Chains of Metropolis steps (``Chains``) run at least eight to a row, all in parallel. They
    propose from a mixture of normals that imitates the flow, whose conditionals are known in closed
    form, and accept by the flow's exact density: their stationary law is what the flow says.

    Args:
        flow: any flow; it need not have been trained on incomplete rows.
        x: ``(N, *shape)``, NaN where missing.
        missing: Boolean, True where missing, of the event's shape or ``(N, *shape)``; NaN if not
            given. For images of integers, which know no NaN.
        draws: K.
        steps: of each chain; the first third is warm-up and forgotten.
        seed: makes it repeatable.
        context: ``(N, context)`` for a conditional flow.

    Returns:
        ``Imputation``, of NumPy arrays: those of the data's integers for a flow over integers,
        float64 otherwise.

    Raises:
        InputError: x or missing will not do; says what, where, what instead.

    Source: Metropolis et al. 1953, Hastings 1970; Cannella et al. 2020 (draws of missing values
    from flows by Markov chains).
    """
    if not isinstance(flow, Flow):
        kind = getattr(flow, "name", type(flow).__name__)
        raise InputError(f"impute asks the density of a flow; {kind} is none.")
    if draws < 1 or steps < 6:
        raise InputError(
            f"impute needs draws of at least 1 and steps of at least 6; got {draws}, {steps}."
        )
    given, gaps = incomplete(flow, x, missing)
    context = check_context(context, name=flow.name, size=flow.context, rows=len(given))
    context = None if context is None else context.to(flow.device, flow.dtype)
    result = _untouched(flow, given, gaps, draws)
    rows = gaps.flatten(1).any(dim=1).nonzero()[:, 0]
    if not len(rows):
        result.notes.append("Nothing is missing: every value is as given.")
        return result
    totals: dict[str, list[float]] = {}
    with flow.evaluating(), torch.no_grad():
        space = FillingSpace(flow)
        proposal = fit_proposal(space, seed, context)
        generator = torch.Generator(flow.device).manual_seed(seed)
        chains = max(draws, _CHAINS)
        for part in rows.split(_rows_at_a_time(gaps[rows], chains, proposal)):
            beside = None if context is None else context[part.to(flow.device)]
            run = _run(space, proposal, given[part], gaps[part], beside, chains, steps, generator)
            filled = summarise(space, run.chains, run.states, draws)
            _put(result, part.numpy(), filled)
            for kind, tally in run.chains.tally.items():
                totals.setdefault(kind, []).append(tally.rate)
    result.acceptance = {kind: float(np.mean(rates)) for kind, rates in totals.items()}
    result.notes += _doubts(result, steps)
    return result


@dataclass
class _Ran:
    chains: Chains
    states: list[Tensor]


def _run(
    space: FillingSpace,
    proposal: Proposal | None,
    given: Tensor,
    gaps: Tensor,
    context: Tensor | None,
    count: int,
    steps: int,
    generator: torch.Generator,
) -> _Ran:
    """The chains of some rows, from warm-up to end."""
    device, dtype = space.flow.device, space.flow.dtype
    given, gaps = given.to(device), gaps.to(device).flatten(1)
    shaken = space.shakes and bool((~gaps).any())
    if shaken:
        u, log_det = space.shake(given, count, generator)
        middle = u.mean(0)
    else:
        u = space.enter(given).expand(count, -1, -1)
        log_det = u.new_zeros(())
        middle = u[0]
    u, q = u.to(dtype), None
    if proposal is not None:
        q = proposal.given(middle, gaps)
        start = q.fill(u, q.sample(count, generator)).to(dtype)
    else:
        drawn = space.samples(
            count * len(given), int(torch.randint(2**31, (), generator=generator))
        )
        start = torch.where(gaps, drawn.reshape(u.shape), u)
    events = given if shaken else None
    chains = Chains(space, start, gaps, q, context, generator, events, log_det)
    warm = max(2, steps // 3)
    every = max(1, math.ceil((steps - warm) / _SNAPSHOTS))
    states: list[Tensor] = []
    cycle: tuple[str, ...] = _CYCLE if q is not None else ("climb",)
    for step in range(steps):
        chains.warm = step < warm
        if step == warm and chains.recent.get("leap", 1.0) < 0.1:
            cycle = _LOCAL
        chains.step(cycle[step % len(cycle)])
        if shaken and step % 2:
            chains.step("shake")
        if step >= warm and (steps - 1 - step) % every == 0:
            states.append(chains.u)
    return _Ran(chains, states)


def _rows_at_a_time(gaps: Tensor, chains: int, proposal: Proposal | None) -> int:
    most = int(gaps.flatten(1).sum(1).max())
    dims = gaps[0].numel()
    held = _SNAPSHOTS * chains * dims
    if proposal is not None:
        held = max(held, len(proposal.means) * max(most * most, chains * most))
    return max(1, min(4096, 4 * _NUMBERS // held))


# What comes out --------------------------------------------------------------------------------


def _untouched(flow: Flow, given: Tensor, gaps: Tensor, draws: int) -> Imputation:
    """The result before anything is filled in."""
    values: Array = given.numpy().copy()
    if flow.levels is not None:
        values = np.nan_to_num(values).astype(np.uint8 if flow.levels <= 256 else np.int32)
    real = values.astype(np.float64)
    return Imputation(
        mean=values.copy(),
        best=values.copy(),
        draws=np.repeat(values[None], draws, axis=0),
        spread=np.where(gaps.numpy(), np.nan, 0.0),
        low=real.copy(),
        high=real.copy(),
        missing=gaps.numpy().copy(),
        rhat=np.full(gaps.shape, np.nan),
    )


def _put(result: Imputation, rows: Array, filled: Filled) -> None:
    """Put what was found of some rows in its places."""
    gaps = result.missing[rows]
    for name in ("mean", "best", "spread", "low", "high", "rhat"):
        whole = getattr(result, name)
        part = whole[rows]
        part[gaps] = getattr(filled, name)[gaps]
        whole[rows] = part
    for k, draw in enumerate(filled.draws):
        part = result.draws[k][rows]
        part[gaps] = draw[gaps]
        result.draws[k][rows] = part


def _doubts(result: Imputation, steps: int) -> list[str]:
    """What the chains give reason to say."""
    told = []
    rhat = result.rhat[result.missing]
    apart = float(np.mean(rhat > 1.2)) if len(rhat) else 0.0
    if apart > 0.05:
        told.append(
            f"The chains do not agree yet on {apart:.0%} of the missing values (split R-hat above "
            f"1.2): run more steps than {steps}."
        )
    if result.acceptance and max(result.acceptance.values()) < 0.02:
        told.append(
            "Hardly a step was accepted: the draws have not moved far from where they began. Run "
            "more steps, or look at the model by verify."
        )
    return told
