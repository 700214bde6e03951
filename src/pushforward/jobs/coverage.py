"""Are the intervals of a model right? How often they hold what happened, column by column."""

from __future__ import annotations

import dataclasses
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..checks import check_context, check_events
from ..errors import InputError
from ..flow import Flow

__all__ = ["LEVELS", "Coverage", "coverage"]

LEVELS = (0.5, 0.8, 0.9, 0.95)

_AT_A_TIME = 2**16
"""Draws in memory, for about so many numbers a column."""


@dataclass(frozen=True, kw_only=True)
class Coverage:
    r"""How often central intervals of a model's draws held the truth. It prints as a table.

    An interval of level p that is right holds it with chance p; the standard error of the share
    that was found is :math:`\sqrt{p (1 - p) / N}`.

    Attributes:
        flow: the model's name.
        names: of the D columns.
        events: N.
        draws: from which each interval is made.
        levels: the L levels p.
        covered: ``(D, L)``: the share of events within.
        error: ``(L,)``: its standard error if the model is right.
        pit: ``(N, D)``: the place of each value among its draws, between 0 and 1; uniform if the
            model is right.
        distance: ``(D,)``: the largest distance of the distribution of ``pit`` from the uniform
            one (Kolmogorov and Smirnov); above 1.36 / sqrt(N) with chance 5 % if it is right.
    """

    flow: str
    names: tuple[str, ...]
    events: int
    draws: int
    levels: tuple[float, ...]
    covered: np.ndarray
    error: np.ndarray
    pit: np.ndarray
    distance: np.ndarray

    @property
    def largest(self) -> float:
        """The largest departure from a level, in standard errors."""
        return float(np.abs((self.covered - np.array(self.levels)) / self.error).max())

    @property
    def sentences(self) -> str:
        """What the numbers mean."""
        return (
            "An interval of 90 % that is right holds 90 % of the events: fewer, and the model is "
            f"too sure; more, and it is too wide. The error is one standard error. The distance "
            f"between the places of the values among their draws and uniform ones is above "
            f"{1.36 / math.sqrt(self.events):.3f} in 1 of 20 columns that are right."
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything but the places of single events, ready for JSON."""
        content = dataclasses.asdict(self)
        del content["pit"]
        lists = ("covered", "error", "distance")
        return {k: v.tolist() if k in lists else v for k, v in content.items()}

    def __str__(self) -> str:
        width = max(6, *(len(name) for name in self.names))
        heads = "".join(f"{_percent(level):>9}" for level in self.levels)
        lines = [f"  {'column':<{width}}{heads}{'distance':>11}"]
        for name, shares, distance in zip(self.names, self.covered, self.distance, strict=True):
            cells = "".join(f"{100 * share:>8.1f} " for share in shares)
            lines.append(f"  {name:<{width}}{cells}{distance:>11.3f}")
        cells = "".join(f"{100 * error:>8.1f} " for error in self.error)
        lines.append(f"  {'error':<{width}}{cells}")
        head = f"coverage of central intervals, {self.events:,} events, {self.draws} draws each"
        return "\n".join([head, *lines, textwrap.fill(self.sentences, 80)])


def coverage(
    flow: Flow,
    x: Any,
    context: Any = None,
    *,
    draws: int = 199,
    levels: Sequence[float] = LEVELS,
    names: Sequence[str] | None = None,
    seed: int = 0,
) -> Coverage:
    r"""Check the intervals of a model of rows, each given its context, on rows it has not seen.

    .. math:: u_{nj} = \frac{\#\{k: x^{(k)}_{nj} < x_{nj}\} + e_{nj}}{K + 1}, \qquad
              x^{(k)}_n \sim q(x \mid c_n)

    with :math:`e` uniform between 0 and 1 + the number of draws that equal :math:`x_{nj}`, as
    integers may. Such ranks are uniform if :math:`x_n \sim q(\cdot \mid c_n)`, whatever the number
    of draws. An interval of level p holds :math:`x_{nj}` where :math:`|u_{nj} - 1/2| \le p / 2`.

    Args:
        flow: of rows ``(D,)``, conditional or not.
        x: ``(N, D)``, rows that were not trained on.
        context: ``(N, K)`` for a conditional flow.
        draws: K, for each row.
        levels: of the intervals, between 0 and 1.
        names: of the columns; x0, x1, ... if None.
        seed: of the draws.

    Raises:
        InputError: images, no rows, or an argument that is out of range.

    Example:
        >>> print(coverage(flow, x_test, c_test))  # doctest: +SKIP

    Source: Talts et al. 2018 (ranks among draws); Gneiting et al. 2007 (PIT, randomised for
    discrete values).
    """
    if len(flow.shape) != 1:
        raise InputError(
            f"coverage is of the columns of rows; {flow.name} is over events of shape {flow.shape}."
        )
    if draws < 1:
        raise InputError(f"coverage: draws must be at least 1; got {draws}.")
    if not levels or not all(0 < level < 1 for level in levels):
        raise InputError(f"coverage: levels lie between 0 and 1, such as 0.9; got {list(levels)}.")
    x = check_events(x, name=flow.name, shape=flow.shape, levels=flow.levels)
    if not len(x):
        raise InputError(f"coverage of {flow.name} got no rows; give at least one.")
    given = check_context(context, name=flow.name, size=flow.context, rows=len(x))
    names = tuple(names or (f"x{i}" for i in range(flow.dims)))
    if len(names) != flow.dims:
        raise InputError(f"coverage: {flow.dims} columns have as many names; got {len(names)}.")
    pit = _places(flow, x, given, draws, seed)
    place = np.sort(pit, axis=0)
    step = np.arange(len(x) + 1)[:, None] / len(x)
    distance = np.maximum(np.abs(place - step[1:]), np.abs(place - step[:-1])).max(axis=0)
    found = [(np.abs(pit - 0.5) <= level / 2).mean(axis=0) for level in levels]
    at = np.array(levels)
    return Coverage(
        flow=flow.name,
        names=names,
        events=len(x),
        draws=draws,
        levels=tuple(levels),
        covered=np.stack(found, axis=1),
        error=np.sqrt(at * (1 - at) / len(x)),
        pit=pit,
        distance=distance,
    )


def _places(
    flow: Flow, x: torch.Tensor, given: torch.Tensor | None, draws: int, seed: int
) -> np.ndarray:
    """The randomised rank of each value among its draws, as a share: ``(N, D)``."""
    generator = torch.Generator(flow.device).manual_seed(seed)
    chance = np.random.default_rng(seed)
    size = max(1, _AT_A_TIME // draws)
    parts = []
    for start in range(0, len(x), size):
        rows = x[start : start + size].cpu().double()
        n = len(rows)
        context = None
        if given is not None:  # each row's context, once for each of its draws
            context = given[start : start + size].repeat_interleave(draws, dim=0)
        drawn = flow.sample(n * draws, context=context, generator=generator)
        drawn = drawn.cpu().double().reshape(n, draws, -1)
        below = (drawn < rows[:, None]).sum(1).numpy()
        equal = (drawn == rows[:, None]).sum(1).numpy()
        parts.append((below + chance.random(below.shape) * (equal + 1)) / (draws + 1))
    return np.concatenate(parts)


def _percent(level: float) -> str:
    return f"{100 * level:g} %"
