"""Workloads on real data: household power (rows) and handwritten digits (images)."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

import pushforward
from pushforward.layers import Dequantize
from pushforward.training.settings import FitConfig
from report import Report, Variant, figure, mean_and_error, table, with_error

__all__ = ["digits", "power"]

TRAINING = {field.name for field in dataclasses.fields(FitConfig)}


# Household power -------------------------------------------------------------------------------


def power(seconds: float, seeds: int, variants: tuple[Variant, ...]) -> Report | None:
    """Our model after a few minutes beside a Gaussian mixture; None without the data."""
    folder = os.environ.get("PUSHFORWARD_DATA")
    file = Path(folder or ".") / "tabular" / "power_2007h1.parquet"
    if not (folder and file.exists()):
        print(
            "power: skipped; set PUSHFORWARD_DATA to a folder with tabular/power_2007h1.parquet "
            "(benchmarks/README.md says what that is)."
        )
        return None
    dataset = power_rows(file)
    rows, figures = [], {}

    def measured(name: str, scores: dict[str, np.ndarray], took: float, notes: str) -> None:
        cells = [name, notes]
        entry: dict[str, Any] = {"seconds": took}
        for split, values in scores.items():
            mean, error = mean_and_error(values)
            cells += [with_error(mean, error, 3), figure(np.median(values), 3)]
            cells.append(figure(float(values.min()), 1))
            entry[split] = {
                "mean": mean,
                "standard_error": error,
                "median": float(np.median(values)),
                "worst": float(values.min()),
            }
        figures[name] = entry
        rows.append([*cells, f"{took:.0f}"])
        print(f"power: {name}: " + "; ".join(cells[1:]), flush=True)

    took, mixture = mixture_of_power(dataset)
    scores = {split: mixture.score_samples(getattr(dataset, split)) for split in HELD_OUT}
    measured("scikit-learn GaussianMixture(50)", scores, took, f"{mixture.n_iter_} iterations")
    for variant in (Variant("pushforward", {}), *variants):
        for seed in range(seeds):
            name = variant.name if seeds == 1 else f"{variant.name}, seed {seed}"
            options = {"couplings": 10, "width": 128, "max_time": seconds, **variant.options}
            flow, run, took = fitted((6,), options, dataset, seed)
            scores = {split: score(flow, getattr(dataset, split)) for split in HELD_OUT}
            measured(name, scores, took, f"{int(run.records[-1]['step']):,} steps")
    head = ["model", "training"]
    for split in HELD_OUT:
        head += [f"{split} mean ± s.e.", "median", "worst point"]
    body = (
        f"Log-density in nats, higher is better: {len(dataset.train):,} rows of 6 numbers to train "
        f"on, {len(dataset.validation):,} to validate and {len(dataset.test):,} to test. Ours is "
        f"`RealNVP((6,), couplings=10, width=128)` and `fit` for {seconds:.0f} s with its "
        f"defaults.\n\n{table([*head, 's'], rows)}"
    )
    return Report("power", "Household power", body, figures)


HELD_OUT = ("validation", "test")


def power_rows(file: Path) -> pushforward.Dataset:
    """The rows as the MAF paper prepares them: noise, splits, standardised."""
    import pandas as pd

    frame = pd.read_parquet(file).dropna()
    rng = np.random.default_rng(42)
    rows = rng.permutation(frame.to_numpy(np.float64))
    names = [name for index, name in enumerate(frame.columns) if index not in (1, 3)]
    # active power, voltage, three sub-meters, minute of the day
    rows = np.delete(rows, (1, 3), axis=1)
    rows += rng.random(rows.shape) * np.array([0.001, 0.01, 1, 1, 1, 0])
    rest, test = np.split(rows, [len(rows) - len(rows) // 10])
    mean, deviation = rest.mean(0), rest.std(0)
    train, validation = np.split(rest, [len(rest) - len(rest) // 10])
    parts = [((part - mean) / deviation).astype(np.float32) for part in (train, validation, test)]
    return pushforward.Dataset("power", "rows", (6,), None, *parts, columns=tuple(names))


def mixture_of_power(dataset: pushforward.Dataset) -> tuple[float, Any]:
    """Fifty full covariances on 100,000 rows."""
    from sklearn.mixture import GaussianMixture

    start = time.perf_counter()
    mixture = GaussianMixture(50, covariance_type="full", max_iter=60, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sixty iterations need not converge
        mixture.fit(dataset.train[:100_000])
    return time.perf_counter() - start, mixture


def fitted(
    shape: tuple[int, ...], options: dict[str, Any], dataset: pushforward.Dataset, seed: int
) -> tuple[pushforward.Flow, pushforward.Run, float]:
    """Build ``RealNVP`` and ``fit`` it, each with its share of the options."""
    training = {key: value for key, value in options.items() if key in TRAINING - {"seed"}}
    model = {key: value for key, value in options.items() if key not in training}
    flow = pushforward.RealNVP(shape, levels=dataset.levels, **{"seed": seed, **model})
    start = time.perf_counter()
    run = pushforward.fit(
        flow, dataset, progress=False, seed=seed, threads=torch.get_num_threads(), **training
    )
    return flow, run, time.perf_counter() - start


@torch.no_grad()
def score(flow: pushforward.Flow, x: np.ndarray) -> np.ndarray:
    """Log-density of each event in nats, float64."""
    parts = [flow.log_prob(part).double() for part in torch.from_numpy(x).split(4_096)]
    return torch.cat(parts).numpy()


# Digits ----------------------------------------------------------------------------------------

LEVELS, PIXELS = 17, 64
ALPHAS = (0.05, 0.005, 0.0005)
COMPONENTS = (6, 10, 14, 20, 30)
REGULARISATIONS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.6)
COPIES = (1, 4)  # of the training images, each with noise of its own
DRAWS = 16  # of dequantisation noise, over which every bits/dim is averaged


def digits(seconds: float, model: Path | None, variants: tuple[Variant, ...]) -> Report:
    """The best Gaussian mixture that a search finds, and ours, on the same test images."""
    dataset = pushforward.open_data("digits")
    start = time.perf_counter()
    chosen, searched = best_mixture(dataset)
    took = time.perf_counter() - start
    reference = mixture_bits(*chosen, dataset.test)
    name = f"Gaussian mixture in logit space, {chosen[1]}"
    held_out = mixture_bits(*chosen, dataset.validation).mean()
    rows = [[name, figure(held_out), figure(reference.mean()), "", f"{took:.0f}"]]
    figures: dict[str, Any] = {
        "mixture": {
            "chosen": chosen[1].__dict__,
            "validation": float(held_out),
            "test": float(reference.mean()),
            "searched": searched,
        }
    }
    if model is not None:
        contenders = [(f"pushforward {model.name}", pushforward.load(model), math.nan)]
    else:
        contenders = []
        for variant in (Variant("pushforward", {}), *variants):
            options = {"dropout": 0.2, "shift": 0.3, "max_time": seconds, **variant.options}
            flow, _, took = fitted((1, 8, 8), options, dataset, seed=0)
            contenders.append((variant.name, flow, took))
    for name, flow, took in contenders:
        held_out, test = (flow_bits(flow, getattr(dataset, split)) for split in HELD_OUT)
        difference, error = mean_and_error(test - reference)
        rows.append(
            [
                name,
                figure(held_out.mean()),
                figure(test.mean()),
                with_error(difference, error, sign=True),
                "-" if math.isnan(took) else f"{took:.0f}",
            ]
        )
        figures[name] = {
            "validation": float(held_out.mean()),
            "test": float(test.mean()),
            "minus_mixture": {"mean": difference, "standard_error": error},
            "seconds": took,
        }
        print(f"digits: {name}: {figure(test.mean())} bits/dim", flush=True)
    head = ["model", "validation", "test", "test minus mixture, paired ± s.e.", "s"]
    body = (
        f"Bits/dim, lower is better: 8x8 images of {LEVELS} levels, {len(dataset.train):,} to "
        f"train on, {len(dataset.validation)} to validate and {len(dataset.test)} to test; each "
        f"figure is the mean over {DRAWS} draws of dequantisation noise. The mixture is the best "
        f"on the validation images of {len(searched)} (squash, components, regularisation, copies "
        f"of the training images with other noise). Ours trains for {seconds:.0f} s where no saved "
        f"model is given; its weights, too, are the best on the validation images.\n\n"
        f"{table(head, rows)}"
    )
    return Report("digits", "Digits", body, figures)


@dataclasses.dataclass(frozen=True)
class Choice:
    """Of a mixture: the logit's squash, components, what variances gain, copies of the data."""

    alpha: float
    components: int
    regularisation: float
    copies: int

    def __str__(self) -> str:
        return (
            f"alpha {self.alpha:g}, k {self.components}, reg {self.regularisation:g}, "
            f"copies {self.copies}"
        )


def best_mixture(dataset: pushforward.Dataset) -> tuple[tuple[Any, Choice], dict[str, float]]:
    """Search squash, components and regularisation on the validation images."""
    from sklearn.mixture import GaussianMixture

    best: tuple[Any, Choice] | None = None
    searched: dict[str, float] = {}
    for choice in itertools.starmap(
        Choice, itertools.product(ALPHAS, COMPONENTS, REGULARISATIONS, COPIES)
    ):
        noisy = [to_logits(dataset.train, choice.alpha, draw)[0] for draw in range(choice.copies)]
        mixture = GaussianMixture(
            choice.components, reg_covar=choice.regularisation, max_iter=100, random_state=0
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mixture.fit(np.concatenate(noisy))
        bits = float(mixture_bits(mixture, choice, dataset.validation, draws=4).mean())
        searched[str(choice)] = bits
        if bits <= min(searched.values()):
            best = mixture, choice
    assert best is not None
    return best, searched


def to_logits(images: np.ndarray, alpha: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Dequantised, squashed, through the logit; with log|dz/dv| of each image, in nats."""
    v = images.reshape(len(images), -1).astype(np.float64)
    p = (v + np.random.default_rng(seed).random(v.shape)) / LEVELS
    p = alpha + (1 - 2 * alpha) * p
    log_slope = math.log1p(-2 * alpha) - math.log(LEVELS) - np.log(p) - np.log1p(-p)
    return np.log(p) - np.log1p(-p), log_slope.sum(1)


def mixture_bits(
    mixture: Any, choice: Choice, images: np.ndarray, draws: int = DRAWS
) -> np.ndarray:
    """Bits/dim of each image under a mixture in logit space."""
    total = np.zeros(len(images))
    for draw in range(draws):
        z, log_det = to_logits(images, choice.alpha, 1_000 + draw)
        total += mixture.score_samples(z) + log_det
    return -total / draws / (PIXELS * math.log(2))


@torch.no_grad()
def flow_bits(flow: pushforward.Flow, images: np.ndarray) -> np.ndarray:
    """Bits/dim of each image under a flow, over as many draws of the noise."""
    noise = next(layer for layer in flow.chain if isinstance(layer, Dequantize))
    flow.eval()
    total = torch.zeros(len(images), dtype=torch.float64)
    for draw in range(DRAWS):
        noise.seed.fill_(1_000 + draw)
        total += flow.bits_per_dim(images).double()
    return (total / DRAWS).numpy()
