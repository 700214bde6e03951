"""Exact statistics for batch norms, in place of running averages that lag behind the weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from ..moments import RunningMoments
from .norm import Collected, FlowBatchNorm

__all__ = ["recalibrate"]


@torch.no_grad()
def recalibrate(
    flow: nn.Module,
    batches: Iterable[Any],
) -> dict[str, float]:
    """Replace the running averages of every batch norm in a flow by moments of a data set.

    Running averages look back over some ten batches and lag behind the weights. This gives the
    batch norms inside conditioners the average of their batch moments in one pass, and then, one
    pass for each and in order, every ``FlowBatchNorm`` the exact moments of what reaches it in
    evaluation mode.

    Args:
        flow: a ``Flow`` or any layer; its mode is restored afterwards.
        batches: a list or a loader that can be walked through repeatedly; each item is a batch, or
            a tuple ``(batch, context)``.

    Returns:
        for each ``FlowBatchNorm`` by name, the largest change of its standard deviation as a
        factor (1.0 is no drift).
    """
    if iter(batches) is batches:  # a generator, good for one pass only
        batches = list(batches)
    modes = {module: module.training for module in flow.modules()}
    norms = {n: m for n, m in flow.named_modules() if isinstance(m, FlowBatchNorm)}
    inside = {id(norm.moments) for norm in norms.values()}
    others = [m for m in flow.modules() if isinstance(m, RunningMoments) and id(m) not in inside]
    drift: dict[str, float] = {}
    try:
        if others:
            _average_moments(flow, others, norms.values(), batches)
        flow.eval()
        for name, norm in norms.items():
            before = norm.moments.estimate()[1] + norm.eps
            norm.moments.start_exact()
            try:
                _walk(flow, batches)
            finally:
                norm.moments.finish_exact()
            after = norm.moments.estimate()[1] + norm.eps
            change = torch.where(norm.count > 0, (after / before).log().abs(), 0)
            drift[name] = float(change.max().mul(0.5).exp())
    finally:
        for module, training in modes.items():
            module.training = training
    return drift


def _average_moments(
    flow: nn.Module,
    moments: list[RunningMoments],
    norms: Iterable[FlowBatchNorm],
    batches: Iterable[Any],
) -> None:
    """One pass in which the conditioners' batch norms take the plain average of their batches."""
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
