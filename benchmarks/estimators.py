"""FlowDensity beside KernelDensity and GaussianMixture on small real tables.

    python benchmarks/estimators.py
    python benchmarks/estimators.py --data DATA      # six sets: with POWER
    python benchmarks/estimators.py --quick          # does it run at all

Five of scikit-learn's own sets: iris, wine, diabetes, breast cancer, and the ten first principal
components of its digits; and, where the data folder is given, 2,500 rows of POWER. Iris is measured
to a tenth, and gets uniform noise of that width; diabetes loses its one column of two values; POWER
gets the noise of the paper of MAF. Otherwise a density that is infinite at the values that the
columns can take would win.

Of each set, a fifth of the rows is held out, for each seed another one. All methods see the same
rows, standardised by the mean and the deviation of the training rows (densities are those of
standardised rows, and differences between methods do not depend on that), and take turns set by
set. FlowDensity gets no argument but ``random_state``. The others search a grid by the likelihood
of five folds of the training rows, and learn from all of them with what was best; "best on test"
chooses by the held-out rows themselves instead, which nobody can do in earnest: as hard a bar as
there is. Figures are nats per held-out row, higher is better; times are processor seconds of
everything, the search of a grid included.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn import datasets
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, ParameterGrid
from sklearn.neighbors import KernelDensity

from pushforward.sklearn import FlowDensity
from report import Report, mean_and_error, table, with_error

Array = np.ndarray[Any, np.dtype[np.float64]]

BANDWIDTHS = {"bandwidth": [0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0]}
MIXTURES = {"n_components": [1, 2, 3, 4, 8, 16], "reg_covar": [1e-6, 1e-3, 1e-1]}


def main() -> None:
    """Every set, every seed, every method in turn."""
    args = arguments()
    torch.set_num_threads(1)
    scores: dict[str, dict[str, list[float]]] = {}
    seconds: dict[str, dict[str, list[float]]] = {}
    sizes: dict[str, tuple[int, ...]] = {}
    sets = tables(args.data)
    seeds = 1 if args.quick else args.seeds
    for seed in range(seeds):
        for name, rows in sets.items():
            sizes[name] = rows.shape
            for method, (score, took) in measured(rows, seed, args.quick).items():
                scores.setdefault(name, {}).setdefault(method, []).append(score)
                seconds.setdefault(name, {}).setdefault(method, []).append(took)
            print(name, seed, {m: round(v[-1], 3) for m, v in scores[name].items()}, flush=True)
        report = page(scores, seconds, sizes, seed + 1)
        if not args.quick:
            report.save(args.out)
    print("\n" + report.markdown())


def tables(folder: Path | None) -> dict[str, Array]:
    """The sets, as real numbers without repeated values."""
    rng = np.random.default_rng(0)
    iris, digits = datasets.load_iris().data, datasets.load_digits().data
    found = {
        "iris": iris + rng.uniform(-0.05, 0.05, iris.shape),
        "wine": datasets.load_wine().data,
        "diabetes": np.delete(datasets.load_diabetes().data, 1, axis=1),
        "breast cancer": datasets.load_breast_cancer().data,
        "digits, 10 components": PCA(10, random_state=0).fit_transform(digits),
    }
    if folder is not None:
        import pandas as pd

        power = pd.read_parquet(folder / "tabular" / "power_2007h1.parquet").dropna()
        rows = np.delete(power.sample(2_500, random_state=0).to_numpy(np.float64), (1, 3), axis=1)
        found["POWER"] = rows + rng.random(rows.shape) * np.array([0.001, 0.01, 1, 1, 1, 0])
    return found


def measured(rows: Array, seed: int, quick: bool) -> dict[str, tuple[float, float]]:
    """Nats per held-out row of each method, and processor seconds."""
    order = np.random.default_rng(seed).permutation(len(rows))
    held_out, train = rows[order[: len(rows) // 5]], rows[order[len(rows) // 5 :]]
    mean, deviation = train.mean(0), train.std(0)
    train, held_out = (train - mean) / deviation, (held_out - mean) / deviation

    flow = FlowDensity(random_state=seed, max_steps=5 if quick else None)
    kernel, mixture = KernelDensity(), GaussianMixture(random_state=seed)
    kernels = GridSearchCV(kernel, BANDWIDTHS, cv=5)
    mixtures = GridSearchCV(mixture, MIXTURES, cv=5)
    fits: dict[str, Callable[[], float]] = {
        "FlowDensity": lambda: float(flow.fit(train).score_samples(held_out).mean()),
        "KernelDensity": lambda: grid(kernels, train, held_out),
        "GaussianMixture": lambda: grid(mixtures, train, held_out),
        "either, best on test": lambda: max(
            best_on_test(kernel, BANDWIDTHS, train, held_out),
            best_on_test(mixture, MIXTURES, train, held_out),
        ),
    }
    names = list(fits)
    turn = seed % len(names)
    result = {}
    for name in names[turn:] + names[:turn]:
        began = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # EM that has not converged is part of the grid
            score = fits[name]()
        result[name] = (score, time.process_time() - began)
    return {name: result[name] for name in names}


def grid(search: Any, train: Array, held_out: Array) -> float:
    """The held-out likelihood of what five folds have chosen."""
    return float(search.fit(train).best_estimator_.score_samples(held_out).mean())


def best_on_test(estimator: Any, choices: dict[str, list[Any]], train: Array, rows: Array) -> float:
    """The most that any place of the grid reaches on the held-out rows."""
    return max(
        float(estimator.set_params(**place).fit(train).score_samples(rows).mean())
        for place in ParameterGrid(choices)
    )


def page(
    scores: dict[str, dict[str, list[float]]],
    seconds: dict[str, dict[str, list[float]]],
    sizes: dict[str, tuple[int, ...]],
    seeds: int,
) -> Report:
    """Figures and tables of everything."""
    methods = list(next(iter(scores.values())))
    lines, times, won = [], [], 0
    for name, found in scores.items():
        flow, *others = (np.array(found[method]) for method in methods)
        best = max(others[:2], key=np.mean)
        difference = mean_and_error(flow - best)
        won += difference[0] >= 0
        cells = [f"{found_mean:.3f}" for found_mean in (np.mean(found[m]) for m in methods)]
        size = f"{sizes[name][0]:,} x {sizes[name][1]}"
        lines.append([name, size, *cells, with_error(*difference, digits=3, sign=True)])
        times.append([name, *(f"{np.mean(seconds[name][m]):.1f}" for m in methods[:3])])
    body = (
        f"Nats per held-out row (standardised), mean of {seeds} splits; the last column is "
        f"FlowDensity less the better of KernelDensity and GaussianMixture, with the standard "
        f"error over splits. FlowDensity is at least as good on {won} of {len(scores)} sets.\n\n"
        + table(["set", "rows", *methods, "difference"], lines)
        + "\n\nProcessor seconds of a fit, grids included.\n\n"
        + table(["set", *methods[:3]], times)
    )
    figures = {"scores": scores, "seconds": seconds, "sizes": sizes, "seeds": seeds}
    return Report("estimators", "Density estimators on small real tables", body, figures)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    folder = os.environ.get("PUSHFORWARD_DATA")
    parser.add_argument("--data", type=Path, default=Path(folder) if folder else None)
    parser.add_argument("--seeds", type=int, default=2, help="splits of each set")
    parser.add_argument("--quick", action="store_true", help="one split, five steps, no files")
    out = Path(__file__).parent / "results"
    parser.add_argument("--out", type=Path, default=out, help="folder of the results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
