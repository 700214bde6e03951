"""How well are missing values filled in? Flows beside the usual imputers.

Protocol: a table is scaled to [0, 1] by its columns' ranges; 20 % of its observed cells are hidden
completely at random, by five masks (seeds 0 to 4); every method learns from what is left of the
very table that it fills in. Measured on the hidden cells: RMSE of one value for each (the
conditional mean), CRPS of 20 draws (of a method with one value it is the mean absolute error), the
share of true values within the 90 % interval of those draws, and seconds (fit and fill). Tables:
scikit-learn's breast cancer (569 x 30), household power (10,000 rows), ADBench's pendigits and
horse_colic (numbers as they stand, codes included); the last three from the folder
$PUSHFORWARD_DATA.

Of tables with more rows (in an order drawn by seed 0) only the hidden cells of the first 1,000 are
measured, and filled in by us; all rows are learned from.

Ours is ``RealNVP(missing=True, base="mixture")`` trained on the incomplete table, a tenth of the
rows for early stopping, and ``impute``. One set of options for all tables; nothing is chosen by the
hidden cells.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]

DRAWS = 20
MEASURED = 1_000
TABLES = ("breast_cancer", "power", "pendigits", "horse_colic")


def main() -> None:
    """Run tables and methods, and write the figures after each table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*", default=[], help=f"of {', '.join(TABLES)}; all")
    parser.add_argument("--masks", type=int, default=5)
    parser.add_argument("--forest-masks", type=int, default=1, help="the forest chain is slow")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--quick", action="store_true", help="does it run? 200 rows, one mask")
    args = parser.parse_args()
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    file = args.out / "imputation.json"
    record = json.loads(file.read_text()) if file.exists() and not args.quick else {}
    record["machine"] = (
        f"{platform.machine()}, {torch.get_num_threads()} thread, torch {torch.__version__}"
    )
    for name in args.tables or TABLES:
        truth = table(name)
        if truth is None:
            print(f"{name}: skipped; set PUSHFORWARD_DATA.")
            continue
        if len(truth) > MEASURED:
            truth = truth[np.random.default_rng(0).permutation(len(truth))]
        truth = scaled(truth[:200] if args.quick else truth)
        found = record.setdefault(name, {"rows": len(truth), "columns": truth.shape[1]})
        for method in args.methods.split(","):
            masks = 1 if args.quick else args.forest_masks if method == "forest" else args.masks
            runs = []
            for seed in range(masks):
                runs.append(measure(METHODS[method], truth, seed))
                print(f"{name}: {method}: mask {seed}: {runs[-1]}", flush=True)
            found[method] = {key: [round(run[key], 5) for run in runs] for key in runs[0]}
            said = ", ".join(f"{key} {np.mean(v):.4f}" for key, v in found[method].items())
            print(f"{name}: {method}: {said} ({masks} masks)", flush=True)
            if not args.quick:
                file.write_text(json.dumps(record, indent=1) + "\n")


def table(name: str) -> Array | None:
    """Rows ``(N, D)``, NaN where the source lacks a value; None without the data."""
    if name == "breast_cancer":
        from sklearn.datasets import load_breast_cancer

        rows: Array = load_breast_cancer().data
        return rows
    folder = Path(os.environ.get("PUSHFORWARD_DATA", "")) / "tabular"
    files = {
        "power": "power_2007h1.parquet",
        "pendigits": "adbench_pendigits.npz",
        "horse_colic": "horse_colic.csv",
    }
    file = folder / files[name]
    if not os.environ.get("PUSHFORWARD_DATA") or not file.exists():
        return None
    if file.suffix == ".npz":
        return np.load(file)["X"].astype(float)
    import pandas as pd

    if file.suffix == ".csv":
        frame = pd.read_csv(file, na_values="?")
    else:
        frame = pd.read_parquet(file)
        frame = frame.iloc[np.random.default_rng(0).permutation(len(frame))[:10_000]]
    frame = frame.select_dtypes("number").astype(float)
    return frame.loc[:, frame.nunique() > 1].to_numpy()


def scaled(rows: Array) -> Array:
    """Each column to [0, 1]."""
    low, high = np.nanmin(rows, 0), np.nanmax(rows, 0)
    return (rows - low) / np.where(high > low, high - low, 1.0)


def measure(
    method: Callable[[Array, int], tuple[Array, Array | None]], truth: Array, seed: int
) -> dict[str, float]:
    """Hide, fill in, compare."""
    rng = np.random.default_rng(seed)
    hidden = (rng.random(truth.shape) < 0.2) & ~np.isnan(truth)
    rows = np.where(hidden, np.nan, truth)
    began = time.time()
    mean, draws = method(rows, seed)
    took = time.time() - began
    hidden[MEASURED:] = False
    true, error = truth[hidden], (mean - truth)[hidden]
    result = {"rmse": float(np.sqrt(np.mean(error**2))), "crps": float(np.mean(np.abs(error)))}
    if draws is not None:
        cells = np.sort(draws[:, hidden], axis=0)
        result["crps"] = crps(cells, true)
        # With chance i / (K + 1) a value lies below the i-th of K draws from its own law: Weibull's
        # rule. Between NumPy's own 5 % and 95 % quantiles of 20 draws it lies with 81 %, not 90 %.
        low, high = np.quantile(cells, (0.05, 0.95), axis=0, method="weibull")
        result["coverage"] = float(np.mean((low <= true) & (true <= high)))
    return {**result, "seconds": took}


def crps(draws: Array, true: Array) -> float:
    """The unbiased estimate from sorted draws ``(K, n)`` (Gneiting and Raftery 2007)."""
    count = len(draws)
    weight = (2 * np.arange(1, count + 1) - count - 1)[:, None]
    apart = (weight * draws).sum(0) / (count * (count - 1))
    return float(np.mean(np.abs(draws - true).mean(0) - apart))


# The methods -----------------------------------------------------------------------------------


def ours(rows: Array, seed: int) -> tuple[Array, Array | None]:
    """A flow over a mixture, learned from incomplete rows."""
    import pushforward as pf

    small = len(rows) < 2_000
    options = {"couplings": 4, "width": 32} if small else {"couplings": 8, "width": 64}
    components = 1 if small else 8
    flow = pf.RealNVP(
        (rows.shape[1],), missing=True, base="mixture", base_components=components, **options
    )
    steps = 400 if small else 1_000
    pf.fit(
        flow,
        rows,
        max_steps=steps,
        patience=8,
        validate_every=steps // 24,
        progress=False,
        seed=seed,
    )
    some = rows[:MEASURED]
    filled = pf.impute(flow, some, draws=DRAWS, steps=60 if small else 40, seed=seed)
    rest = rows[MEASURED:]  # not asked for
    draws = np.concatenate([filled.draws, np.repeat(rest[None], DRAWS, axis=0)], axis=1)
    return np.concatenate([filled.mean, rest]), draws


def gaussian(rows: Array, seed: int) -> tuple[Array, Array | None]:
    """One normal of full covariance by EM: its conditional mean, and draws from it."""
    import torch

    from pushforward.gaussians.missing import fit_gaussian

    x = torch.from_numpy(rows)
    found = fit_gaussian(x).given(x)
    generator = torch.Generator().manual_seed(seed)
    draws = np.stack([found.fill(x, found.sample(1, generator)[0]).numpy() for _ in range(DRAWS)])
    return found.fill(x, found.mean()).numpy(), draws


def chained(rows: Array, seed: int) -> tuple[Array, Array | None]:
    """scikit-learn's IterativeImputer (Bayesian ridge regressions)."""
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    return _quiet(IterativeImputer(max_iter=20, random_state=seed), rows), None


def forest(rows: Array, seed: int) -> tuple[Array, Array | None]:
    """A chain of random forests, as MissForest."""
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    trees = RandomForestRegressor(50, max_features="sqrt", random_state=seed)
    return _quiet(IterativeImputer(trees, max_iter=5, random_state=seed), rows), None


def neighbours(rows: Array, seed: int) -> tuple[Array, Array | None]:
    """scikit-learn's KNNImputer, 5 neighbours."""
    from sklearn.impute import KNNImputer

    return _quiet(KNNImputer(), rows), None


def column_mean(rows: Array, seed: int) -> tuple[Array, Array | None]:
    """The mean of each column."""
    from sklearn.impute import SimpleImputer

    return _quiet(SimpleImputer(), rows), None


def _quiet(imputer: Any, rows: Array) -> Array:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged
        filled: Array = imputer.fit_transform(rows)
    return filled


METHODS: dict[str, Callable[[Array, int], tuple[Array, Array | None]]] = {
    "ours": ours,
    "gaussian": gaussian,
    "chained": chained,
    "forest": forest,
    "neighbours": neighbours,
    "column_mean": column_mean,
}


if __name__ == "__main__":
    main()
