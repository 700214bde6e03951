"""The libraries that are compared, each behind the same three functions.

Every contender is 8 affine couplings with a 64-64 ReLU network, built as its own documentation
shows it, over points in the plane.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import pushforward

__all__ = ["OURS", "PEERS", "Contender", "build", "require", "version"]

OURS = "pushforward"
COUPLINGS, WIDTH = 8, 64


@dataclass
class Contender:
    """A model of any library: ``log_prob`` in nats, ``encode`` to latent and ``decode`` back."""

    name: str
    module: nn.Module
    log_prob: Callable[[Tensor], Tensor]
    encode: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor], Tensor]


def ours(name: str, seed: int, train: Tensor, options: dict[str, Any]) -> Contender:
    """Build ``RealNVP((2,))`` and let it read its starting figures off the training data."""
    chosen = {"couplings": COUPLINGS, "width": WIDTH, "depth": 2, "seed": seed, **options}
    flow = pushforward.RealNVP((2,), **chosen)
    flow.initialise(train[:10_000])
    flow.train()
    return Contender(
        name,
        flow,
        lambda x: flow.log_prob(x, check=False),
        lambda x: flow(x)[0],
        lambda z: flow.chain.inverse(z)[0],
    )


def zuko() -> Contender:
    """``zuko.flows.NICE``, whose couplings are affine (``RealNVP`` is the same class there)."""
    import zuko as library

    flow = library.flows.NICE(features=2, transforms=COUPLINGS, hidden_features=(WIDTH, WIDTH))
    return Contender(
        "zuko",
        flow,
        lambda x: flow().log_prob(x),
        lambda x: flow().transform(x),
        lambda z: flow().transform.inv(z),
    )


def normflows() -> Contender:
    """``AffineCouplingBlock`` and a swap, eight times: the example of its README."""
    import normflows as library

    layers: list[nn.Module] = []
    for _ in range(COUPLINGS):
        net = library.nets.MLP([1, WIDTH, WIDTH, 2], init_zeros=True)
        layers += [
            library.flows.AffineCouplingBlock(net),
            library.flows.Permute(2, mode="swap"),
        ]
    flow = library.NormalizingFlow(library.distributions.base.DiagGaussian(2), layers)
    return Contender("normflows", flow, flow.log_prob, flow.inverse, flow.forward)


def nflows() -> Contender:
    """``SimpleRealNVP`` with one residual block of two layers a coupling."""
    from nflows.flows.realnvp import SimpleRealNVP

    flow = SimpleRealNVP(
        features=2, hidden_features=WIDTH, num_layers=COUPLINGS, num_blocks_per_layer=1
    )
    return Contender(
        "nflows",
        flow,
        flow.log_prob,
        lambda x: flow._transform(x)[0],
        lambda z: flow._transform.inverse(z)[0],
    )


def freia() -> Contender:
    """``AllInOneBlock`` with soft permutations: the example of its README."""
    from FrEIA.framework import SequenceINN
    from FrEIA.modules import AllInOneBlock

    flow = SequenceINN(2)
    for _ in range(COUPLINGS):
        flow.append(AllInOneBlock, subnet_constructor=_network, permute_soft=True)
    return Contender(
        "FrEIA",
        flow,
        lambda x: _standard_normal(*flow(x)),
        lambda x: flow(x)[0],
        lambda z: flow(z, rev=True)[0],
    )


def pyro() -> Contender:
    """``affine_coupling`` and a swap, eight times, as transforms from latent to data."""
    from pyro.distributions import Normal, TransformedDistribution
    from pyro.distributions.transforms import affine_coupling, permute

    couplings = nn.ModuleList(affine_coupling(2, [WIDTH, WIDTH]) for _ in range(COUPLINGS))
    steps: list[Any] = []
    for coupling in couplings:
        steps += [coupling, permute(2, torch.tensor([1, 0]))]

    def log_prob(x: Tensor) -> Tensor:
        base = Normal(x.new_zeros(2), x.new_ones(2)).to_event(1)
        return TransformedDistribution(base, steps).log_prob(x)

    def encode(x: Tensor) -> Tensor:  # _inverse and _call go round the cache, which would cheat
        for step in reversed(steps):
            x = step._inverse(x)
        return x

    def decode(z: Tensor) -> Tensor:
        for step in steps:
            z = step._call(z)
        return z

    return Contender("pyro", couplings, log_prob, encode, decode)


def _network(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(inputs, WIDTH),
        nn.ReLU(),
        nn.Linear(WIDTH, WIDTH),
        nn.ReLU(),
        nn.Linear(WIDTH, outputs),
    )


def _standard_normal(z: Tensor, log_det: Tensor) -> Tensor:
    return torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1) + log_det


# name -> (module to import, distribution that carries the version, builder)
PEERS: dict[str, tuple[str, str, Callable[[], Contender]]] = {
    "zuko": ("zuko", "zuko", zuko),
    "normflows": ("normflows", "normflows", normflows),
    "nflows": ("nflows", "nflows", nflows),
    "FrEIA": ("FrEIA", "FrEIA", freia),
    "pyro": ("pyro", "pyro-ppl", pyro),
}


def build(name: str, seed: int, train: Tensor, options: dict[str, Any] | None = None) -> Contender:
    """Build a contender with starting weights drawn from ``seed``."""
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 -- FrEIA draws its rotations through scipy's global state
    if name in PEERS:
        return PEERS[name][2]()
    return ours(name, seed, train, options or {})


def require(modules: Sequence[str]) -> None:
    """End with one sentence if something to compare with is not installed."""
    missing = []
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError:
            missing.append(module)
    if missing:
        raise SystemExit(
            f"this benchmark compares with {', '.join(missing)}, not installed here: run "
            "`pip install 'pushforward[peers]'`, or choose others with --peers."
        )


def version(distribution: str) -> str:
    """The installed version, or a dash."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "-"
