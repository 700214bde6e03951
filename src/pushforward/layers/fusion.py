"""The fast path for rows on a processor: which layers of a chain act as one.

A chain asks ``fused`` for its layers. Where layers that follow one another all have a handwritten
step (row_steps.py) they come as one ``RowStack`` (row_stack.py), which

* records one node instead of some thirty a coupling, with a handwritten backward;
* without gradients works in place, on chunks of rows that stay in the processor's cache;
* multiplies matrices by the faster of torch's two libraries (nets/products.py).

The layers themselves remain the reference. They do the work whenever anything is unusual, and are
what is differentiated twice, so that values, gradients and errors are theirs, to rounding.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import nn

if TYPE_CHECKING:
    from .layer import Layer
    from .row_stack import RowStack
    from .row_steps import Step

__all__ = ["enabled", "fused"]

Fused: TypeAlias = "Sequence[Layer | RowStack]"

_ENABLED = ContextVar("_ENABLED", default=True)

_KNOWN: weakref.WeakKeyDictionary[nn.ModuleList, _Known] = weakref.WeakKeyDictionary()
"""How the lists of layers that have been met are taken apart; only saves time."""


@contextlib.contextmanager
def enabled(value: bool) -> Iterator[None]:
    """Within it the fast path may be used, or may not: for comparisons and for the careful."""
    token = _ENABLED.set(value)
    try:
        yield
    finally:
        _ENABLED.reset(token)


def fused(layers: nn.ModuleList) -> Fused:
    """The layers of a chain, runs of them replaced by a ``RowStack`` where that is possible."""
    if torch.compiler.is_compiling() or not _ENABLED.get():
        return layers  # type: ignore[return-value]
    known = _KNOWN.get(layers)
    if known is None or not known.holds():
        known = _KNOWN[layers] = _Known(layers)
    return known.fused


_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)


class _Known:
    """The layers of a chain as ``fused`` gives them, and how to see that they have changed.

    It must not refer to the list itself, which would then live for ever.
    """

    def __init__(self, layers: nn.ModuleList) -> None:
        self.fused = _fuse(layers)
        self.stacks = any(not isinstance(item, nn.Module) for item in self.fused)
        # With no stack, a change among the layers themselves is all that matters.
        self.parts = [p for layer in layers for p in layer.modules()] if self.stacks else []
        self.children: list[Any] = [
            layers._modules,
            *(p._modules for p in self.parts if p._modules),
        ]
        self.children_then: list[Any] = [dict(children) for children in self.children]
        self.kinds = [type(p) for p in self.parts]
        self.hooks = [p.__dict__[name] for p in self.parts for name in _HOOKS]
        self.hooked = list(map(bool, self.hooks))
        self.own = list(map(_altered, self.parts))

    def holds(self) -> bool:
        """Whether all is as it was."""
        return (
            self.children == self.children_then
            and list(map(type, self.parts)) == self.kinds
            and list(map(bool, self.hooks)) == self.hooked
            and list(map(_altered, self.parts)) == self.own
        )


def _altered(module: nn.Module) -> bool:
    """Whether somebody has set on this one module what a call of it does."""
    own = module.__dict__
    return "forward" in own or "inverse" in own or "_compiled_call_impl" in own


def _fuse(layers: nn.ModuleList) -> Fused:
    from .row_stack import RowStack  # these import this file, by way of layer.py
    from .row_steps import CouplingStep, step_for
    from .transform import Standardize

    result: list[Any] = []
    run: list[tuple[Any, Step]] = []

    def finish() -> None:
        members, steps = [layer for layer, _ in run], [step for _, step in run]
        run.clear()
        if not any(isinstance(step, CouplingStep) for step in steps):
            result.extend(members)
            return
        if len(result) == 1 and type(result[0]) is Standardize:
            members.insert(0, result.pop())
        result.append(RowStack(members, steps))

    for layer in layers:
        step = None if _touched(layer) else step_for(layer)
        if step is None:
            finish()
            result.append(layer)
        else:
            run.append((layer, step))
    finish()
    return result


def _touched(layer: nn.Module) -> bool:
    return any(_altered(p) or any(p.__dict__[name] for name in _HOOKS) for p in layer.modules())
