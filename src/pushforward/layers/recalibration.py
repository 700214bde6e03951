"""Exact statistics for batch norms, in place of running averages that lag behind the weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sized
from typing import Any

import torch
from torch import Tensor, nn

from ..moments import RunningMoments
from .norm import Collected, FlowBatchNorm

__all__ = ["recalibrate"]


@torch.no_grad()
def recalibrate(
    flow: nn.Module,
    batches: Iterable[Any],
) -> dict[str, float]:
    """Replace the running averages of every batch norm in a flow by moments of a data set.

    Running averages look back over some ten batches and lag behind the weights.

    * One batch takes one pass: every batch norm, in order, stores the exact moments of what
      reaches it and goes by them at once.
    * Several batches take one pass that gives the batch norms inside conditioners the average of
      their batch moments, and then, one pass for each and in order, every ``FlowBatchNorm`` the
      exact moments of what reaches it in evaluation mode. The first pass still goes by the old
      averages of the ``FlowBatchNorm``; repeated, this way arrives where the single pass does.

    Args:
        flow: a ``Flow`` or any layer; its mode is restored afterwards.
        batches: a list or a loader that can be walked through repeatedly; each item is a batch, or
            a tuple ``(batch, context)``.

    Returns:
        the drift of each ``FlowBatchNorm`` by name: how far its standard deviations have moved
        from the running to the exact ones, as the largest factor over its channels, up or down
        (1.0 is no drift).
    """
    if iter(batches) is batches:  # a generator, good for one pass only
        batches = list(batches)
    modes = {module: module.training for module in flow.modules()}
    norms = {n: m for n, m in flow.named_modules() if isinstance(m, FlowBatchNorm)}
    running = {name: norm.moments.estimate()[1] for name, norm in norms.items()}
    try:
        if isinstance(batches, Sized) and len(batches) == 1:
            _calibrate(flow, batches)
        else:
            _average_moments(flow, norms.values(), batches)
            flow.eval()
            for norm in norms.values():
                _collect_moments(flow, norm, batches)
    finally:
        for module, training in modes.items():
            module.training = training
    return {name: _drift(norm, running[name]) for name, norm in norms.items()}


def _drift(norm: FlowBatchNorm, running: Tensor) -> float:
    """The largest factor by which a standard deviation has moved from its ``running`` variance."""
    change = (norm.moments.estimate()[1] + norm.eps) / (running + norm.eps)
    return float(torch.where(norm.count > 0, change.log().abs(), 0).max().mul(0.5).exp())


def _calibrate(flow: nn.Module, batches: Iterable[Any]) -> None:
    """One pass in evaluation mode in which each batch norm takes the moments of what reaches it."""
    moments = [m for m in flow.modules() if isinstance(m, RunningMoments)]
    flow.eval()
    try:
        for m in moments:
            m.calibrating = True
        _walk(flow, batches)
    finally:
        for m in moments:
            m.calibrating = False


def _collect_moments(flow: nn.Module, norm: FlowBatchNorm, batches: Iterable[Any]) -> None:
    """One pass that gives one norm the exact moments of what reaches it."""
    norm.moments.start_exact()
    try:
        _walk(flow, batches)
    finally:
        norm.moments.finish_exact()


def _average_moments(
    flow: nn.Module, norms: Iterable[FlowBatchNorm], batches: Iterable[Any]
) -> None:
    """One pass in which the conditioners' batch norms take the plain average of their batches."""
    inside = {id(norm.moments) for norm in norms}
    moments = [m for m in flow.modules() if isinstance(m, RunningMoments) and id(m) not in inside]
    if not moments:
        return
    rates = [m.rate for m in moments]
    flow.train()
    for module in flow.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    for norm in norms:
        norm.eval()
    try:
        for m in moments:
            m.weight.zero_()
        for index, batch in enumerate(batches):
            for m in moments:
                m.rate = 1 / (index + 1)
            _walk(flow, [batch])
    finally:
        for m, rate in zip(moments, rates, strict=True):
            m.rate = rate


def _walk(flow: nn.Module, batches: Iterable[Any]) -> None:
    for batch in batches:
        x, context = batch if isinstance(batch, (tuple, list)) else (batch, None)
        with contextlib.suppress(Collected):
            flow(x, context)
