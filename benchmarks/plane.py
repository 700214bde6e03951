"""Workloads in the plane: two moons, a sharp Gaussian, and how exactly inverses invert."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from contenders import OURS, Contender, build
from pushforward.data import make_toy
from pushforward.data.toy import two_moons_log_density
from pushforward.training.average import WeightAverage
from report import Report, Variant, figure, mean_and_error, table, with_error

__all__ = ["Plan", "inverse", "moons", "sharp", "train_moons"]

EVENTS = 20_000  # to train on, and as many to test on
EVERY_SEED = ("zuko", "normflows")  # the nearest in purpose; the others take a few seeds


@dataclass(frozen=True)
class Plan:
    """The same for every library."""

    seeds: int
    few: int  # seeds of the peers that are not in EVERY_SEED
    peers: tuple[str, ...]
    variants: tuple[Variant, ...]
    steps: int = 1_500
    batch: int = 512
    lr: float = 1e-3
    ema: float = 0.995

    def __str__(self) -> str:
        return (
            f"8 affine couplings with 64-64 networks; {self.steps:,} steps of Adam at {self.lr:g}, "
            f"constant, batch {self.batch}, weights averaged with decay {self.ema:g}: the same for "
            f"all; {EVENTS:,} points to train on and {EVENTS:,} to test on."
        )


@dataclass
class Trained:
    """A trained contender and what was measured on the test points."""

    contender: Contender
    seed: int
    nll: float
    seconds: float
    failure: str = ""


def train(contender: Contender, data: Tensor, seed: int, plan: Plan, lr: float) -> float:
    """Train by maximum likelihood and leave the averaged weights in place; return the seconds."""
    start = time.perf_counter()
    batches = torch.Generator().manual_seed(seed)
    weights = [p for p in contender.module.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(weights, lr=lr)
    average = WeightAverage(contender.module, plan.ema)
    for _ in range(plan.steps):
        index = torch.randint(len(data), (plan.batch,), generator=batches)
        loss = -contender.log_prob(data[index]).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        average.update()
    with torch.no_grad():
        for weight, mean in zip(average.weights, average.average, strict=True):
            weight.copy_(mean)
    contender.module.eval()
    return time.perf_counter() - start


def train_and_test(
    name: str, options: dict[str, Any], data: Tensor, test: Tensor, seed: int, plan: Plan
) -> Trained:
    """One library, one seed."""
    options = dict(options)
    lr = options.pop("lr", plan.lr)
    contender = build(name, seed, data, options)
    try:
        seconds = train(contender, data, seed, plan, lr)
        with torch.no_grad():
            nll = -float(contender.log_prob(test).double().mean())
    except (ValueError, RuntimeError, AssertionError) as error:  # some raise where others give NaN
        return Trained(contender, seed, math.nan, math.nan, f"{type(error).__name__}: {error}")
    return Trained(contender, seed, nll, seconds)


def entries(plan: Plan, seed: int) -> list[tuple[str, dict[str, Any]]]:
    """Everybody who takes part: our default, our variants, the peers."""
    own = [(variant.name, variant.options) for variant in plan.variants]
    peers = [peer for peer in plan.peers if peer in EVERY_SEED or seed < plan.few]
    return [(OURS, {}), *own, *((peer, {}) for peer in peers)]


# Two moons -------------------------------------------------------------------------------------


@dataclass
class Moons:
    """The trained models of every library, and the true NLL of each seed's test points."""

    plan: Plan
    runs: dict[str, list[Trained]]
    truth: list[float]
    tests: list[Tensor]


def train_moons(plan: Plan) -> Moons:
    """Train every library on two moons, seed by seed, in turn; Ctrl-C keeps the whole seeds."""
    result = Moons(plan, defaultdict(list), [], [])
    try:
        for seed in range(plan.seeds):
            _train_seed(seed, result)
    except KeyboardInterrupt:
        if not result.truth:
            raise
    return result


def _train_seed(seed: int, result: Moons) -> None:
    points = make_toy("two-moons", 2 * EVENTS, seed)
    data, test = points[:EVENTS], points[EVENTS:]
    mean, deviation = data.mean(0), data.std(0)
    # The density of standardised points: the Jacobian of the division belongs to it.
    truth = -float(two_moons_log_density(test).mean() + np.log(deviation).sum())
    x, y = (torch.tensor((part - mean) / deviation).float() for part in (data, test))
    runs = {}
    for name, options in entries(result.plan, seed):
        run = runs[name] = train_and_test(name, options, x, y, seed, result.plan)
        gap = figure(run.nll - truth)
        print(f"moons seed {seed}: {name}: gap {gap} nats, {run.seconds:.0f} s", flush=True)
    result.truth.append(truth)
    result.tests.append(y)
    for name, run in runs.items():
        result.runs[name].append(run)


def moons(trained: Moons) -> Report:
    """How far each library stays above the entropy of two moons."""
    truth = np.array(trained.truth)
    own = np.array([run.nll for run in trained.runs[OURS]]) - truth
    rows, figures = [], {}
    for name, runs in trained.runs.items():
        gap = np.array([run.nll for run in runs]) - truth[: len(runs)]
        good = gap[np.isfinite(gap)]
        mean, error = mean_and_error(good)
        difference = own[: len(gap)] - gap
        paired, paired_error = mean_and_error(difference[np.isfinite(difference)])
        seconds = float(np.nanmedian([r.seconds for r in runs]))
        rows.append(
            [
                name,
                str(len(runs)),
                figure(float(np.nanmean([run.nll for run in runs]))),
                with_error(mean, error),
                figure(float(gap.max())),
                str(len(gap) - len(good)),
                "" if name == OURS else with_error(paired, paired_error, sign=True),
                f"{seconds:.1f}",
            ]
        )
        figures[name] = {
            "nll": [r.nll for r in runs],
            "gap": gap.tolist(),
            "ours_minus_this": {"mean": paired, "standard_error": paired_error},
            "median_seconds": seconds,
            "failures": {r.seed: r.failure for r in runs if r.failure},
        }
    head = [
        "library",
        "seeds",
        "test NLL (nats)",
        "gap to the truth ± s.e.",
        "worst seed",
        "not finite",
        "ours minus this, paired ± s.e.",
        "s a run",
    ]
    body = (
        f"{trained.plan} The truth is the density that generated the points, by quadrature: "
        f"{truth.mean():.4f} nats a point, standardised. The gap is taken on the same test points. "
        f"Means are over the seeds that stayed finite.\n\n{table(head, rows)}"
    )
    figures["truth"] = trained.truth
    return Report("moons", "Two moons", body, figures)


# Inverses --------------------------------------------------------------------------------------


def inverse(trained: Moons) -> Report:
    """Errors of x -> z -> x on the trained moons models, far out, near, and in float64."""
    rows, figures = [], {}
    for name, runs in trained.runs.items():
        far, near, exact = [], [], []
        for run, test in zip(runs, trained.tests, strict=False):
            module = run.contender.module
            generator = torch.Generator().manual_seed(run.seed)
            wide = 20 * torch.randn(4_000, 2, generator=generator)
            far.append(round_trip(run.contender, wide))
            near.append(round_trip(run.contender, test[:4_000]))
            kept = {key: value.clone() for key, value in module.state_dict().items()}
            module.double()
            exact.append(round_trip(run.contender, test[:4_000].double()))
            module.float()
            module.load_state_dict(kept)
        wide, close, double = (np.concatenate(part) for part in (far, near, exact))
        finite = np.isfinite(wide)
        worst = float(wide.max()) if finite.all() else math.inf
        rows.append(
            [
                name,
                f"{int((~finite).sum()):,} of {len(wide):,}",
                figure(float(np.median(wide)), 0),
                figure(worst, 0),
                figure(float(close.max()), 0),
                figure(float(double.max()), 0),
            ]
        )
        figures[name] = {
            "far_not_finite": int((~finite).sum()),
            "far_median": float(np.median(wide)),
            "far_max": worst,
            "far_max_by_seed": [float(part.max()) for part in far],
            "near_max": float(close.max()),
            "float64_near_max": float(double.max()),
        }
    head = [
        "library",
        "sigma 20: not finite",
        "median",
        "max",
        "near the data: max",
        "float64 near the data: max",
    ]
    body = (
        "Errors |x - inverse(forward(x))|, largest coordinate of each point, of the models trained "
        f"on two moons (4,000 points a seed): float32 at N(0, 20² I), "
        "float32 on test points, and on test points after ``.double()``.\n\n"
        f"{table(head, rows)}"
    )
    return Report("inverse", "Inverses", body, figures)


@torch.no_grad()
def round_trip(contender: Contender, x: Tensor) -> np.ndarray:
    """The error of each point; infinite where a number is not."""
    try:
        error = (x - contender.decode(contender.encode(x))).abs().amax(1).double().numpy()
    except (ValueError, RuntimeError, AssertionError):
        return np.full(len(x), np.inf)
    return np.where(np.isfinite(error), error, np.inf)


# A sharp Gaussian ------------------------------------------------------------------------------


def sharp(plan: Plan) -> Report:
    """A Gaussian of standard deviation 0.1, which nobody standardises by hand."""
    deviation = 0.1
    results: dict[str, list[float]] = defaultdict(list)
    truths = []
    for seed in range(plan.seeds):
        generator = torch.Generator().manual_seed(seed)
        data, test = deviation * torch.randn(2, EVENTS, 2, generator=generator)
        normal = torch.distributions.Normal(0.0, deviation)
        truth = -float(normal.log_prob(test).double().sum(1).mean())
        truths.append(truth)
        for name, options in entries(plan, seed):
            run = train_and_test(name, options, data, test, seed, plan)
            results[name].append(run.nll - truth)
            print(f"sharp seed {seed}: {name}: gap {figure(run.nll - truth)} nats", flush=True)
    rows, figures = [], {"truth": truths}
    for name, gaps in results.items():
        gap = float(np.mean(gaps))
        nll = gap + float(np.mean(truths))
        rows.append([name, figure(nll), figure(gap), figure(float(np.max(gaps)))])
        figures[name] = gaps
    head = ["library", "test NLL (nats)", "gap to the truth", "worst seed"]
    body = (
        f"N(0, 0.1² I) in the plane, whose NLL is {np.mean(truths):.4f} nats (negative: densities "
        f"may exceed 1). {plan} Nobody standardises by hand.\n\n{table(head, rows)}"
    )
    return Report("sharp", "A sharp Gaussian", body, figures)
