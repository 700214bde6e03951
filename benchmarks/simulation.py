"""Posteriors from simulations: two tasks of the sbi benchmark, judged by a classifier (C2ST).

    python benchmarks/simulation.py                       (both tasks, about half an hour)
    python benchmarks/simulation.py two_moons --search    (validation likelihood of settings)
    python benchmarks/simulation.py --peer                (sbi's own NPE with its NSF, same harness)
    python benchmarks/simulation.py --quick               (does it run?)

Protocol. Parameters are drawn from the prior and simulated, 10,000 pairs by ``--seed``. A
conditional flow learns q(theta | x) from nine tenths of them and stops by the likelihood of the
last tenth, by which the settings in ``CHOSEN`` were chosen too (``--search``), never by C2ST. Ten
observations are simulated from ten further draws of the prior: seeded, and not the ten of the
published benchmark, which come as files. For each, 10,000 draws of the flow (those outside of the
prior's support are drawn again) meet 10,000 of the reference posterior: closed form for
gaussian_linear; for two_moons the simulator is inverted draw by draw, with rejection on the prior,
which is exact. C2ST is the accuracy of scikit-learn's MLP (two hidden layers of 10 D units, relu,
adam) over 5 folds, after z-scoring by the reference draws: 0.5 is perfect, 1 is hopeless.

Source: Lueckmann et al. 2021, Benchmarking Simulation-Based Inference (tasks, metric); published
NPE with NSF at 10,000 simulations: two_moons .606, gaussian_linear .552, mean of 10 observations.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import pushforward as pf
from pushforward.files import write_text

RESULTS = Path(__file__).with_name("results") / "simulation.json"
TEN = 10
PUBLISHED = {"two_moons": 0.606, "gaussian_linear": 0.552}


@dataclass(frozen=True)
class Task:
    """A prior, a simulator, and draws of the posterior that they imply."""

    dims: int
    prior: Callable[[int, torch.Generator], Tensor]
    simulate: Callable[[Tensor, torch.Generator], Tensor]
    reference: Callable[[Tensor, int, torch.Generator], Tensor]
    inside: Callable[[Tensor], Tensor]
    """Which parameters the prior allows."""


# Two moons -------------------------------------------------------------------------------------


def moon(n: int, generator: torch.Generator) -> Tensor:
    """Points of one moon: an angle within a half-circle, a radius about 0.1."""
    angle = math.pi * (torch.rand(n, generator=generator, dtype=torch.float64) - 0.5)
    radius = 0.1 + 0.01 * torch.randn(n, generator=generator, dtype=torch.float64)
    return torch.stack((radius * angle.cos() + 0.25, radius * angle.sin()), dim=1)


def shift(theta: Tensor) -> Tensor:
    """Where a parameter puts the moon."""
    first, second = theta.unbind(1)
    return torch.stack((-(first + second).abs(), second - first), dim=1) / math.sqrt(2)


def two_moons_posterior(x: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Draw the moon, find the two parameters that would put it so, keep those of the prior."""
    kept: list[Tensor] = []
    while sum(map(len, kept)) < n:
        q = (x - moon(2 * n, generator)) * math.sqrt(2)  # -|t1 + t2|, t2 - t1
        sign = 2.0 * torch.randint(2, (2 * n,), generator=generator) - 1
        total, difference = -sign * q[:, 0], q[:, 1]
        theta = torch.stack((total - difference, total + difference), dim=1) / 2
        kept.append(theta[(q[:, 0] <= 0) & (theta.abs() <= 1).all(dim=1)])
    return torch.cat(kept)[:n]


TWO_MOONS = Task(
    dims=2,
    prior=lambda n, g: 2 * torch.rand(n, 2, generator=g, dtype=torch.float64) - 1,
    simulate=lambda theta, g: moon(len(theta), g) + shift(theta),
    reference=two_moons_posterior,
    inside=lambda theta: (theta.abs() <= 1).all(dim=1),
)

# Gaussian linear: prior N(0, 0.1 I), simulator N(theta, 0.1 I), hence posterior N(x / 2, 0.05 I)


def _normal(mean: Tensor, variance: float, generator: torch.Generator) -> Tensor:
    noise = torch.randn(mean.shape, generator=generator, dtype=torch.float64)
    return mean + math.sqrt(variance) * noise


GAUSSIAN_LINEAR = Task(
    dims=10,
    prior=lambda n, g: _normal(torch.zeros(n, 10, dtype=torch.float64), 0.1, g),
    simulate=lambda theta, g: _normal(theta, 0.1, g),
    reference=lambda x, n, g: _normal((x / 2).expand(n, 10), 0.05, g),
    inside=lambda theta: torch.ones(len(theta), dtype=torch.bool),
)

TASKS = {"two_moons": TWO_MOONS, "gaussian_linear": GAUSSIAN_LINEAR}

# What --search was given, and what came out best ------------------------------------------------

_NSF: dict[str, Any] = {"model": "nsf", "steps": 4, "width": 64, "bins": 8}
_TRAINING: dict[str, Any] = {"max_steps": 1500, "batch_size": 256, "lr": 2e-3, "patience": 15}
_AFFINE: dict[str, Any] = {"model": "realnvp", "couplings": 2, "width": 32, "depth": 1}
_LINEAR: dict[str, Any] = {**_TRAINING, "max_steps": 800, "validate_every": 40}
SEARCHED: dict[str, list[dict[str, Any]]] = {
    "two_moons": [
        {**_NSF, **_TRAINING},
        {**_NSF, **_TRAINING, "model": "nsf-ar"},
        {**_TRAINING, "model": "realnvp", "law": "spline", "couplings": 8, "width": 64, "bins": 16},
    ],
    "gaussian_linear": [
        {**_NSF, **_LINEAR, "steps": 2, "width": 32},
        {**_AFFINE, **_LINEAR},
        {**_AFFINE, **_LINEAR, "weight_decay": 3.0},
        {**_AFFINE, **_LINEAR, "weight_decay": 0.1},
        {**_AFFINE, **_LINEAR, "activation": "silu"},
        {**_AFFINE, **_LINEAR, "activation": "silu", "width": 64},
        {**_AFFINE, **_LINEAR, "activation": "silu", "max_steps": 2000},
        {**_AFFINE, **_LINEAR, "activation": "silu", "lr": 5e-3},
        {**_AFFINE, **_LINEAR, "activation": "silu", "weight_decay": 0.3},
        {**_AFFINE, **_LINEAR, "activation": "silu", "batch_size": 1000},
        {**_AFFINE, **_LINEAR, "activation": "silu", "mixing": "lu"},
        {**_AFFINE, **_LINEAR, "activation": "silu", "couplings": 4},
        {**_AFFINE, **_LINEAR, "activation": "silu", "lr": 5e-3, "max_steps": 2000},
        {**_AFFINE, **_LINEAR, "activation": "silu", "lr": 5e-3, "weight_decay": 0.3},
    ],
}
CHOSEN = {"two_moons": SEARCHED["two_moons"][0], "gaussian_linear": SEARCHED["gaussian_linear"][13]}
_FIT = {"max_steps", "batch_size", "lr", "patience", "weight_decay", "validate_every"}


def simulations(task: Task, n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Pairs of parameters and data."""
    generator = torch.Generator().manual_seed(seed)
    theta = task.prior(n, generator)
    return theta, task.simulate(theta, generator)


def observations(task: Task, n: int) -> Tensor:
    """What is to be explained, the first n of ten: whatever n and the seed of the simulations."""
    generator = torch.Generator().manual_seed(1_000_000)
    return task.simulate(task.prior(TEN, generator), generator)[:n]


# Learners: from simulations to a function that draws from the posterior of an observation -------

Sampler = Callable[[Tensor, int], Tensor]


def ours(theta: Tensor, x: Tensor, settings: dict[str, Any], seed: int) -> tuple[Sampler, float]:
    """A conditional flow; also its validation likelihood, in nats."""
    training = {key: value for key, value in settings.items() if key in _FIT}
    options = {k: v for k, v in settings.items() if k not in _FIT and k != "model"}
    flow = pf.create(
        settings["model"], shape=(theta.shape[1],), context=x.shape[1], seed=seed, **options
    )
    mean, std = x.mean(0), x.std(0)
    run = pf.fit(flow, theta, context=(x - mean) / std, progress=False, seed=seed, **training)

    def draw(observed: Tensor, n: int) -> Tensor:
        return flow.sample(n, context=(observed - mean) / std, seed=seed).double()

    return draw, -run.best["validation"]


def peer(theta: Tensor, x: Tensor, settings: dict[str, Any], seed: int) -> tuple[Sampler, float]:
    """NPE of sbi with its own NSF (nflows), its defaults: 50 hidden units, 5 transforms."""
    from sbi.inference import NPE

    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # sbi writes its logs
        trainer = NPE(density_estimator="nsf", show_progress_bars=False)
        trainer.append_simulations(theta.float(), x.float())
        network = trainer.train()

    @torch.no_grad()
    def draw(observed: Tensor, n: int) -> Tensor:
        return network.sample((n,), observed.float()[None])[:, 0].double()

    return draw, float(trainer.summary["best_validation_loss"][-1]) * -1


def within(task: Task, draw: Sampler, observed: Tensor, n: int) -> Tensor:
    """Draws inside of the prior's support, more of them drawn until there are enough."""
    wanted, kept = n, torch.empty(0, task.dims, dtype=torch.float64)
    while len(kept) < n:
        wanted *= 2
        if wanted > 1_000 * n:
            raise RuntimeError("hardly a draw is within the prior's support")
        kept = draw(observed, wanted)
        kept = kept[task.inside(kept)]
    return kept[:n]


def c2st(reference: np.ndarray, drawn: np.ndarray, seed: int = 1) -> float:
    """How often a classifier tells the two apart, over 5 folds; 0.5 if they are alike."""
    from sklearn.model_selection import KFold, cross_val_score
    from sklearn.neural_network import MLPClassifier

    mean, std = reference.mean(0), reference.std(0, ddof=1)
    data = ((np.concatenate((reference, drawn)) - mean) / std).astype(np.float32)  # twice as fast
    target = np.repeat([0, 1], [len(reference), len(drawn)])
    hidden = (10 * data.shape[1],) * 2
    classifier = MLPClassifier(hidden, max_iter=1000, random_state=seed)
    folds = KFold(n_splits=5, shuffle=True, random_state=seed)
    return float(cross_val_score(classifier, data, target, cv=folds).mean())


def search(name: str, simulated: int, seed: int, start: int) -> None:
    """Print the validation likelihood of each setting."""
    theta, x = simulations(TASKS[name], simulated, seed)
    for settings in SEARCHED[name][start:]:
        began = time.monotonic()
        _, likelihood = ours(theta, x, settings, seed)
        print(f"{likelihood:8.4f} nats  {time.monotonic() - began:5.0f} s  {settings}", flush=True)


def measure(name: str, learner: str, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Learn once, then C2ST of one observation after the other: what is known after each."""
    task = TASKS[name]
    theta, x = simulations(task, args.simulations, args.seed)
    start = time.monotonic()
    learn = {"ours": ours, "sbi": peer}[learner]
    draw, likelihood = learn(theta, x, CHOSEN[name], args.seed)
    seconds = time.monotonic() - start
    scores = []
    for index, observed in enumerate(observations(task, args.observations)):
        generator = torch.Generator().manual_seed(2_000_000 + index)
        reference = task.reference(observed, args.draws, generator).numpy()
        scores.append(c2st(reference, within(task, draw, observed, args.draws).numpy()))
        mean, sd = float(np.mean(scores)), float(np.std(scores, ddof=1)) if index else 0.0
        print(
            f"{name:16} {learner:5} observation {index}: {scores[-1]:.3f}; so far {mean:.3f} ± "
            f"{sd:.3f} (published {PUBLISHED[name]:.3f}), {likelihood:.3f} nats, trained in "
            f"{seconds:.0f} s",
            flush=True,
        )
        yield {
            "task": name,
            "learner": learner,
            "settings": CHOSEN[name] if learner == "ours" else "sbi's defaults",
            "seed": args.seed,
            "simulations": args.simulations,
            "draws": args.draws,
            "c2st": scores,
            "mean": mean,
            "sd": sd,
            "validation_nats": likelihood,
            "training_seconds": round(seconds, 1),
            "published": PUBLISHED[name],
        }


def main() -> None:
    """Measure what was asked for, and add it to the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tasks", nargs="*", help="two_moons, gaussian_linear; both if none")
    parser.add_argument("--search", action="store_true", help="validation likelihoods only")
    parser.add_argument("--begin", type=int, default=0, help="the first setting to search")
    parser.add_argument("--peer", action="store_true", help="sbi's NPE instead of ours")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--simulations", type=int, default=10_000)
    parser.add_argument("--observations", type=int, default=TEN, choices=range(1, TEN + 1))
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--quick", action="store_true", help="small: does it run?")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    unknown = set(args.tasks) - set(TASKS)
    if unknown:
        parser.error(f"no task {sorted(unknown)}; there are {', '.join(TASKS)}")
    if args.quick:
        args.simulations, args.observations, args.draws = 500, 1, 300
    results = json.loads(args.out.read_text()) if args.out.exists() and not args.quick else []
    for name in args.tasks or TASKS:
        if args.search:
            search(name, args.simulations, args.seed, args.begin)
            continue
        for new in measure(name, "sbi" if args.peer else "ours", args):
            key = ("task", "learner", "seed")
            results = [old for old in results if any(old[k] != new[k] for k in key)] + [new]
            if not args.quick:  # after each observation, so that a run cut short is not in vain
                write_text(args.out, json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
