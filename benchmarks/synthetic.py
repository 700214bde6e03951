"""Synthetic rows on real tables: a flow, SMOTE, a Gaussian mixture, beside other real rows.

Each table is halved at random, a seed a halving. All learn from the first half, with the column to
predict among the others; each draws as many rows as it learned from; everything is measured against
the second half by ``pushforward.synthetic_quality``: marginals, associations, a classifier that
tells them from real rows, gradient-boosted trees learned from them and tested on the second half,
and the distance to the nearest training row beside that of the second half. ``real`` are the rows
of the first half themselves, SMOTE is the library's own (k = 5, within classes). The Gaussian
mixture is scikit-learn's, full covariances, one for each class, components by BIC among 1, 2, 4, 8,
rounded to the grid of each column. ``flow`` is ``pushforward.learn`` as it comes, of the whole
table with the target as a column; ``flow given target`` is ``learn(given=[target])``, drawn for the
values that the target has in the first half; ``flow per class`` one flow of each class.

    PUSHFORWARD_DATA=FOLDER python benchmarks/synthetic.py
    python benchmarks/synthetic.py --quick          # does it run?

Tables: scikit-learn's breast_cancer, wine (classes) and diabetes (a regression); with the folder
also 2,000 rows of ADBench's pendigits. Results go to ``results/synthetic.json`` and ``.md``; with
--tables or --models, beside those of other tables and models that are there already.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn import datasets
from sklearn.mixture import GaussianMixture

import pushforward as pf
from pushforward.data.detect import detect
from pushforward.data.given import Given
from pushforward.data.schema import Schema

MEASURES = ("marginal", "association", "auc", "useful", "nearer", "close", "copies")
OURS = ("flow", "flow given target", "flow per class")


def tables() -> dict[str, tuple[pd.DataFrame, str]]:
    """Name -> table and the column to predict."""
    found: dict[str, tuple[pd.DataFrame, str]] = {}
    for name in ("breast_cancer", "wine", "diabetes"):
        units = {"scaled": False} if name == "diabetes" else {}
        frame = getattr(datasets, f"load_{name}")(as_frame=True, **units).frame
        if name != "diabetes":
            frame["target"] = "class " + frame["target"].astype(str)
        found[name] = (frame, "target")
    folder = os.environ.get("PUSHFORWARD_DATA")
    if folder:
        data = np.load(Path(folder) / "tabular" / "adbench_pendigits.npz")
        order = np.random.default_rng(0).permutation(len(data["X"]))[:2000]
        frame = pd.DataFrame(data["X"][order]).add_prefix("x")
        frame["target"] = np.where(data["y"][order] > 0, "outlier", "inlier")
        found["pendigits"] = (frame, "target")
    return found


def flow_rows(
    own: str, train: pd.DataFrame, target: str, seed: int, settings: dict[str, Any]
) -> pd.DataFrame:
    """Rows drawn from a flow of the whole table, of the rest given the target, or of each class."""
    if own == "flow given target":
        flow = pf.learn(train, given=[target], seed=seed, progress=False, **settings)
        given, schema = Given.of(flow), Schema.of(flow)
        assert given is not None
        assert schema is not None
        context = given.context(given.schema.encode(train[[target]]))
        made = schema.decode(
            flow.sample(len(train), context=context, seed=seed).cpu().double().numpy()
        )
        made[target] = train[target].to_numpy()
        return whole(made, train)
    drawn = []
    per_class = own == "flow per class"
    for label, part in train.groupby(target) if per_class else [(None, train)]:
        rows = (part.drop(columns=target) if per_class else part).reset_index(drop=True)
        flow = pf.learn(rows, seed=seed, progress=False, **settings)
        schema = Schema.of(flow)
        assert schema is not None
        made = schema.decode(flow.sample(len(part), seed=seed).cpu().double().numpy())
        if per_class:
            made[target] = label
        drawn.append(whole(made, rows.assign(**{target: part[target].to_numpy()}))[train.columns])
    return pd.concat(drawn, ignore_index=True)


def whole(made: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """With the constant columns, which are not learned, in the order of ``rows``."""
    for name in rows.columns.difference(made.columns):
        made[name] = rows[name].iloc[0]
    return made[list(rows.columns)]


def mixture_rows(train: pd.DataFrame, target: str, seed: int) -> pd.DataFrame:
    """Rows drawn from a Gaussian mixture of each class, or of the whole table with a number."""
    parts = [train]
    if not pd.api.types.is_numeric_dtype(train[target]):
        parts = [part for _, part in train.groupby(target)]
    drawn = []
    for part in parts:
        numbers = part.select_dtypes("number").reset_index(drop=True)
        schema = detect(numbers)
        x = schema.encode(numbers)
        centre, spread = x.mean(0), np.where(x.std(0) > 0, x.std(0), 1.0)
        z = (x - centre) / spread
        best = None
        for k in (1, 2, 4, 8):
            if len(z) < 10 * k:
                break
            model = GaussianMixture(k, reg_covar=1e-3, random_state=seed).fit(z)
            score = model.bic(z)
            best = (score, model) if best is None or score < best[0] else best
        if best is None:
            best = (0.0, GaussianMixture(1, reg_covar=1e-1, random_state=seed).fit(z))
        made = best[1].sample(len(part))[0] * spread + centre
        rows = schema.decode(made)  # on the grid of the column, as those of the flow are
        for name in train.columns.difference(numbers.columns):
            rows[name] = part[name].iloc[0]
        drawn.append(rows[list(train.columns)])
    return pd.concat(drawn, ignore_index=True)


def measured(of: Any) -> dict[str, float]:
    """The figures of one kind of rows."""
    near = {name: getattr(of.near, name) for name in ("nearer", "close", "copies")}
    return {name: getattr(of, name) for name in MEASURES[:4]} | near


def main() -> None:
    """Run all tables and write the results."""
    args = arguments()
    torch.set_num_threads(args.threads)
    figures: dict[str, Any] = {}
    begun = time.time()
    for name, (frame, target) in tables().items():
        if args.tables and name not in args.tables:
            continue
        found: dict[str, list[dict[str, float]]] = {}
        for seed in range(1 if args.quick else args.seeds):
            order = np.random.default_rng(seed).permutation(len(frame))
            half = len(order) // 2
            train, test = (
                frame.iloc[part].reset_index(drop=True) for part in (order[:half], order[half:])
            )
            made = {"Gaussian mixture": mixture_rows(train, target, seed)}
            for own in args.models:
                if own == "flow per class" and pd.api.types.is_numeric_dtype(train[target]):
                    continue  # a number has no classes
                limit = {"max_steps": 20} if args.quick else {}
                start = time.process_time()
                made[own] = flow_rows(own, train, target, seed, limit)
                print(f"{name} {seed} {own}: {time.process_time() - start:.0f} s", flush=True)
            for label, rows in made.items():
                quality = pf.synthetic_quality(train, test, rows, target=target, seed=seed)
                found.setdefault(label, []).append(measured(quality.synthetic))
            found.setdefault("SMOTE", []).append(measured(quality.smote))
            found.setdefault("real", []).append(measured(quality.real))
        figures[name] = {
            "rows": len(frame),
            "target": target,
            "measure": quality.measure,
            "seeds": found,
        }
        print(table(name, figures[name]), flush=True)
    kept = args.out / "synthetic.json"
    if kept.exists() and (
        args.tables or len(args.models) < len(OURS)
    ):  # tables and kinds of rows that were not run anew stay
        before = json.loads(kept.read_text(encoding="utf-8"))["figures"]
        for name, known in before.items():
            new = figures.setdefault(name, known)
            new["seeds"] = {**known["seeds"], **new["seeds"]}
    content = {
        "figures": figures,
        "processor": platform.processor() or platform.machine(),
        "threads": args.threads,
        "seconds": time.time() - begun,
        "versions": {"torch": torch.__version__, "pushforward": pf.__version__},
    }
    if not args.quick:
        args.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(content, indent=1, allow_nan=False)
        (args.out / "synthetic.json").write_text(text + "\n", encoding="utf-8")
        pages = "\n".join(table(name, known) for name, known in figures.items())
        page = f"# Synthetic rows\n\n{pages}\nMeans of {args.seeds} halvings; `synthetic.py`.\n"
        (args.out / "synthetic.md").write_text(page, encoding="utf-8")


def table(name: str, known: dict[str, Any]) -> str:
    """A table of means, for people."""
    header = ("marginals", "associations", "AUC", known["measure"], "nearer", "close", "copies")
    lines = [f"**{name}**, {known['rows']:,} rows\n", f"| | {' | '.join(header)} |"]
    lines.append("|---" * (len(header) + 1) + "|")
    for label, runs in known["seeds"].items():
        means = [np.mean([run[measure] for run in runs]) for measure in MEASURES]
        lines.append(f"| {label} | " + " | ".join(f"{mean:.3f}" for mean in means) + " |")
    return "\n".join(lines) + "\n"


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="halvings of each table")
    parser.add_argument("--tables", nargs="+", metavar="NAME", help="only these")
    parser.add_argument("--models", nargs="*", default=list(OURS), choices=list(OURS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="one halving, 20 steps, no files")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    return parser.parse_args()


if __name__ == "__main__":
    warnings.filterwarnings("ignore", category=FutureWarning)
    main()
