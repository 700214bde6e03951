"""A run of layers over rows as one node of the graph; see fusion.py for when it is used."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks

from .row_steps import Gradients, Step, Tape, Weights

if TYPE_CHECKING:
    from .layer import Layer

__all__ = ["RowStack"]

_CHUNK = 2**19
"""Numbers of the widest activation in a chunk without gradients: 2 MB in float32. Less would stay
in a nearer cache, but then the cost of a call weighs more than what is gained."""


@functools.cache
def _keep_heap() -> None:
    """Let the C library keep freed memory of activations' size for the next ones.

    glibc gives blocks back to the system, page by page, above a threshold that follows the
    largest block ever freed. Until then each chunk pays for its pages anew: up to twice the time.
    The block is never touched, so that it takes no memory itself.
    """
    torch.empty(31 << 20, dtype=torch.uint8)


class RowStack:
    """Layers over rows, among them a coupling, that act as one; called like a layer.

    Args:
        layers: what it stands for.
        steps: those of all layers but the first ones (``Standardize``), which stay as they are.
    """

    def __init__(self, layers: Sequence[Layer], steps: Sequence[Step]) -> None:
        bare = len(layers) - len(steps)
        self.front, self.layers, self.steps = layers[:bare], layers[bare:], steps
        ends = [0, *itertools.accumulate(len(step.slots) for step in steps)]
        self.shares = [slice(a, b) for a, b in itertools.pairwise(ends)]
        self.slots = [slot for step in steps for slot in step.slots]
        self.size = max(step.size for step in steps)
        self.chunk = max(64, _CHUNK // max(step.widest for step in steps))
        _keep_heap()

    def __call__(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Apply the layers first to last."""
        return self._in_chunks(x, context, inverse=False)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Apply the inverses last to first."""
        return self._in_chunks(z, context, inverse=True)

    def _in_chunks(
        self, x: Tensor, context: Tensor | None, *, inverse: bool
    ) -> tuple[Tensor, Tensor]:
        """Without gradients a chunk goes through all layers before the next one does."""
        small = torch.is_grad_enabled() or len(x) <= self.chunk
        if small or not self._divides(x, context):
            return self._whole(x, context, inverse)
        chunks = x.split(self.chunk)
        contexts = [None] * len(chunks) if context is None else context.split(self.chunk)
        ends, log_dets = zip(
            *(self._whole(*pair, inverse) for pair in zip(chunks, contexts, strict=True)),
            strict=True,
        )
        return torch.cat(ends), torch.cat(log_dets)

    def _divides(self, x: Tensor, context: Tensor | None) -> bool:
        """Whether rows do not influence one another: ActNorm's first batch must stay whole."""
        return (
            x.is_cpu
            and not _watched()
            and (context is None or len(context) == len(x))
            and all(step.ready(context) for step in self.steps)
        )

    def _whole(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor]:
        if not self.front:
            return self._run(x, context, inverse)
        ways = [self._run, lambda *given: _plain(self.front, *given)]
        x, first = ways[not inverse](x, context, inverse)
        x, second = ways[inverse](x, context, inverse)
        return x, first + second

    def _run(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor]:
        weights = [values[name] for values, name in self.slots]
        if _watched() or not self._covers(x, context, weights):
            return _plain(self.layers, x, context, inverse)
        given = x if context is None else context
        if torch.is_grad_enabled() and any(t.requires_grad for t in (x, given, *weights)):
            return _Node.apply(self, inverse, x, context, *weights)
        own = x.clone(memory_format=torch.contiguous_format)
        return self.apply(own, context, weights, None, inverse)

    def _covers(self, x: Tensor, context: Tensor | None, weights: Sequence[Any]) -> bool:
        """Whether the steps were written for such a batch, and the layers are in such a state."""
        batches = [x] if context is None else [x, context]
        return (
            x.ndim == 2
            and x.shape[0] > 0
            and x.shape[1] == self.size
            and x.dtype in (torch.float32, torch.float64)
            and all(type(b) in (Tensor, nn.Parameter) for b in batches)
            and all(b.ndim == 2 and len(b) == len(x) for b in batches)
            and {type(w) for w in weights} == {nn.Parameter}
            and {(t.dtype, t.is_cpu) for t in (*batches, *weights)} == {(x.dtype, True)}
            and all(step.ready(context) for step in self.steps)
        )

    def apply(
        self,
        x: Tensor,
        context: Tensor | None,
        weights: Weights,
        tape: Tape | None,
        inverse: bool,
    ) -> tuple[Tensor, Tensor]:
        """Walk the steps; see row_steps.py for the tape."""
        log_det = x.new_zeros(len(x))
        pairs = list(zip(self.steps, self.shares, strict=True))
        for step, share in reversed(pairs) if inverse else pairs:
            apply = step.inverse if inverse else step.forward
            x = apply(x, log_det, context, weights[share], tape)
        return x, log_det

    def backward(
        self, g: Gradients, weights: Weights, tape: Tape, inverse: bool
    ) -> list[Tensor | None]:
        """Walk them back; return the gradients by the weights."""
        found: list[Tensor | None] = [None] * len(weights)
        pairs = list(zip(self.steps, self.shares, strict=True))
        for step, share in pairs if inverse else reversed(pairs):
            found[share] = step.backward(g, weights[share], tape, inverse)
        return found


class _Node(torch.autograd.Function):
    """A stack in the graph. Weights are arguments, so that hooks (DDP) see their gradients."""

    @staticmethod
    def forward(
        ctx: Any,
        stack: RowStack,
        inverse: bool,
        x: Tensor,
        context: Tensor | None,
        *weights: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Apply the stack, and keep its tape."""
        tape: Tape = []
        result = stack.apply(x, context, weights, tape, inverse)
        ctx.stack, ctx.inverse = stack, inverse
        ctx.save_for_backward(x, context, *weights, *tape)
        return result

    @staticmethod
    def backward(ctx: Any, of_z: Tensor, of_log_det: Tensor) -> tuple[Any, ...]:
        """The handwritten gradients; those of the layers where they are to be differentiated."""
        stack, inverse, needed = ctx.stack, ctx.inverse, ctx.needs_input_grad
        x, context, *rest = ctx.saved_tensors
        weights, tape = rest[: len(stack.slots)], rest[len(stack.slots) :]
        batched = map(torch._C._functorch.is_legacy_batchedtensor, (of_z, of_log_det))
        if torch.is_grad_enabled() or any(batched) or _watched():
            asked = [t for t, need in zip((x, context, *weights), needed[2:], strict=True) if need]
            with torch.enable_grad():
                ends = _plain(stack.layers, x, context, inverse)
            found = iter(
                torch.autograd.grad(
                    ends, asked, (of_z, of_log_det), create_graph=True, allow_unused=True
                )
            )
            return None, None, *(next(found) if need else None for need in needed[2:])
        g = Gradients(
            of_z.clone(memory_format=torch.contiguous_format),
            of_log_det[:, None],
            torch.zeros_like(context) if needed[3] else None,
            any(needed[4:]),
        )
        found = stack.backward(g, weights, tape, inverse)
        return None, None, g.x, g.context, *found


def _plain(
    layers: Sequence[Layer], x: Tensor, context: Tensor | None, inverse: bool
) -> tuple[Tensor, Tensor]:
    """The reference: layer by layer."""
    total: Tensor | None = None
    for layer in reversed(layers) if inverse else layers:
        x, log_det = layer.inverse(x, context) if inverse else layer(x, context)
        total = log_det if total is None else total + log_det
    assert total is not None
    return x, total


def _watched() -> bool:
    """Whether torch does something else with operations than to carry them out and record them.

    Autocast, forward-mode derivatives, ``torch.func``, modes such as a FLOP counter's, tracing,
    hooks on all modules.
    """
    return bool(
        torch.is_autocast_enabled("cpu")
        or torch.autograd.forward_ad._current_level >= 0
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack()
        or torch._C._len_torch_function_stack()
        or torch._C._get_tracing_state() is not None
        or module_hooks._has_any_global_hook()
    )
