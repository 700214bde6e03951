"""How well a flow describes data: the mean log-likelihood and its error, the worst event."""

from __future__ import annotations

import dataclasses
import math
import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..checks import check_context, check_events
from ..errors import InputError
from ..flow import Flow
from ..scoring import score

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    r"""The log-likelihood of a data set under a flow. It prints as a few lines.

    Standard errors are :math:`s / \sqrt{N}`, of the mean over the N events; None for one event and
    where a log_prob is infinite.

    Attributes:
        flow: the flow's name.
        events: N.
        log_prob: the mean, nats per event.
        log_prob_error: its standard error, nats.
        median: of the log_prob, nats.
        worst_index: the event of the lowest log_prob, counted from 0.
        worst: that log_prob, nats.
        bits_per_dim: the mean for a discrete flow; None for a continuous one.
        bits_per_dim_error: its standard error, bits/dim.
        unit: the unit of the loss that training prints, ``bits/dim`` or ``nats``.
        exact: whether log_prob is an equality, or a lower bound.
        samples: draws of noise per event behind that bound; 1 where it is exact.
        single: with several draws, the loss by one of them, as papers report it; else None.
        single_error: its standard error, in ``unit``.
    """

    flow: str
    events: int
    log_prob: float
    log_prob_error: float | None
    median: float
    worst_index: int
    worst: float
    bits_per_dim: float | None
    bits_per_dim_error: float | None
    unit: str
    exact: bool
    samples: int
    single: float | None = None
    single_error: float | None = None

    @property
    def loss(self) -> float:
        """The mean loss in ``unit``: bits/dim, or the negative log-density in nats per event."""
        return -self.log_prob if self.bits_per_dim is None else self.bits_per_dim

    @property
    def loss_error(self) -> float | None:
        """The standard error of the loss, in ``unit``; None where there is none."""
        return self.log_prob_error if self.bits_per_dim is None else self.bits_per_dim_error

    @property
    def sentences(self) -> str:
        """What the numbers mean, for a reader who meets them for the first time."""
        if not math.isfinite(self.log_prob):
            return (
                f"Event {self.worst_index:,} (the first is 0) is so far from what the model "
                f"learned that its log_prob is infinite, and so is the mean."
            )
        draws = "one draw" if self.samples == 1 else f"{self.samples} draws"
        if self.bits_per_dim is None:
            said = "Nats per event, in the units of the data: compare only on the same data."
            if self.log_prob > 0:
                said += (
                    " The negative log-likelihood is below 0, which is fine: a density, unlike a "
                    "probability, may exceed 1."
                )
            if not self.exact:
                said += f" A lower bound, from {draws} of noise per event."
            return said
        said = "Bits per number that lossless coding by this flow needs: fewer is better."
        if not self.exact:
            said += f" An upper bound, from {draws} of noise per event."
        return said

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON: infinite numbers become strings such as "-inf"."""
        return {
            name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in {"loss": self.loss, **dataclasses.asdict(self)}.items()
        }

    def __str__(self) -> str:
        rows = [("events", f"{self.events:,}")]
        if self.bits_per_dim is not None:
            draws = f", {self.samples:,} draws" if self.single is not None else ""
            error = _plus_minus(self.bits_per_dim_error, ".4f")
            rows.append((f"bits/dim{draws}", f"{self.bits_per_dim:.4f}{error}"))
        if self.single is not None:
            error = _plus_minus(self.single_error, ".4f")
            rows.append(("bits/dim, 1 draw", f"{self.single:.4f}{error}"))
        mean = f"{self.log_prob:,.3f}{_plus_minus(self.log_prob_error, ',.3f')} nats per event"
        rows.append(("log_prob, mean", mean))
        rows.append(("log_prob, median", f"{self.median:,.3f} nats"))
        rows.append(("log_prob, worst", f"{self.worst:,.3f} nats, event {self.worst_index:,}"))
        width = max(17, *(len(name) for name, _ in rows))
        lines = [f"  {name:<{width}} {value}" for name, value in rows]
        return "\n".join([self.flow, *lines, textwrap.fill(self.sentences, 80)])


def evaluate(
    flow: Flow,
    x: Any,
    context: Any = None,
    *,
    samples: int = 1,
    batch_size: int | None = None,
) -> Evaluation:
    """Score every event of ``x`` and sum up.

    Args:
        flow: any flow.
        x: ``(N, *shape)``, array or tensor; memory-mapped arrays are read batch by batch.
        context: for a conditional flow, ``(N, K)``, or ``(K,)`` for all.
        samples: draws of noise per event of a discrete flow; more make the bound tighter
            (importance-weighted). Papers report 1, which is then told beside it. An exact flow
            needs none.
        batch_size: events at a time; chosen by size if None.

    Raises:
        InputError: no events, events that cannot be scored, or fewer than one sample.
        NumericalError: a log_prob is NaN.

    Example:
        >>> print(evaluate(flow, test))  # doctest: +SKIP
    """
    for name, number in (("samples", samples), ("batch_size", batch_size)):
        if number is not None and number < 1:
            raise InputError(f"evaluate: {name} must be at least 1; got {number}.")
    if not isinstance(x, torch.Tensor | np.ndarray) or tuple(x.shape[1:]) != flow.shape:
        x = check_events(x, name=flow.name, shape=flow.shape, levels=flow.levels)
    if len(x) == 0:
        raise InputError(f"evaluate of {flow.name} got no events; give at least one.")
    context = check_context(context, name=flow.name, size=flow.context, rows=len(x))
    samples = 1 if flow.exact else samples
    log_prob = score(flow, x, context, samples=samples, batch_size=batch_size)
    mean, error = _mean(log_prob)
    single, single_error = None, None
    if samples > 1:
        single, single_error = _mean(-score(flow, x, context, batch_size=batch_size))
    bits = math.log(2) * flow.dims if flow.levels is not None else None
    return Evaluation(
        flow=flow.name,
        events=len(log_prob),
        log_prob=mean,
        log_prob_error=error,
        median=float(np.median(log_prob)),
        worst_index=int(log_prob.argmin()),
        worst=float(log_prob.min()),
        bits_per_dim=None if bits is None else -mean / bits,
        bits_per_dim_error=None if bits is None or error is None else error / bits,
        unit=flow.unit,
        exact=flow.exact,
        samples=samples,
        single=None if bits is None or single is None else single / bits,
        single_error=None if bits is None or single_error is None else single_error / bits,
    )


def _mean(values: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, float | None]:
    """The mean and its standard error."""
    mean = float(values.mean())
    if len(values) < 2 or not math.isfinite(mean):
        return mean, None
    return mean, float(values.std(ddof=1) / math.sqrt(len(values)))


def _plus_minus(error: float | None, form: str) -> str:
    return "" if error is None else f" ± {error:{form}}"
