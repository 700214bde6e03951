"""Every layer and every model family at small sizes: what the universal tests run over.

A new layer, option or family belongs in a module of this folder, and the module in ``_MODULES``;
the meta-tests of ``test_universal.py`` say so where it is forgotten. A module has what it needs of

* ``LAYERS``: name -> ``Case``;
* ``LAWS``: name -> a function that makes a coupling law;
* ``NETS``: the conditioners' types;
* ``MODELS``: name -> a function that makes a flow; all its layers but noisy ones are bijections;
* ``OTHERS``: name -> a function that makes a model that is no bijection.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.elementwise import Law
from pushforward.flow import Flow
from pushforward.layers import Chain, Layer, Noisy
from pushforward.model import Model

from . import (
    autoregressive,
    flowpp,
    glow,
    irevnet,
    jet,
    latent_variable,
    nice,
    planar,
    realnvp,
    tables,
)
from .case import Case, perturb
from .realnvp import MASKS

__all__ = [
    "CASES",
    "LAWS",
    "LAYERS",
    "MASKS",
    "MODELS",
    "NETS",
    "OTHERS",
    "Case",
    "bijections",
    "build",
    "build_flow",
    "context_for",
    "events",
    "jacobian",
    "perturb",
]

_MODULES: tuple[Any, ...] = (
    autoregressive,
    flowpp,
    glow,
    irevnet,
    jet,
    latent_variable,
    nice,
    planar,
    realnvp,
    tables,
)


def _all(name: str) -> dict[str, Any]:
    return {key: value for m in _MODULES for key, value in getattr(m, name, {}).items()}


LAYERS: dict[str, Case] = _all("LAYERS")
LAWS: dict[str, Callable[[], Law]] = _all("LAWS")
MODELS: dict[str, Callable[[], Flow]] = _all("MODELS")
OTHERS: dict[str, Callable[[], Model]] = _all("OTHERS")
NETS: tuple[type[nn.Module], ...] = tuple(net for m in _MODULES for net in getattr(m, "NETS", ()))


def _body(make: Callable[[], Flow]) -> Layer:
    """All layers of a flow but those that draw noise, which are no bijections."""
    return Chain(layer for layer in make().chain if not isinstance(layer, Noisy))


def _model_case(make: Callable[[], Flow]) -> Case:
    flow = make()
    data = "real" if flow.levels is None else "unit"
    return Case(partial(_body, make), flow.shape, flow.context, data)


CASES: dict[str, Case] = {**LAYERS, **{n: _model_case(make) for n, make in MODELS.items()}}


def bijections() -> list[str]:
    """The names of all cases but dequantisation."""
    return [name for name, case in CASES.items() if case.data != "levels"]


@functools.cache
def build(name: str, *, dtype: torch.dtype = torch.float64, disturbed: bool = True) -> Layer:
    """The layer of a case, disturbed, in evaluation mode. It is shared: copy before changing it."""
    seed = zlib.crc32(name.encode())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = CASES[name].make().to(dtype).eval()
    return perturb(layer, seed, 0.1 if name in MODELS else 0.2) if disturbed else layer


@functools.cache
def build_flow(name: str, *, dtype: torch.dtype = torch.float64) -> Flow:
    """The flow of a model, disturbed, in evaluation mode. It is shared: copy before changing it."""
    return perturb(MODELS[name]().to(dtype).eval(), zlib.crc32(name.encode()), 0.1)


def events(case: Case | Flow, n: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Events that a layer or flow takes: ``(n, *shape)``."""
    generator = torch.Generator().manual_seed(seed)
    if isinstance(case, Flow):
        if case.levels is not None:
            return torch.randint(case.levels, (n, *case.shape), generator=generator)
    elif case.data == "levels":
        return torch.randint(256, (n, *case.shape), generator=generator)
    elif case.data == "unit":
        return torch.rand(n, *case.shape, generator=generator, dtype=torch.float64).to(dtype)
    return torch.randn(n, *case.shape, generator=generator, dtype=torch.float64).to(dtype)


def context_for(
    case: Case | Flow, n: int, seed: int = 1, dtype: torch.dtype = torch.float64
) -> Tensor | None:
    """A context for ``n`` events, or None where none is taken."""
    if case.context == 0:
        return None
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, case.context, generator=generator, dtype=torch.float64).to(dtype)


def jacobian(layer: Callable, x: Tensor, context: Tensor | None = None) -> Tensor:
    """``(N, D, D)``: the matrix ``dz_i / dx_j`` of each event, by autograd.

    Each event is repeated D times and output i differentiated in copy i, which takes one backward
    pass. It relies on events not influencing one another, which is tested on its own.
    """
    n, d = len(x), x[0].numel()
    copies = x.detach().repeat_interleave(d, 0).requires_grad_()
    z, _ = layer(copies, None if context is None else context.repeat_interleave(d, 0))
    diagonal = z.reshape(n, d, d).diagonal(dim1=1, dim2=2)
    (gradient,) = torch.autograd.grad(diagonal.sum(), copies)
    return gradient.reshape(n, d, d)
