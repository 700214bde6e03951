"""The contenders of ``tabular.py``, ours and those of other libraries, and one way to train all."""

from __future__ import annotations

import copy
import itertools
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import pushforward as pf

__all__ = ["OURS", "PEERS", "Contender", "Splits", "mixture", "scores", "train"]


@dataclass(frozen=True)
class Splits:
    """Rows in float32: to train on, to choose weights by, to report."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


@dataclass
class Contender:
    """A density of any library: its parameters, and log_prob in nats."""

    module: nn.Module
    log_prob: Callable[[Tensor], Tensor]


# Ours ------------------------------------------------------------------------------------------


def _own(flow: pf.Flow, rows: Tensor) -> Contender:
    flow.initialise(rows)
    return Contender(flow, lambda x: flow.log_prob(x, check=False))


OURS: dict[str, Callable[[Tensor, int, int], Contender]] = {
    "Real NVP (10)": lambda rows, width, seed: _own(
        pf.RealNVP(rows.shape[1], couplings=10, width=width, seed=seed), rows
    ),
    "MAF (5)": lambda rows, width, seed: _own(
        pf.MAF(rows.shape[1], layers=5, width=width, seed=seed), rows
    ),
    "RQ-NSF (C)": lambda rows, width, seed: _own(
        pf.NSF(rows.shape[1], steps=5, width=width, seed=seed), rows
    ),
    "RQ-NSF (AR)": lambda rows, width, seed: _own(
        pf.NSF(rows.shape[1], steps=5, width=width, autoregressive=True, seed=seed), rows
    ),
}
"""Name -> from training rows, width of the networks and seed."""


# Other libraries -------------------------------------------------------------------------------


def _zuko(name: str, **options: Any) -> Callable[[Tensor, int, int], Contender]:
    def make(rows: Tensor, width: int, seed: int) -> Contender:
        import zuko

        torch.manual_seed(seed)
        hidden = (width, width)
        flow = getattr(zuko.flows, name)(rows.shape[1], hidden_features=hidden, **options)
        return Contender(flow, lambda x: flow().log_prob(x))

    return make


def _nflows(autoregressive: bool) -> Callable[[Tensor, int, int], Contender]:
    """As the experiments of the paper build it: permutation and LU before each spline, and last."""

    def make(rows: Tensor, width: int, seed: int) -> Contender:
        from nflows import distributions, flows, transforms, utils
        from nflows.nn.nets import ResidualNet

        torch.manual_seed(seed)
        size = rows.shape[1]
        spline = {"num_bins": 8, "tails": "linear", "tail_bound": 3.0}

        def linear() -> list[nn.Module]:
            # without its cache, which fails where gradients are taken
            return [
                transforms.RandomPermutation(size),
                transforms.LULinear(size, identity_init=True),
            ]

        def bend(index: int) -> nn.Module:
            if autoregressive:
                return transforms.MaskedPiecewiseRationalQuadraticAutoregressiveTransform(
                    size, width, num_blocks=2, **spline
                )
            return transforms.PiecewiseRationalQuadraticCouplingTransform(
                mask=utils.create_alternating_binary_mask(size, even=index % 2 == 0),
                transform_net_create_fn=lambda i, o: ResidualNet(i, o, width, num_blocks=2),
                **spline,
            )

        steps = [part for index in range(5) for part in (*linear(), bend(index))]
        flow = flows.Flow(
            transforms.CompositeTransform([*steps, *linear()]), distributions.StandardNormal([size])
        )
        return Contender(flow, flow.log_prob)

    return make


PEERS: dict[str, Callable[[Tensor, int, int], Contender]] = {
    "zuko RealNVP (10)": _zuko("RealNVP", transforms=10),
    "zuko MAF (5)": _zuko("MAF", transforms=5),
    "nflows RQ-NSF (C)": _nflows(autoregressive=False),
    "nflows RQ-NSF (AR)": _nflows(autoregressive=True),
}
"""The same families and sizes, built as the libraries' own documentation builds them."""


# Training --------------------------------------------------------------------------------------


def train(
    contender: Contender,
    splits: Splits,
    *,
    seed: int,
    seconds: float | None,
    steps: int | None,
    lr: float = 2e-3,
    batch: int = 512,
) -> tuple[float, int]:
    """Adam down a cosine, gradients clipped at 5, average of weights; the best validated stay.

    Args:
        contender: is left with those weights, in evaluation mode.
        splits: the rows.
        seed: of the order of the rows.
        seconds: CPU seconds of steps, validation not counted; or
        steps: how many.

    Returns:
        the best validation in nats, and the number of steps.
    """
    module, rows = contender.module.train(), torch.from_numpy(splits.train)
    order = torch.Generator().manual_seed(seed)
    parameters = list(module.parameters())
    optimiser = torch.optim.Adam(parameters, lr=lr)
    mean = [p.detach().clone() for p in parameters]
    best, kept, spent, checks = -math.inf, copy.deepcopy(module.state_dict()), 0.0, 0
    batches = iter(())
    for step in itertools.count():
        share = step / steps if steps else spent / (seconds or 1.0)
        if share >= (checks + 1) / 20:  # twenty validations, by the averaged weights
            checks += 1
            own = [p.detach().clone() for p in parameters]
            _set(parameters, mean)
            value = float(scores(contender, splits.validation).mean())
            if value > best:
                best, kept = value, copy.deepcopy(module.state_dict())
            _set(parameters, own)
            module.train()
        if share >= 1:
            break
        start = time.process_time()
        for group in optimiser.param_groups:
            group["lr"] = lr * min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * share))
        index = next(batches, None)
        if index is None:
            batches = iter(torch.randperm(len(rows), generator=order).split(batch))
            index = next(batches)
        optimiser.zero_grad()
        loss = -contender.log_prob(rows[index]).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        if bool(torch.isfinite(loss)):
            optimiser.step()
        decay = min(0.995, (step + 1) / (step + 10))
        torch._foreach_lerp_(mean, [p.detach() for p in parameters], 1 - decay)
        spent += time.process_time() - start
    module.load_state_dict(kept)
    module.eval()
    return best, step


@torch.no_grad()
def scores(contender: Contender, x: np.ndarray) -> np.ndarray:
    """Log-density of each row in nats, float64."""
    contender.module.eval()
    parts = [contender.log_prob(part).double() for part in torch.from_numpy(x).split(4_096)]
    return torch.cat(parts).numpy()


@torch.no_grad()
def _set(parameters: list[nn.Parameter], values: list[Tensor]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)


def mixture(splits: Splits, components: tuple[int, ...], seed: int) -> tuple[Any, int]:
    """scikit-learn's Gaussian mixture, full covariances, the number chosen by validation."""
    from sklearn.mixture import GaussianMixture

    found = []
    for k in components:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # so many iterations need not converge
            fitted = GaussianMixture(k, max_iter=60, random_state=seed).fit(splits.train[:100_000])
        found.append((float(fitted.score(splits.validation)), k, fitted))
    _, k, best = max(found, key=lambda entry: entry[0])
    return best, k
