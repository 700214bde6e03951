"""Constant memory for a ``RowStack``: on the way back rows are restored, some at a time.

The same as ``reversible.py`` does layer by layer, by the handwritten steps of ``row_steps.py``. Its
rows do not influence one another, so a chunk of them goes all the way back before the next one
does, and what it needs stays in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .monitor import Monitor
from .reversible import check_versions, versions_of
from .row_stack import RowStack, _watched
from .row_steps import CouplingStep, Gradients, Step

__all__ = ["covers", "restored_rows"]


def covers(stack: RowStack, x: Tensor, context: Tensor | None) -> bool:
    """Whether ``restored_rows`` can do for such a batch what the layers would.

    The batch is what enters ``stack.layers``: what is in front of them has been applied.
    """
    weights = [values[name] for values, name in stack.slots]
    return not _watched() and stack._covers(x, context, weights)


def restored_rows(
    stack: RowStack, names: Sequence[str], x: Tensor, context: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Apply a stack that ``covers`` x, keeping its output only; errors as in ``restored``."""
    weights = [values[name] for values, name in stack.slots]
    return _Rows.apply(stack, names, x, context, *weights)


class _Rows(torch.autograd.Function):
    """A stack in the graph that keeps its output."""

    @staticmethod
    def forward(
        ctx: Any,
        stack: RowStack,
        names: Sequence[str],
        x: Tensor,
        context: Tensor | None,
        *weights: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Apply the steps to one chunk after the other."""
        ctx.monitor = Monitor(x, watched=x[: _rows_at_a_time(stack)])
        ctx.samples = []
        z, log_det = torch.empty_like(x), x.new_zeros(len(x))
        for rows in _chunks(stack, x):
            part = None if context is None else context[rows]
            own = x[rows].clone(memory_format=torch.contiguous_format)
            for step, share in zip(stack.steps, stack.shares, strict=True):
                if rows.start == 0 and isinstance(step, CouplingStep):
                    ctx.samples.append(ctx.monitor.sample(own))
                own = step.forward(own, log_det[rows], part, weights[share], None)
            z[rows] = own
        ctx.stack, ctx.names, ctx.versions = stack, names, versions_of(weights)
        ctx.save_for_backward(z, context, *weights)
        return z, log_det

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_z: Tensor, of_log_det: Tensor) -> tuple[Any, ...]:
        """Restore and differentiate one chunk after the other."""
        check_versions(ctx.versions, f"{ctx.names[0]} to {ctx.names[-1]}")
        stack, monitor = ctx.stack, ctx.monitor
        z, context, *weights = ctx.saved_tensors
        monitor.start(z)
        x, of_x = torch.empty_like(z), torch.empty_like(z)
        of_context = torch.zeros_like(context) if ctx.needs_input_grad[3] else None
        found: list[Tensor | None] = [None] * len(weights)
        for rows in _chunks(stack, z):
            samples = list(ctx.samples) if rows.start == 0 else []
            part = None if context is None else context[rows]
            g = Gradients(
                of_z[rows].clone(memory_format=torch.contiguous_format),
                of_log_det[rows, None],
                None if of_context is None else of_context[rows],
                any(ctx.needs_input_grad[4:]),
            )
            own = z[rows].clone()
            named = zip(stack.steps, stack.shares, ctx.names, strict=True)
            for step, share, name in reversed(list(named)):
                watch = samples and isinstance(step, CouplingStep)
                after = monitor.sample(own) if watch else None
                tape: list[Tensor] = []
                own = _retrace(step, own, part, weights[share], tape)
                if after is not None:
                    monitor.compare(name, samples.pop(), own, after)
                _add(found, share, step.backward(g, weights[share], tape, False))
            x[rows], of_x[rows] = own, g.x
        monitor.judge(x)
        return None, None, of_x, of_context, *found


def _retrace(
    step: Step, z: Tensor, context: Tensor | None, weights: Sequence[Tensor], tape: list[Tensor]
) -> Tensor:
    """Restore x from z, perhaps in place, with the tape that ``step.forward`` leaves at x."""
    if isinstance(step, CouplingStep):  # with one evaluation of the network
        parameters, shift, s = step._parameters(z, context, weights, tape)
        scale = s.exp_()
        place: Any = step.changed
        changed = z[:, place].sub_(shift).div_(scale)
        tape += (changed, parameters, scale)
        return z
    scratch = z.new_zeros(len(z))
    x = step.inverse(z, scratch, context, weights, None)
    step.forward(x, scratch, context, weights, tape)
    return x


def _chunks(stack: RowStack, x: Tensor) -> Iterator[slice]:
    size = _rows_at_a_time(stack)
    return (slice(start, start + size) for start in range(0, len(x), size))


def _rows_at_a_time(stack: RowStack) -> int:
    """Fewer than in evaluation, for here a chunk leaves a tape; yet its gradients cost a sum."""
    return stack.chunk // 2


def _add(found: list[Tensor | None], share: slice, more: Sequence[Tensor | None]) -> None:
    """Add the gradients of another chunk by the weights of one step."""
    for index, gradient in zip(range(share.start, share.stop), more, strict=True):
        present = found[index]
        found[index] = gradient if present is None or gradient is None else present.add_(gradient)
