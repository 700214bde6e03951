"""The floor: the matrix products and convolutions of a model, and nothing else.

No library that uses the same products can be faster than this. ``torch`` multiplies as torch's
``linear`` does; ``oneDNN`` through the library that torch brings for convolutions, which on some
processors is much faster.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .rounds import Task

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["convolutions", "routes", "rows"]

CHUNK = 1024
"""Rows at a time where no gradient binds them together: the activations stay in the cache."""


def routes() -> tuple[str, ...]:
    """The ways to multiply; oneDNN only where this torch has it."""
    from torch.backends import mkldnn

    return ("torch", "oneDNN") if mkldnn.is_available() else ("torch",)


def rows(route: str, job: str, dims: int, rows: int, couplings: int = 10, width: int = 128) -> Task:
    """The products of one job over rows: x W, and in training also W g and x g."""
    import torch

    product = _torch_product if route == "torch" else _onednn_product
    kept = dims // 2
    sizes = [(kept, width), (width, width), (width, 2 * (dims - kept))]
    size = rows if job == "train" else min(rows, CHUNK)
    inputs = [torch.randn(size, a) for a, _ in sizes]
    outputs = [torch.randn(size, b) for _, b in sizes]
    turned = [
        (x.t().contiguous(), g.t().contiguous()) for x, g in zip(inputs, outputs, strict=True)
    ]
    # Of each layer of each coupling its own weight, so that caches see what they would see.
    weights = [[torch.randn(b, a) for a, b in sizes] for _ in range(couplings)]
    back = [[w.t().contiguous() for w in layer] for layer in weights]
    numbers = sum(w.numel() for layer in weights for w in layer)

    @torch.no_grad()
    def run() -> None:
        for _ in range(0, rows, size):
            for layer, layer_back in zip(weights, back, strict=True):
                for index, (w, w_back) in enumerate(zip(layer, layer_back, strict=True)):
                    product(inputs[index], w)
                    if job == "train":
                        product(outputs[index], w_back)
                        product(turned[index][1], turned[index][0])

    return Task(run, numbers)


def convolutions(build: Callable[..., Task], **options: Any) -> Task:
    """The convolutions and products that another task makes, on numbers of the same shapes.

    They are recorded once, in both directions if the task has both, and replayed.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    aten = torch.ops.aten
    wanted = {
        aten.convolution.default,
        aten.convolution_backward.default,
        aten.addmm.default,
        aten.mm.default,
        aten.bmm.default,
    }
    calls: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []

    class Recorder(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if func in wanted:
                calls.append((func, _copies(args), kwargs or {}))
            return func(*args, **(kwargs or {}))

    task = build(**options)
    task.run()
    with Recorder():
        task.run()

    @torch.no_grad()
    def run() -> None:
        for func, args, kwargs in calls:
            func(*args, **kwargs)

    return Task(run, task.parameters, f"{len(calls)} calls")


def _copies(args: Any) -> tuple[Any, ...]:
    """Tensors of the same shapes and strides, with numbers that are nobody's."""
    import torch

    return tuple(
        torch.randn_like(value.detach()) if isinstance(value, torch.Tensor) else value
        for value in args
    )


def _torch_product(x: Tensor, w: Tensor) -> Tensor:
    from torch.nn.functional import linear

    return linear(x, w)


def _onednn_product(x: Tensor, w: Tensor) -> Tensor:
    import torch

    return torch.ops.mkldnn._linear_pointwise(x, w, None, "none", [], "")
