r"""Backpropagation in constant memory: inputs of layers are computed again from their outputs.

A run of K invertible layers keeps its last output. On the way back each layer restores its input
by its inverse and builds its own graph there, uses it and drops it:

.. math:: x_k = f_k^{-1}(x_{k+1}), \qquad
          (\bar x_k, \bar\theta_k) = \left(\frac{\partial (f_k, \ell_k)}
          {\partial (x_k, \theta_k)}\right)^{\!\top} (\bar x_{k+1}, \bar\ell)

so that memory does not grow with K, for one more evaluation of every conditioner.

Source: Gomez et al. 2017 (RevNet), section 3.2; log-dets and batch norms as in this library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..errors import InputError
from .monitor import Monitor
from .occasion import Occasion

if TYPE_CHECKING:
    from .layer import Layer

__all__ = ["Retraced", "check_versions", "leaf", "restored", "versions_of"]

Versions = list[tuple[Tensor, int]]


@dataclass
class Retraced:
    """The graph of one layer, built at an input that has been restored from the output.

    Attributes:
        parts: the input as leaves of the graph, taken apart as the layer likes it.
        z, log_det: what the layer makes of them.
        join: puts the parts, or their gradients, together again.
    """

    parts: tuple[Tensor, ...]
    z: Tensor
    log_det: Tensor
    join: Callable[..., Tensor] = lambda part: part


def leaf(x: Tensor) -> Tensor:
    """The same numbers, from which a new graph grows."""
    return x.detach().requires_grad_()


def restored(
    layers: Sequence[tuple[str, Layer]], x: Tensor, context: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Apply a run of named layers, keeping its last output only; return ``(z, log_det)``.

    Raises:
        InputError: on the way back, if a weight has changed since.
        NumericalError: on the way back, if an input was not restored well enough; names the layer.
    """
    steps = [_Step(name, layer) for name, layer in layers]
    total: Tensor | None = None
    run: _Run | None = None
    for index, step in enumerate(steps):
        weights = [p for p in step.layer.parameters() if p.requires_grad]
        graph = x.requires_grad or weights or (context is not None and context.requires_grad)
        if run is None and not graph:  # nothing to come back for
            x, log_det = step.layer(x, context)
            total = log_det if total is None else total + log_det
            continue
        if run is None:
            run = _Run(x, steps[index], steps[-1])
        x, total = _Restore.apply(run, step, x, total, context, *weights)
    assert total is not None
    return x, total


@dataclass
class _Step:
    """What one layer keeps of its forward pass: next to nothing."""

    name: str
    layer: Layer
    occasion: Any = None
    note: Any = None
    sample: Any = None
    versions: Any = None

    def run(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        self.occasion = Occasion([self.layer], x.device)
        with self.occasion.first():
            z, log_det, self.note = self.layer.track(x, context)
        self.versions = versions_of(self.layer.parameters())
        return z, log_det


def versions_of(weights: Iterable[Tensor]) -> Versions:
    """What tells later whether weights have been written to."""
    return [(weight, weight._version) for weight in weights]


def check_versions(versions: Versions, name: str) -> None:
    """Raise InputError if a weight of the layers ``name`` has been written to."""
    if any(weight._version != version for weight, version in versions):
        raise InputError(
            f"weights of {name} have changed between log_prob and backward, so that "
            f"memory='constant' cannot restore what entered there: call backward before the "
            f"optimiser's step, or use memory='store'."
        )


class _Run:
    """What the layers of one run share: the monitor, and on the way back the place they are at."""

    def __init__(self, x: Tensor, first: _Step, last: _Step) -> None:
        self.first, self.last = first, last
        self.monitor = Monitor(x)
        self.z: Tensor | None = None


class _Restore(torch.autograd.Function):
    """One layer. Only the last one of a run saves its output; the others are handed theirs.

    Weights are arguments, so that their gradients are returned: hooks (DDP) see them as usual.
    """

    @staticmethod
    def forward(
        ctx: Any,
        run: _Run,
        step: _Step,
        x: Tensor,
        total: Tensor | None,
        context: Tensor | None,
        *weights: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Apply the layer, and add its log-det."""
        step.sample = run.monitor.sample(x)
        z, log_det = step.run(x, context)
        if step.occasion.coarse:
            run.monitor.bear_coarse_conditioners()
        for dtype in {weight.dtype for weight in weights} - {x.dtype}:
            run.monitor.bear_networks_in(dtype)
        ctx.run, ctx.step, ctx.adds = run, step, total is not None
        ctx.save_for_backward(context, z if step is run.last else None, *weights)
        return z, log_det if total is None else total + log_det

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_z: Tensor, of_log_det: Tensor) -> tuple[Any, ...]:
        """Restore the input, and give the gradients there."""
        run, step = ctx.run, ctx.step
        check_versions(step.versions, step.name)
        context, z, *weights = ctx.saved_tensors
        if z is not None:
            run.monitor.start(z)
        z = (run.z if z is None else z).detach()
        run.z = None
        if ctx.needs_input_grad[4]:
            context = leaf(context)
        with step.occasion.again():
            with torch.enable_grad():
                traced = step.layer.retrace(z, context, step.note)
            found = _gradients(
                [(traced.z, of_z), (traced.log_det, of_log_det)],
                [*traced.parts, *([context] if ctx.needs_input_grad[4] else []), *weights],
            )
        parts, rest = found[: len(traced.parts)], found[len(traced.parts) :]
        whole = [
            torch.zeros_like(p) if g is None else g
            for g, p in zip(parts, traced.parts, strict=True)
        ]
        x = traced.join(*(part.detach() for part in traced.parts))
        run.monitor.compare(step.name, step.sample, x, run.monitor.sample(z))
        if step is run.first:
            run.monitor.judge(x)
        else:
            run.z = x
        of_context = rest.pop(0) if ctx.needs_input_grad[4] else None
        of_total = of_log_det if ctx.adds else None
        return None, None, traced.join(*whole), of_total, of_context, *rest


def _gradients(outputs: list[tuple[Tensor, Tensor]], inputs: list[Tensor]) -> list[Tensor | None]:
    """The gradients by ``inputs``, None where nothing depends on them."""
    reached = [(output, gradient) for output, gradient in outputs if output.requires_grad]
    if not reached or not inputs:
        return [None] * len(inputs)
    ends, gradients = zip(*reached, strict=True)
    return list(torch.autograd.grad(ends, inputs, gradients, allow_unused=True))
