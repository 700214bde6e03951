"""How the layers of a chain share out the memory of a training step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..errors import InputError
from .occasion import Occasion
from .reversible import restored

if TYPE_CHECKING:
    from .fusion import Fused
    from .layer import Layer
    from .row_stack import RowStack

__all__ = ["MEMORIES", "check_memory", "in_segments"]

MEMORIES = ("store", "checkpoint", "constant")

Named = tuple[str, "Layer"]
Sum = Tensor | None


def check_memory(memory: str) -> str:
    """The word itself; raises InputError unless it is one of ``MEMORIES``."""
    if memory not in MEMORIES:
        raise InputError(f"memory is one of {', '.join(MEMORIES)}; got {memory!r}.")
    return memory


def in_segments(
    layers: Sequence[Named],
    x: Tensor,
    context: Tensor | None,
    memory: str,
    fused: Fused | None = None,
) -> tuple[Tensor, Sum]:
    """Apply named layers first to last, keeping no more for the way back than ``memory`` allows.

    * ``constant``: a run of invertible layers keeps its last output only; ``reversible.py``;
    * ``checkpoint``, and in ``constant`` a layer without a cheap inverse: each network, with the
      simple layers before it, keeps its input only;
    * layers that hold a chain leave it to that chain; all others keep what autograd keeps.

    ``fused`` are the same layers as ``fusion.fused`` gives them; its stacks have a faster way.
    """
    from .row_reversible import covers, restored_rows  # which imports layers, and they this file

    if torch.compiler.is_compiling():
        raise InputError(
            f"memory={memory!r} cannot be compiled, for it decides itself what is kept: compile "
            f"the conditioners, or use memory='store'."
        )
    total: Sum = None
    for stack, part in _by_stack(layers, fused if memory == "constant" else None):
        log_det: Sum
        if stack is not None and covers(stack, x, context):
            x, log_det = restored_rows(stack, [name for name, _ in part], x, context)
            total = log_det if total is None else total + log_det
            continue
        for kind, segment in _segments(part, memory):
            x, log_det = _WAYS[kind](segment, x, context)
            total = log_det if total is None else total + log_det
    return x, total


def _by_stack(
    layers: Sequence[Named], fused: Fused | None
) -> Iterator[tuple[RowStack | None, list[Named]]]:
    """The layers in parts: those of a stack, and those between stacks."""
    rest, loose = iter(layers), []
    for item in [None for _ in layers] if fused is None else fused:
        if item is None or isinstance(item, nn.Module):
            loose.append(next(rest))
            continue
        yield None, [*loose, *(next(rest) for _ in item.front)]
        yield item, [next(rest) for _ in item.layers]
        loose = []
    yield None, loose


def _segments(layers: Sequence[Named], memory: str) -> Iterator[tuple[str, list[Named]]]:
    segment: list[Named] = []
    kind = "store"
    for named in layers:
        wanted = _way(named[1], memory)
        joins = wanted == kind or (kind == "simple" and wanted == "checkpoint")
        if segment and not joins:
            yield kind, segment
            segment = []
        segment, kind = [*segment, named], wanted
        if kind == "checkpoint":  # a network ends what is computed again at once
            yield kind, segment
            segment = []
    if segment:
        yield kind, segment


def _way(layer: Layer, memory: str) -> str:
    from .layer import Chain  # which imports this file

    parts = list(layer.modules())
    if any(isinstance(part, Chain) for part in parts):  # it sees to itself
        return "store"
    if memory == "constant" and layer.reversible:
        return "constant"
    if layer.notes or not all(getattr(part, "exact", True) for part in parts):
        return "store"
    return "checkpoint" if any(True for _ in layer.children()) else "simple"


def _plain(segment: list[Named], x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    log_dets = []
    for _, layer in segment:
        x, log_det = layer(x, context)
        log_dets.append(log_det)
    return x, torch.stack(log_dets).sum(0) if len(log_dets) > 1 else log_dets[0]


def _checkpointed(segment: list[Named], x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    modules: list[nn.Module] = [layer for _, layer in segment]
    occasion = Occasion(modules, x.device)
    return checkpoint(
        lambda x, context: _plain(segment, x, context),
        x,
        context,
        use_reentrant=False,
        preserve_rng_state=False,
        context_fn=lambda: (occasion.first(), _Again(occasion)),
    )


_WAYS = {
    "constant": restored,
    "checkpoint": _checkpointed,
    "simple": _plain,
    "store": _plain,
}


class _Again:
    """``occasion.again()``, to be entered once for each way back."""

    def __init__(self, occasion: Occasion) -> None:
        self.occasion = occasion

    def __enter__(self) -> None:
        self.context = self.occasion.again()
        self.context.__enter__()

    def __exit__(self, *error: Any) -> bool | None:
        return self.context.__exit__(*error)
