"""What do the maps of a table's columns bring, and which model is best behind them?

Protocol: each table is divided once (seed) into training rows, of which ``fit`` keeps a tenth for
validation, and test rows. Every model learns with the same number of steps and rows a step (its
own defaults otherwise; ``recommended`` with the training that is recommended too), keeps its best
validation, and is scored on the test rows in nats a row, with 16 draws of noise where columns are
discrete. CPU seconds of training are those of one thread. Three questions:

* ``tails``: two columns with a normal copula (correlation 0.8) and the marginals lognormal, Pareto
  (1.5) and Cauchy, where the density is known; no map beside ``yeo-johnson``.
* ``codes``: the synthetic table; cells of equal width through a logit, as of pixels, beside cells
  as wide as they are frequent.
* ``models``: a synthetic table of a category, a Boolean, a count, a share and two numbers, whose
  density is known; and scikit-learn's diabetes and breast cancer (ten means and the diagnosis), all
  columns as ``detect`` finds them. Several models, and what ``recommend`` gives.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
import torch

import pushforward as pf
from pushforward.data.detect import detect
from pushforward.models import front
from pushforward.models.recommend import recommend_rows

Array = np.ndarray[Any, np.dtype[np.float64]]
Table = tuple[Array, Array, list[dict[str, Any]], float | None]
"""Training rows, test rows, columns, the true log-density of the test rows (mean, in nats)."""

TAILS = {
    "lognormal": scipy.stats.lognorm(1.0),
    "pareto": scipy.stats.pareto(1.5),
    "cauchy": scipy.stats.cauchy(),
}
MODELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "RealNVP affine": (pf.RealNVP, {"width": 64}),
    "RealNVP spline": (pf.RealNVP, {"width": 64, "law": "spline"}),
    "NSF, 4 steps": (pf.NSF, {"width": 64, "steps": 4}),
    "MAF affine": (pf.MAF, {"width": 64}),
    "MAF spline": (pf.MAF, {"width": 64, "law": "spline"}),
    "GMM": (pf.GMM, {}),
}


def main() -> None:
    """Answer the questions named, and write the figures after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("questions", nargs="*", help="of tails, codes, models; all")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rows", type=int, default=3000, help="training rows of synthetic tables")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="ten steps: does it run?")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/columns.json")
    options = parser.parse_args()
    if options.quick:
        options.steps, options.rows = 10, 300
    torch.set_num_threads(1)
    told = json.loads(options.out.read_text()) if options.out.exists() else {"results": {}}
    told["machine"] = f"{platform.machine()}, one thread"
    told["settings"] = {k: v for k, v in vars(options).items() if k in ("steps", "rows", "batch")}
    for question in options.questions or ("models", "tails", "codes"):
        for case, found in {"tails": tails, "codes": codes, "models": models}[question](options):
            told["results"][f"{question} / {case}"] = found
            print(f"{question:7} {case:40} {found}", flush=True)
            if not options.quick:
                options.out.write_text(json.dumps(told, indent=2))


# The questions -----------------------------------------------------------------------------------


def tails(options: argparse.Namespace) -> Any:
    """Heavy tails with and without the power map."""
    for name, law in TAILS.items():
        train, test, truth = copula(law, options.rows, options.seed)
        for kind in ("none", "yeo-johnson"):
            for model in ("RealNVP affine", "RealNVP spline"):
                table = (train, test, [{"transform": kind}] * 2, truth)
                yield f"{name}, {kind}, {model}", measured(model, table, options)


def codes(options: argparse.Namespace) -> Any:
    """Equal cells through a logit beside cells of the codes' frequencies."""
    train, test, columns, truth = synthetic(options.rows, options.seed)
    equal = [equal_cells(column) for column in columns]
    few = front._MOST_CELLS
    for way, chosen, most in (("frequencies", columns, few), ("equal cells", equal, 0)):
        front._MOST_CELLS = most  # above which no frequencies are counted
        for model in ("RealNVP affine", "RealNVP spline"):
            yield f"{way}, {model}", measured(model, (train, test, chosen, truth), options)
    front._MOST_CELLS = few


def models(options: argparse.Namespace) -> Any:
    """Models behind the same front."""
    tables = {
        "synthetic": synthetic(options.rows, options.seed),
        "diabetes": bundled("diabetes", options.seed),
        "breast cancer": bundled("breast_cancer", options.seed),
    }
    for name, table in tables.items():
        for model in (*MODELS, "recommended"):
            yield f"{name}, {model}", measured(model, table, options)


def measured(model: str, table: Table, options: argparse.Namespace) -> dict[str, Any]:
    """Train one model on one table, and score the test rows."""
    train, test, columns, truth = table
    training = {"max_steps": options.steps, "batch_size": options.batch}
    if model == "recommended":
        advice = recommend_rows(len(train), train.shape[1])
        flow = pf.RealNVP(train.shape[1:], columns=columns, **advice.model)
        training = dict(advice.training) or training
    else:
        make, given = MODELS[model]
        flow = make(train.shape[1:], columns=columns, **given)
    if model == "GMM":
        training = {}
    began = time.process_time()
    pf.fit(flow, train, progress=False, seed=options.seed, **training)
    spent = time.process_time() - began
    with torch.no_grad():
        score = flow.log_prob(test, samples=1 if flow.exact else 16).double().numpy()
    return {
        "test": round(float(score.mean()), 3),
        "error": round(float(score.std() / np.sqrt(len(score))), 3),
        "median": round(float(np.median(score)), 3),
        "truth": None if truth is None else round(truth, 3),
        "cpu_s": round(spent, 1),
    }


# The tables --------------------------------------------------------------------------------------


def copula(law: Any, rows: int, seed: int) -> tuple[Array, Array, float]:
    """Two columns of one law, joined by a normal copula."""
    rng = np.random.default_rng(seed)
    normal = scipy.stats.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]])
    z = normal.rvs(2 * rows, random_state=rng)
    x = law.ppf(scipy.stats.norm.cdf(z))
    density = normal.logpdf(z) - scipy.stats.norm.logpdf(z).sum(1) + law.logpdf(x).sum(1)
    return x[:rows], x[rows:], float(density[rows:].mean())


def synthetic(rows: int, seed: int) -> Table:
    """A category upon which the rest depends, and the mean true log-density of the test rows."""
    rng, n = np.random.default_rng(seed), 2 * rows
    shares = np.array([0.5, 0.3, 0.15, 0.05])
    kind = rng.choice(4, n, p=shares)
    middle, rate, steep = np.array([-1, 0.5, 2, 4.0]), np.array([1, 3, 8, 20.0]), 1.0 + kind
    number = middle[kind] + 0.7 * rng.normal(size=n)
    price = np.exp(0.5 * number + 0.5 * rng.normal(size=n))
    chance = 1 / (1 + np.exp(-2 * number))
    flag = rng.random(n) < chance
    count = rng.poisson(rate[kind])
    share = rng.beta(steep, 3.0)
    truth = (
        np.log(shares[kind])
        + scipy.stats.norm.logpdf(number, middle[kind], 0.7)
        + scipy.stats.lognorm.logpdf(price, 0.5, scale=np.exp(0.5 * number))
        + np.log(np.where(flag, chance, 1 - chance))
        + scipy.stats.poisson.logpmf(count, rate[kind])
        + scipy.stats.beta.logpdf(share, steep, 3.0)
    )
    x = np.column_stack([kind, number, price, flag, count, share]).astype(np.float64)
    columns = [
        {"kind": "discrete", "count": 4},
        {},
        {"transform": "yeo-johnson"},
        {"kind": "discrete", "count": 2},
        {"kind": "discrete", "step": 1.0, "transform": "yeo-johnson"},
        {"transform": "logit", "low": 0.0, "high": 1.0},
    ]
    return x[:rows], x[rows:], columns, float(truth[rows:].mean())


def equal_cells(column: dict[str, Any]) -> dict[str, Any]:
    """The same column of codes, as whole numbers between two bounds."""
    if "count" not in column:
        return column
    return {"step": 1.0, "transform": "logit", "low": 0.0, "high": column["count"] - 1.0}


def bundled(name: str, seed: int) -> Table:
    """One of scikit-learn's own, its columns as they are detected."""
    import sklearn.datasets

    load = getattr(sklearn.datasets, f"load_{name}")
    options = {"scaled": False} if name == "diabetes" else {}
    frame: pd.DataFrame = load(as_frame=True, **options).frame
    if name == "breast_cancer":
        frame = frame[[*frame.columns[:10], "target"]].astype({"target": bool})
    else:
        frame = frame.assign(sex=frame["sex"].map({1.0: "a", 2.0: "b"}))
    schema = detect(frame)
    x = schema.encode(frame)
    order = np.random.default_rng(seed).permutation(len(x))
    cut = 2 * len(x) // 3
    return x[order[:cut]], x[order[cut:]], schema.specs(), None


if __name__ == "__main__":
    main()
