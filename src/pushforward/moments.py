"""Means and variances that batch normalisation keeps: running in training, exact on demand."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

__all__ = ["RunningMoments", "has_batch_norms", "sharing_statistics"]


class RunningMoments(nn.Module):
    r"""A running mean and biased variance of C channels, free of start-up bias.

    .. math:: m \leftarrow (1-\rho)\, m + \rho\, \hat\mu, \qquad w \leftarrow (1-\rho)\, w + \rho

    with :math:`m, w` from zero; the estimate is :math:`m / w` (and likewise for the variance), so
    it is a true weighted average of batches from the first one on. Before any batch the estimate
    is mean 0, variance 1.

    Between ``start_exact`` and ``finish_exact`` the module instead adds up count, sum and sum of
    squares in float64 and then stores the exact moments of all that it saw.

    Attributes:
        group: the processes whose events count as one batch (see ``sharing_statistics``), or None.
        calibrating: whether each batch replaces the averages (see ``calibrate``).
    """

    mean: Tensor
    variance: Tensor
    weight: Tensor

    def __init__(self, shape: tuple[int, ...], rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("variance", torch.zeros(shape))
        self.register_buffer("weight", torch.zeros(()))
        self._sums: list[Tensor] | None = None
        self.group: dist.ProcessGroup | None = None
        self.calibrating = False

    def takes(self, x: Tensor) -> bool:
        """Whether a batch is to be measured: an empty one only if other processes wait for it."""
        return x.shape[0] > 0 or self.group is not None

    def of_batch(
        self, x: Tensor, kept: Tensor | None = None, changed: Tensor | None = None
    ) -> tuple[Tensor, Tensor, int | Tensor]:
        r"""The mean and biased variance of a batch, in two steps, and its number of events.

        .. math:: \hat\mu = \frac{1}{n} \sum_i x_i, \qquad
                  \hat\sigma^2 = \frac{1}{n} \sum_i (x_i - \hat\mu)^2

        Sums run over the events of all processes of ``group``, and gradients flow through them.

        Shapes: x ``(N, C, ...)``; mean and variance the shape of this module, float32 or float64.

        Args:
            x: the batch, or this process's part of it, which may be empty.
            kept: Boolean ``(C, ...)``, True where an element does not count; None counts all.
            changed: how many elements of an event count, per channel; needed with ``kept``.
        """
        over = (0, *range(2, x.ndim))
        x = x.to(torch.promote_types(x.dtype, torch.float32))  # a sum in bfloat16 is useless
        counted = x if kept is None else torch.where(kept, 0, x)
        total, events = counted.sum(over), x.shape[0]
        per_event = math.prod(x.shape[2:]) if changed is None else changed
        count: Any = per_event * events
        if self.group is not None:
            own = torch.cat((total, torch.full_like(total[:1], events)))  # (C + 1,): one message
            sums = _SumOverProcesses.apply(own, self.group)
            total, events = sums[:-1], sums[-1].detach()
            count = per_event * events
        count = count.clamp(min=1) if isinstance(count, Tensor) else max(count, 1)
        mean = total.reshape_as(self.mean) / count
        centred = x - mean if kept is None else torch.where(kept, 0, x - mean)
        squares = centred.square().sum(over)
        if self.group is not None:
            squares = _SumOverProcesses.apply(squares, self.group)
        return mean, squares.reshape_as(self.mean) / count, events

    @property
    def collecting(self) -> bool:
        """Whether exact moments are being added up."""
        return self._sums is not None

    def estimate(self) -> tuple[Tensor, Tensor]:
        """The mean and variance as they stand."""
        empty = self.weight == 0
        weight = torch.where(empty, 1.0, self.weight)
        return self.mean / weight, torch.where(empty, 1.0, self.variance / weight)

    def blend(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """The estimate after one more batch, with the gradient of that batch's share only."""
        keep = 1 - self.rate
        weight = _kept(keep * self.weight + self.rate)
        return (
            _kept((keep * self.mean + self.rate * mean) / weight),
            _kept((keep * self.variance + self.rate * variance) / weight),
        )

    @torch.no_grad()
    def update(self, mean: Tensor, variance: Tensor) -> None:
        """Take one more batch into the running averages."""
        self.mean.lerp_(mean.to(self.mean), self.rate)
        self.variance.lerp_(variance.to(self.variance), self.rate)
        # By a view: torch.compile (2.13) forgets what is written to a float64 scalar.
        self.weight.view(1).lerp_(torch.ones_like(self.weight).view(1), self.rate)

    @torch.no_grad()
    def calibrate(
        self, x: Tensor, kept: Tensor | None = None, changed: Tensor | None = None
    ) -> None:
        """Let the exact moments of a batch (arguments of ``of_batch``) replace the averages."""
        if not self.takes(x):
            return
        mean, variance, events = self.of_batch(x, kept, changed)
        if x.shape[0] or int(events):
            self._store(mean, variance)

    def start_exact(self) -> None:
        """Begin to add up exact moments."""
        zeros = torch.zeros_like(self.mean, dtype=torch.float64)
        self._sums = [zeros.clone(), zeros.clone(), zeros.clone()]

    @torch.no_grad()
    def collect(self, count: Tensor | float, total: Tensor, squares: Tensor) -> None:
        """Add the count, sum and sum of squares of a batch, per channel."""
        if self._sums is None:
            raise RuntimeError("collect() comes between start_exact() and finish_exact()")
        for store, value in zip(self._sums, (count, total, squares), strict=True):
            store += value

    @torch.no_grad()
    def finish_exact(self) -> None:
        """Store the exact moments, unless nothing was seen."""
        sums, self._sums = self._sums, None
        if sums is not None and self.group is not None:
            for store in sums:
                dist.all_reduce(store, group=self.group)
        if sums is None or not bool((sums[0] > 0).any()):
            return
        count = sums[0].clamp(min=1)
        mean = sums[1] / count
        self._store(mean, (sums[2] / count - mean**2).clamp(min=0))

    def _store(self, mean: Tensor, variance: Tensor) -> None:
        self.mean.copy_(mean)
        self.variance.copy_(variance)
        self.weight.fill_(1)

    def extra_repr(self) -> str:
        """Show size and rate."""
        return f"shape={tuple(self.mean.shape)}, rate={self.rate}"


def _kept(value: Tensor) -> Tensor:
    """The value, kept for the gradient where the graph is compiled.

    A compiled backward pass computes cheap things anew, here from averages that the update has
    changed by then (torch 2.13 gives wrong gradients without a word). A running sum, over a
    dimension of one, is the same number and is kept.
    """
    return value[None].cumsum(0)[0] if torch.compiler.is_compiling() else value


class _SumOverProcesses(torch.autograd.Function):
    """A sum over the processes of a group; so is its gradient, as each of their losses has one."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, group: dist.ProcessGroup) -> Tensor:
        """Add up ``values``, of the same shape in every process."""
        ctx.group = group
        total = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Add up the gradients of the processes' losses by the common sum."""
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=ctx.group)
        return total, None


@contextlib.contextmanager
def sharing_statistics(flow: nn.Module, group: dist.ProcessGroup | None = None) -> Iterator[None]:
    """Within it, the parts of a batch that processes hold count as one batch in every batch norm.

    In training mode each process then gets the outputs that one process with the whole batch
    would. Each runs forward and backward equally often, also on an empty part, and sums its loss
    over its events: the gradients, added up over the processes, are those of the whole batch. So
    are the running averages. ``recalibrate`` shares too, if all walk through as many batches.

    Args:
        flow: a ``Flow`` or any module; what was shared before is restored afterwards.
        group: the processes; all of them by default. Without any, or alone, nothing is shared.
    """
    if group is None and dist.is_available() and dist.is_initialized():
        group = dist.group.WORLD
    if group is not None and dist.get_world_size(group) == 1:
        group = None
    before = [(m, m.group) for m in flow.modules() if isinstance(m, RunningMoments)]
    try:
        for moments, _ in before:
            moments.group = group
        yield
    finally:
        for moments, old in before:
            moments.group = old


def has_batch_norms(flow: nn.Module) -> bool:
    """Whether a flow holds batch norms, in its layers or conditioners, that go by averages."""
    return any(isinstance(module, RunningMoments) for module in flow.modules())
