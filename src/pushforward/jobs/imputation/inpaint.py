"""Fill in what is missing by climbing the density, or by drawing from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from ...checks import check_context, check_events
from ...errors import InputError, NumericalError
from ...flow import Flow
from ...layers import Chain, Noisy

__all__ = ["inpaint"]

Bound = float | Sequence[float] | Tensor | None


def inpaint(
    flow: Flow,
    x: Any,
    mask: Any,
    *,
    steps: int = 1_000,
    seed: int = 0,
    rate: float = 10.0,
    delay: float = 100.0,
    noise: bool = True,
    largest: float | None = 0.1,
    low: Bound = None,
    high: Bound = None,
    start: Any = None,
    keep: Literal["best", "last"] = "best",
    context: Any = None,
    method: Literal["ascent", "sampler"] = "ascent",
) -> Tensor:
    r"""Replace the numbers of each event that are not observed by probable ones.

    .. math:: x_H \leftarrow \Pi\!\left( x_H + \alpha_i \left( \frac{\partial \log p(x_O, x_H)}
              {\partial x_H} + \epsilon \right) \right), \qquad
              \alpha_i = \frac{10}{100 + i}, \qquad \epsilon \sim N(0, I)

    with :math:`\Pi` the projection to the data's range. It looks for a mode of the conditional
    density, not for a draw from it: what it fills in is smoother than data are. Integers are
    relaxed to the interval [0, 1] that the flow spreads them over, each observed one at the middle
    of its cell, and rounded down to integers again at the end.

    ``method="sampler"`` gives one draw from the conditional density instead, by ``impute``; of the
    options it takes steps, seed and context only.

    Args:
        flow: any flow whose log_prob can be differentiated by its input.
        x: ``(N, *shape)``; what it holds in the places to be filled does not matter, NaN included.
        mask: True where observed; of the event's shape, or ``(N, *shape)``.
        steps: how many.
        seed: of the numbers to start from and of the noise.
        rate, delay: :math:`\alpha_i` is rate / (delay + i).
        noise: whether to add :math:`\epsilon`, as the authors do.
        largest: the most that a number moves in one step, as a share of the range: the densities
            of images are so steep that a plain step leaps from black to white. None for no limit,
            as the authors; of no effect without a range.
        low, high: the range of real numbers, for all or one each; none if not given. Integers
            have theirs.
        start: what to start from in the missing places, as ``x``; uniform on the range (standard
            normal where there is none) if not given.
        keep: of each event the most probable state seen, or the last one.
        context: ``(N, context)`` for a conditional flow.
        method: ``ascent`` to a mode, or a draw by the ``sampler``.

    Returns:
        ``(N, *shape)``; integers for a flow over integers. Observed numbers are those of ``x``.

    Raises:
        InputError: x, mask, start or range will not do; says what, where, what instead.
        NumericalError: log_prob is NaN on the way.

    Source: Dinh, Krueger and Bengio 2014 (NICE), section 5.3.
    """
    _check(flow, steps, rate, delay, largest, keep, method)
    x = torch.as_tensor(x)
    seen = _mask(flow, mask, x)
    if method == "sampler":
        from .impute import impute

        filled = impute(flow, x, missing=~seen, steps=steps, seed=seed, context=context)
        return torch.from_numpy(filled.draws[0])
    given = _events(flow, torch.where(seen, x, 0), "x")
    context = check_context(context, name=flow.name, size=flow.context, rows=len(given))
    context = None if context is None else context.to(flow.device, flow.dtype)
    seen, whole = seen.to(flow.device), given.to(flow.device)
    least, most = _range(flow, low, high)
    generator = torch.Generator(flow.device).manual_seed(seed)
    observed = _relaxed(flow, whole)
    if start is None:
        hidden = _draw(observed, least, most, generator)
    else:
        begun = torch.where(seen, given.to(x.device), torch.as_tensor(start))
        hidden = _relaxed(flow, _events(flow, begun, "start").to(flow.device))
    limit = (math.inf if largest is None else largest) * (most - least)
    state = torch.where(seen, observed, hidden.clamp(least, most))
    best, most_probable = state, torch.full((len(state),), -math.inf, device=flow.device)
    with flow.evaluating():
        chain, base = _continuous(flow), flow.base
        for i in range(steps + 1):
            with torch.enable_grad():
                leaf = state.detach().requires_grad_()
                z, log_det = chain(leaf, context)
                log_prob = base.log_prob(z) + log_det
                (gradient,) = torch.autograd.grad(log_prob.sum(), leaf)
            _check_finite(flow, log_prob, i)
            better = log_prob.detach() > most_probable
            most_probable = torch.where(better, log_prob.detach(), most_probable)
            best = torch.where(_per_event(better, state), state, best)
            if i == steps:
                break
            if noise:
                gradient = gradient + torch.randn(
                    gradient.shape, generator=generator, device=state.device, dtype=state.dtype
                )
            # A slope beyond all numbers says which way to go as well.
            step = (rate / (delay + i) * gradient.nan_to_num()).clamp(-limit, limit)
            state = torch.where(seen, observed, (state + step).clamp(least, most))
    result = best if keep == "best" else state
    if flow.levels is not None:
        result = (result * flow.levels).floor().clamp(0, flow.levels - 1)
    return torch.where(seen, whole, result.to(whole.dtype))


def _per_event(flags: Tensor, like: Tensor) -> Tensor:
    return flags.reshape(-1, *(1 for _ in like.shape[1:]))


def _continuous(flow: Flow) -> Chain:
    """The layers after dequantisation, by which real numbers have a density."""
    layers = list(flow.chain)
    rest = layers[1:] if flow.levels is not None else layers
    if any(isinstance(part, Noisy) for layer in rest for part in layer.modules()):
        raise InputError(
            f"{flow.name} draws noise on its way to the latents, so that its density has no slope "
            f"to climb. Inpaint by a flow whose only noise is that of its first layer."
        )
    return Chain(rest)


def _relaxed(flow: Flow, events: Tensor) -> Tensor:
    """Integers at the middle of their cells in [0, 1]; real numbers as they are."""
    if flow.levels is None:
        return events.to(flow.dtype)
    return (events.to(flow.dtype) + 0.5) / flow.levels


def _draw(like: Tensor, low: Tensor, high: Tensor, generator: torch.Generator) -> Tensor:
    """Numbers to start from."""
    bounded = torch.isfinite(low) & torch.isfinite(high)
    options: dict[str, Any] = {
        "generator": generator,
        "dtype": like.dtype,
        "device": like.device,
    }
    normal = torch.randn(like.shape, **options)
    uniform = torch.rand(like.shape, **options)
    width = torch.where(bounded, high - low, 0)
    return torch.where(bounded, torch.where(bounded, low, 0) + width * uniform, normal)


# What is asked of the input --------------------------------------------------------------------


def _check(
    flow: Any,
    steps: int,
    rate: float,
    delay: float,
    largest: float | None,
    keep: str,
    method: str,
) -> None:
    if not isinstance(flow, Flow):
        kind = getattr(flow, "name", type(flow).__name__)
        raise InputError(f"inpaint climbs the density of a flow; {kind} is none.")
    if steps < 0 or not rate > 0 or not delay > 0:
        raise InputError(
            f"inpaint needs steps of at least 0, and rate and delay above 0; got {steps}, {rate}, "
            f"{delay}."
        )
    if largest is not None and not largest > 0:
        raise InputError(f"inpaint: largest is a share of the range above 0; got {largest}.")
    if method not in ("ascent", "sampler"):
        raise InputError(f"inpaint fills in by 'ascent' or 'sampler'; got {method!r}.")
    if keep not in ("best", "last"):
        raise InputError(f"inpaint keeps the 'best' or the 'last' state; got {keep!r}.")


def _events(flow: Flow, values: Tensor, what: str) -> Tensor:
    name = f"inpaint ({what}) of {flow.name}"
    return check_events(values, name=name, shape=flow.shape, levels=flow.levels)


def _mask(flow: Flow, mask: Any, x: Tensor) -> Tensor:
    seen = torch.as_tensor(mask)
    if seen.dtype != torch.bool:
        raise InputError(f"a mask must be Boolean (True = observed); got dtype {seen.dtype}.")
    if tuple(seen.shape) not in (flow.shape, (len(x), *flow.shape)):
        raise InputError(
            f"a mask for {len(x)} events of shape {flow.shape} is of that shape or "
            f"{(len(x), *flow.shape)}; got {tuple(seen.shape)}."
        )
    if tuple(x.shape[1:]) != flow.shape:  # said by check_events, in its words
        _events(flow, x, "x")
    return seen.expand(x.shape).to(x.device)


def _range(flow: Flow, low: Bound, high: Bound) -> tuple[Tensor, Tensor]:
    """The bounds, of the event's shape or of none, infinite where there is none."""
    if flow.levels is not None:
        if low is not None or high is not None:
            raise InputError(
                f"{flow.name} is over integers, whose range is known: leave out low and high."
            )
        low, high = 0.0, 1.0
    bounds = []
    for value, none in ((low, -math.inf), (high, math.inf)):
        bound = torch.as_tensor(none if value is None else value).to(flow.device, flow.dtype)
        try:
            bound.expand(flow.shape)
        except RuntimeError:
            raise InputError(
                f"a bound is one number or of the shape {flow.shape}; got {tuple(bound.shape)}."
            ) from None
        bounds.append(bound)
    if not bool((bounds[0] < bounds[1]).all()):
        raise InputError(f"inpaint needs low below high; got {low} and {high}.")
    return bounds[0], bounds[1]


def _check_finite(flow: Flow, log_prob: Tensor, step: int) -> None:
    count = int(torch.isnan(log_prob).sum())
    if count:
        raise NumericalError(
            f"inpaint: the log_prob of {flow.name} is NaN for {count} of {len(log_prob)} events at "
            f"step {step}. Give low and high, or a smaller rate."
        )
