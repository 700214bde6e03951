"""The contenders over rows: 10 affine couplings, an MLP 128-128 with ReLU in each.

Each is built as its library's documentation shows, from the parts that make the architectures
equal: half of the numbers are kept, one network gives scale and translation. What remains
different is in ``NOTES``. All of torch's train by the same fused Adam.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .rounds import Lane, Task

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["BATCH", "NOTES", "PEERS", "Model", "keep", "lanes", "stepper", "task"]

WIDTH = 128
BATCH = 10_000
"""Rows that log_prob gets at a time, in every library: more would leave the caches."""

NOTES = {
    "pushforward": 'RealNVP((D,), norm="none", mixing="none")',
    "pushforward, default": "RealNVP((D,)): with ActNorm and permutations",
    "pushforward, plain": "the same model without the fast path of rows",
    "zuko": "flows.RealNVP: keeps every other number",
    "normflows": "AffineCouplingBlock and a swap; keeps 32 of 63",
    "nflows": "AffineCouplingTransform with a plain MLP",
    "FrEIA": "GLOWCouplingBlock, five of them: each is two couplings",
    "flowjax": "coupling_flow, jitted: with permutations",
}


@dataclass
class Model:
    """A model of a torch library."""

    module: nn.Module
    log_prob: Callable[[Tensor], Tensor]
    sample: Callable[[int], Any]
    score: Callable[[Tensor], Tensor] | None = None
    """log_prob as it is called outside of training, if it is another call."""


def task(library: str, job: str, dims: int, rows: int, couplings: int = 10, **options: Any) -> Task:
    """A training step, the log_prob of rows, or a sample of rows.

    Args:
        library: a key of ``NOTES``, but flowjax.
        job: ``train``, ``log_prob`` or ``sample``.
        dims: numbers of a row.
        rows: the batch of a training step; how many are scored or drawn.
        couplings: depth.
        **options: of the library's builder.
    """
    import torch

    torch.manual_seed(0)
    model = _BUILDERS[library](dims, couplings, **options)
    parameters = sum(p.numel() for p in model.module.parameters() if p.requires_grad)
    x = torch.randn(rows, dims)
    if job == "train":
        return Task(stepper(model.module, model.log_prob, x), parameters)
    model.module.eval()
    score = model.score or model.log_prob

    @torch.no_grad()
    def run() -> None:
        if job == "sample":
            model.sample(rows)
        else:
            for part in x.split(BATCH):
                score(part)

    return Task(run, parameters)


def plain_task(**case: Any) -> Task:
    """``task`` with our fast path switched off for good, in a process that does nothing else."""
    from pushforward.layers import fusion

    keep(fusion.enabled(False))
    return task("pushforward", **case)


def keep(context: contextlib.AbstractContextManager[Any]) -> None:
    """Enter a context for the life of the process: left to itself it would end when collected."""
    context.__enter__()
    _KEPT.append(context)


def stepper(
    module: nn.Module, log_prob: Callable[[Tensor], Tensor], x: Tensor
) -> Callable[[], None]:
    """One step of maximum likelihood by Adam, on the same batch again and again."""
    import torch

    module.train()
    adam = torch.optim.Adam(module.parameters(), lr=1e-5, fused=True)

    def run() -> None:
        adam.zero_grad()
        (-log_prob(x).mean()).backward()
        adam.step()

    return run


def lanes(peers: list[str]) -> list[Lane]:
    """Ours first, then the peers, then the floors."""
    from . import floor, rows_jax

    own = ("torch", "pushforward.models")
    result = [Lane(name, task, {"library": name}, own) for name in _OURS]
    result.append(Lane("pushforward, plain", plain_task, {}, own))
    for name in peers:
        if name == "flowjax":
            result.append(Lane(name, rows_jax.task, {}, ("flowjax.flows", "flowjax.train")))
        else:
            result.append(Lane(name, task, {"library": name}, ("torch", name)))
    for route in floor.routes():
        result.append(Lane(f"floor, {route}", floor.rows, {"route": route}, ("torch",)))
    return result


_KEPT: list[contextlib.AbstractContextManager[Any]] = []

# The libraries ---------------------------------------------------------------------------------


def _ours(dims: int, couplings: int, **options: Any) -> Model:
    import pushforward as pf

    memory = options.pop("memory", "store")
    flow = pf.RealNVP((dims,), **{"couplings": couplings, "width": WIDTH, "depth": 2, **options})
    flow.initialise(_normal(1000, dims))
    flow.memory = memory
    return Model(flow, lambda x: flow.log_prob(x, check=False), flow.sample, flow.log_prob)


def _bare(dims: int, couplings: int, **options: Any) -> Model:
    return _ours(dims, couplings, norm="none", mixing="none", **options)


def _zuko(dims: int, couplings: int) -> Model:
    import zuko

    flow = zuko.flows.RealNVP(dims, transforms=couplings, hidden_features=(WIDTH, WIDTH))
    return Model(flow, lambda x: flow().log_prob(x), lambda n: flow().sample((n,)))


def _normflows(dims: int, couplings: int) -> Model:
    import normflows as nf

    kept = (dims + 1) // 2
    flows = []
    for _ in range(couplings):
        net = nf.nets.MLP([kept, WIDTH, WIDTH, 2 * (dims - kept)], init_zeros=True)
        flows += [nf.flows.AffineCouplingBlock(net), nf.flows.Permute(dims, mode="swap")]
    flow = nf.NormalizingFlow(nf.distributions.DiagGaussian(dims, trainable=False), flows)
    return Model(flow, flow.log_prob, flow.sample)


def _nflows(dims: int, couplings: int) -> Model:
    import torch
    from nflows.distributions import StandardNormal
    from nflows.flows import Flow
    from nflows.transforms import AffineCouplingTransform, CompositeTransform

    kept = torch.arange(dims) < dims // 2
    masks = [(kept if index % 2 else ~kept).int() for index in range(couplings)]
    steps = [AffineCouplingTransform(mask, lambda a, b: _contextless(_mlp(a, b))) for mask in masks]
    flow = Flow(CompositeTransform(steps), StandardNormal([dims]))
    return Model(flow, flow.log_prob, flow.sample)


def _freia(dims: int, couplings: int) -> Model:
    import math

    from FrEIA.framework import SequenceINN
    from FrEIA.modules import GLOWCouplingBlock

    flow = SequenceINN(dims)
    for _ in range(couplings // 2):
        flow.append(GLOWCouplingBlock, subnet_constructor=_mlp)

    def log_prob(x: Tensor) -> Tensor:
        z, log_det = flow(x)
        return -0.5 * (z.square().sum(1) + dims * math.log(2 * math.pi)) + log_det

    return Model(flow, log_prob, lambda n: flow(_normal(n, dims), rev=True)[0])


def _mlp(inputs: int, outputs: int) -> nn.Module:
    from torch import nn

    hidden = (nn.Linear(inputs, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())
    return nn.Sequential(*hidden, nn.Linear(WIDTH, outputs))


def _contextless(net: nn.Module) -> nn.Module:
    """nflows hands its networks a context too."""
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
            return self.net(x)

    return Net()


def _normal(n: int, dims: int) -> Tensor:
    import torch

    return torch.randn(n, dims)


_BUILDERS: dict[str, Callable[..., Model]] = {
    "pushforward": _bare,
    "pushforward, default": _ours,
    "zuko": _zuko,
    "normflows": _normflows,
    "nflows": _nflows,
    "FrEIA": _freia,
}
_OURS = ("pushforward", "pushforward, default")
PEERS = ("FrEIA", "normflows", "nflows", "zuko", "flowjax")
